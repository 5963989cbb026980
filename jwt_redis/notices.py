"""Somebody signed in from a device that the user was not seen with: the user is told, and can say "that was not me".

Off unless ``JWT_REDIS["SIGN_IN_NOTICE"]`` says otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from django.contrib.auth import get_user_model
from django.core import signing
from django.core.exceptions import ObjectDoesNotExist
from django.core.mail import EmailMultiAlternatives
from django.db import router, transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation

from jwt_redis import journal, sessions, signals
from jwt_redis.conf import SignInNotice, config, simplejwt_setting
from jwt_redis.decoding import UNFIT
from jwt_redis.devices import describe, location_of
from jwt_redis.keys import USED
from jwt_redis.operations import Done, Event, Operation, UseCase, publish, run
from jwt_redis.sessions import Session
from jwt_redis.store import commands
from jwt_redis.store.commands import Remembered
from jwt_redis.verdicts import is_adopted

__all__ = ["NOT_ME", "Link", "Notice", "connect", "read_link", "send_mail", "use_link", "used_at"]

logger = logging.getLogger(__name__)

# The reason for which sessions end by the link.
NOT_ME: Final = "not_me"

_SALT = "jwt_redis.notices.not_me"
# Seconds past a link's end for which it is known that it was used.
_MARGIN = 3600


@dataclass(frozen=True, slots=True)
class Notice:
    """What there is to tell a user: ``device`` in words, "" if unknown; ``location`` "" without ``LOCATION``."""

    user: Any
    session: Session
    device: str
    location: str
    # Each with the site's address in front.
    not_me_url: str
    devices_url: str
    # When not_me_url stops working.
    good_until: datetime


def connect() -> None:
    """Connect the receiver. Done once, when the app is ready."""
    signals.session_started.connect(on_session_started, dispatch_uid="jwt_redis.notices.on_session_started")


def on_session_started(sender: str, user: str, sid: str, **kwargs: Any) -> None:
    """Whether the device is new, and if so, who is to know: after the transaction, if there is one."""
    settings = config().sign_in_notice
    if settings is None:
        return
    recognized = sessions.recognize(user, sid)
    # An adopted session is no sign-in: the device is remembered, and nobody has to be told.
    if recognized is None or not recognized.is_new or is_adopted(sid):
        return
    session = recognized.session
    facts = {"user": user, "sid": sid, "device": describe(session.user_agent), "ip": session.ip}
    event = Event(signals.new_device_signed_in, facts, "new_device_signed_in", logging.INFO)
    publish(Done(None, (event,)))
    if settings.send is not None:
        tell = partial(_tell, session, settings, settings.send, translation.get_language())
        transaction.on_commit(tell, using=router.db_for_write(get_user_model()))


def _tell(session: Session, settings: SignInNotice, send: Callable[[Notice], Any], language: str | None) -> None:
    """The sign-in is done: whatever fails here is logged, and harms nothing else."""
    try:
        user = _user_of(session.user)
        if user is None:
            return
        if settings.language is not None:
            language = settings.language(user) or language
        with translation.override(language):
            send(_notice(user, session, settings))
    except Exception:
        logger.exception("A sign-in notice was not sent.", extra={"event": "notice_failed"})


def _user_of(claimed: str) -> Any:
    try:
        return get_user_model()._default_manager.get(**{simplejwt_setting("USER_ID_FIELD"): claimed})
    except (ObjectDoesNotExist, *UNFIT):
        return None


def _notice(user: Any, session: Session, settings: SignInNotice) -> Notice:
    token = signing.dumps([session.user, session.sid], salt=_SALT)
    return Notice(
        user=user,
        session=session,
        device=describe(session.user_agent),
        location=location_of(session.ip),
        not_me_url=settings.base_url + reverse("jwt_redis_pages:not_me", args=[token]),
        devices_url=settings.base_url + reverse("jwt_redis_pages:devices"),
        good_until=datetime.now(UTC) + settings.link_lifetime,
    )


def send_mail(notice: Notice) -> None:
    """Django's mail, from ``jwt_redis/mail/new_sign_in_subject.txt``, ``.txt`` and ``.html``. What ``send`` is if it
    is not set.

    It waits for the mail server: set ``EMAIL_TIMEOUT``, or hand the notice to a queue of your own.
    """
    model: Any = type(notice.user)
    address = getattr(notice.user, model.get_email_field_name(), "")
    if not address:
        logger.info("A user without an address is not told.", extra={"event": "notice_without_address"})
        return
    site = urlsplit(notice.not_me_url).hostname or ""
    context = {"notice": notice, "user": notice.user, "site": site}
    subject = render_to_string("jwt_redis/mail/new_sign_in_subject.txt", context)
    message = EmailMultiAlternatives(
        " ".join(subject.split()),
        render_to_string("jwt_redis/mail/new_sign_in.txt", context),
        to=[address],
        # RFC 3834 section 5: no out-of-office replies.
        headers={"Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(render_to_string("jwt_redis/mail/new_sign_in.html", context), "text/html")
    message.send()


# The link ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """Whose sign-in the link is about."""

    user: str
    sid: str


def read_link(token: str) -> Link:
    """What a link's ``token`` is about.

    :raises SignatureExpired: when it is older than ``link_lifetime``.
    :raises BadSignature: when it is none of ours.
    """
    user, sid = signing.loads(token, salt=_SALT, max_age=_link_lifetime())
    return Link(user, sid)


def _link_lifetime() -> timedelta:
    settings = config().sign_in_notice
    # Whoever has switched the notices off has links outstanding.
    lifetime: timedelta = SignInNotice._field_defaults["link_lifetime"] if settings is None else settings.link_lifetime
    return lifetime


def used_at(link: Link) -> datetime | None:
    """When the link was used. None: not yet.

    :raises RevocationUnavailable: when Redis does not answer.
    """
    since: int | None = run(
        Operation((commands.read_known(link.user, USED + link.sid),), Done), UseCase("used_at", link.user, link.sid)
    )
    return None if since is None else datetime.fromtimestamp(since / 1000, tz=UTC)


def use_link(link: Link) -> int | None:
    """End all of the user's sessions. How many there were; None where the link was used before, and nothing is ended.

    :raises RevocationUnavailable: when Redis does not answer. The link can then be used again.
    """
    if used_at(link) is not None:
        return None
    with journal.acting_as("link in a sign-in notice"):
        ended = sessions.end_all_sessions(link.user, reason=NOT_ME)
    # Afterwards: a link that has ended nothing is not used up.
    seconds = int(_link_lifetime().total_seconds()) + _MARGIN
    remember: Operation[Remembered] = Operation((commands.remember(link.user, USED + link.sid, seconds=seconds),), Done)
    run(remember, UseCase("use_link", link.user, link.sid))
    return ended
