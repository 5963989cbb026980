"""Django's own signals: a changed password, a deactivated or deleted user, other rights end the user's sessions."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import get_hasher, identify_hasher, is_password_usable
from django.contrib.auth.models import Group
from django.db import transaction
from django.db.models import Model
from django.db.models.signals import class_prepared, m2m_changed, post_delete, post_save, pre_delete, pre_save
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import journal, journalling, recovery, sessions, stock_blacklist
from jwt_redis.conf import config, simplejwt_setting
from jwt_redis.decoding import decode_to_end
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.journal import Entry
from jwt_redis.keys import user_id
from jwt_redis.models import Revocation
from jwt_redis.operations import UseCase, run
from jwt_redis.sessions.ending import ending_all

__all__ = ["connect"]

logger = logging.getLogger(__name__)

PASSWORD_CHANGED = "password_changed"  # noqa: S105
DEACTIVATED = "deactivated"


def connect() -> None:
    """Connect all receivers. Done once, when the app is ready."""
    # Without a sender: a proxy of the user model sends its own class.
    for signal, receiver in (
        (pre_save, keep_on_hash_upgrade),
        (pre_save, before_user_saved),
        (post_save, on_user_saved),
        (m2m_changed, on_rights_changed),
    ):
        signal.connect(receiver, dispatch_uid=_uid(receiver))
    if stock_blacklist.is_installed():
        post_save.connect(on_blacklisted, stock_blacklist.model(), dispatch_uid=_uid(on_blacklisted))
    # With one: to whom every deletion matters, Django reads the rows of every model before it deletes them.
    for model in apps.get_models():
        _connect_deletion(model)
    class_prepared.connect(_connect_deletion, dispatch_uid=_uid(_connect_deletion))


def _connect_deletion(sender: type[Model], **kwargs: Any) -> None:
    if _is_user(sender):
        pre_delete.connect(before_user_deleted, sender, dispatch_uid=_uid(before_user_deleted))
        post_delete.connect(on_user_deleted, sender, dispatch_uid=_uid(on_user_deleted))
    elif issubclass(sender, Group):
        pre_delete.connect(on_group_deleted, sender, dispatch_uid=_uid(on_group_deleted))


def _uid(receiver: Callable[..., object]) -> str:
    return f"jwt_redis.receivers.{receiver.__name__}"


def _is_user(sender: type[Model]) -> bool:
    return issubclass(sender, get_user_model())


# On an instance, between the signal before a change and the one after it.
_INTENT = "_jwt_redis_intent"


def _now_and_on_commit(using: str, ending: Callable[[], object]) -> None:
    """At once: alone, on commit would be lost with the process. On commit too: until then others see the old row."""
    ending()
    if transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(ending, using=using)


def _end_all(using: str, user: str, reason: str, intent: Entry | None) -> None:
    """End all sessions. ``intent``: the journal's entry, where it was written before the change."""
    entry = intent or _intend(user, reason)
    _end_all_now(user, reason, entry)
    if transaction.get_connection(using).in_atomic_block:
        transaction.on_commit(lambda: _end_all_now(user, reason, entry, is_committed=True), using=using)


def _end_all_now(user: str, reason: str, entry: Entry, *, is_committed: bool = False) -> None:
    try:
        run(ending_all(user, reason, entry), UseCase("end_all_sessions", user))
    except RevocationUnavailable:
        if not entry.is_written and not config().observe:
            raise
        if is_committed:
            # The row's moment may be one before the commit, until which others still saw the old state.
            _intend(user, reason)
            recovery.note_failure(has_left_rows=True)
        # It is in the journal, with the change, and is applied before this process answers anything else.
        logger.warning(
            "Redis is down; the end of a user's sessions stays pending.", extra={"event": "revocation_pending"}
        )


def _intend(user: str, reason: str) -> Entry:
    """Into the journal before the change: it commits together with it, or, without a transaction, before it."""
    entry = Entry(Revocation.Kind.USER, user, reason=reason)
    is_written = journal.is_on() and journalling.begin((entry,)) is None
    return replace(entry, is_written=is_written)


def _writes_password(update_fields: Iterable[str] | None) -> bool:
    return update_fields is None or "password" in update_fields


def keep_on_hash_upgrade(
    sender: type[Model], instance: Any, raw: bool, using: str, update_fields: Any = None, **kwargs: Any
) -> None:
    """Django has hashed the same password anew, as it does when a release raises the cost: keep the sessions.

    Before the row is written, so that no request sees the new hash and a session bound to the old one only.
    """
    if raw or not _is_user(sender) or update_fields is None or set(update_fields) != {"password"}:
        return
    # check_password() has called set_password() and put None back. Without that, another password was assigned.
    if instance.pk is None or instance.__dict__.get("_password", "") is not None:
        return
    if not is_password_usable(instance.password):
        return
    stored = get_user_model()._base_manager.using(using).filter(pk=instance.pk).values_list("password", flat=True)
    old = stored.first()
    # check_password() upgrades only what must be: anything else that is saved like this is another password.
    if old and old != instance.password and _must_upgrade(old):
        before = copy.copy(instance)
        before.password = old
        with _redis_may_be_down():
            sessions.rebind_sessions(before, instance)


def _must_upgrade(encoded: str) -> bool:
    try:
        used = identify_hasher(encoded)
    except ValueError:
        return False
    preferred = get_hasher("default")
    return used.algorithm != preferred.algorithm or preferred.must_update(encoded)


def _why_all_end(instance: Any, update_fields: Iterable[str] | None) -> str | None:
    """The reason for which saving this user ends all sessions; None where it does not, or where nothing says so."""
    revoke_on = config().revoke_on
    writes_active = update_fields is None or "is_active" in update_fields
    if "deactivated" in revoke_on and writes_active and not getattr(instance, "is_active", True):
        return DEACTIVATED
    is_new_password = getattr(instance, "_password", None) is not None
    if PASSWORD_CHANGED in revoke_on and _writes_password(update_fields) and is_new_password:
        return PASSWORD_CHANGED
    return None


def before_user_saved(
    sender: type[Model], instance: Any, raw: bool, using: str, update_fields: Any = None, **kwargs: Any
) -> None:
    """What will end is in the journal before the row is written."""
    if raw or not _is_user(sender) or instance._state.adding:
        return
    _end_former_id(instance, using, update_fields)
    reason = _why_all_end(instance, update_fields)
    if reason is None and config().legacy_tokens is not None and _is_other_password(instance, using, update_fields):
        # No session says under which password a token was issued that has none.
        reason = PASSWORD_CHANGED
    if reason is not None:
        setattr(instance, _INTENT, _intend(user_id(instance), reason))


def _is_other_password(instance: Any, using: str, update_fields: Iterable[str] | None) -> bool:
    """Was another password assigned, by ``set_unusable_password()`` for instance? One query."""
    if PASSWORD_CHANGED not in config().revoke_on or not _writes_password(update_fields):
        return False
    stored = type(instance)._base_manager.using(using).filter(pk=instance.pk).values_list("password", flat=True).first()
    if stored is None or stored == instance.password:
        return False
    # check_password() has hashed the same one anew.
    is_upgrade = instance.__dict__.get("_password", "") is None and set(update_fields or ()) == {"password"}
    return not (is_upgrade and is_password_usable(instance.password) and _must_upgrade(stored))


def _end_former_id(instance: Any, using: str, update_fields: Iterable[str] | None) -> None:
    """Tokens name a user by ``USER_ID_FIELD``: once that is another, nobody is left who could end them."""
    field = simplejwt_setting("USER_ID_FIELD")
    if field in ("id", "pk", instance._meta.pk.name) or (update_fields is not None and field not in update_fields):
        return
    stored = type(instance)._base_manager.using(using).filter(pk=instance.pk).values_list(field, flat=True).first()
    if stored is not None and str(stored) != user_id(instance):
        _end_all(using, str(stored), "renamed", None)


def on_user_saved(
    sender: type[Model],
    instance: Any,
    created: bool,
    raw: bool,
    using: str,
    update_fields: Any = None,
    **kwargs: Any,
) -> None:
    """A new password or a deactivation ends the sessions."""
    intent = instance.__dict__.pop(_INTENT, None)
    if created or raw or not _is_user(sender):
        return
    reason = _why_all_end(instance, update_fields) or (intent.reason if intent is not None else None)
    if reason == DEACTIVATED:
        _end_all(using, user_id(instance), reason, intent)
    elif reason == PASSWORD_CHANGED:
        # set_password(): all of them now; on commit those that signed in with the old one meanwhile, and no other.
        _end_all_now(user_id(instance), reason, intent or _intend(user_id(instance), reason))
        if transaction.get_connection(using).in_atomic_block:
            frozen = copy.copy(instance)
            transaction.on_commit(lambda: _end_stale_if_possible(frozen), using=using)
    elif PASSWORD_CHANGED in config().revoke_on and _writes_password(update_fields):
        # set_unusable_password() and "user.password = make_password(...)" leave no other trace.
        frozen = copy.copy(instance)
        _now_and_on_commit(using, lambda: _end_stale_if_possible(frozen))


def _end_stale_if_possible(user: Any) -> None:
    with _redis_may_be_down():
        sessions.end_stale_sessions(user)


@contextmanager
def _redis_may_be_down() -> Iterator[None]:
    """Where nothing says that the password was changed, the save does not fail: the next refresh compares again."""
    try:
        yield
    except RevocationUnavailable:
        logger.warning(
            "Redis is down; a user's sessions are compared with the password at their next refresh.",
            extra={"event": "comparison_put_off"},
        )


def before_user_deleted(sender: type[Model], instance: Any, **kwargs: Any) -> None:
    """As before a save."""
    if _is_user(sender) and "deleted" in config().revoke_on:
        setattr(instance, _INTENT, _intend(user_id(instance), "deleted"))


def on_user_deleted(sender: type[Model], instance: Any, using: str, **kwargs: Any) -> None:
    """Deletion ends the sessions."""
    if _is_user(sender) and "deleted" in config().revoke_on:
        _end_all(using, user_id(instance), "deleted", instance.__dict__.pop(_INTENT, None))


def on_blacklisted(sender: type[Model], instance: Any, created: bool, raw: bool, using: str, **kwargs: Any) -> None:
    """Simple JWT's own API has blacklisted a token: what we would revoke for it is revoked."""
    if raw or not created:
        return
    try:
        token = decode_to_end(instance.token.token)
    except TokenError:
        return  # of another key: nobody takes it
    try:
        sessions.revoke_token(token, reason="blacklisted")
    except RevocationUnavailable:
        # Its row refuses the token meanwhile; our journal brings the rest.
        logger.warning("Redis is down; a revocation stays pending.", extra={"event": "revocation_pending"})


def on_rights_changed(
    sender: type[Model], instance: Any, action: str, reverse: bool, pk_set: Any, using: str, **kwargs: Any
) -> None:
    """Other groups or permissions end the sessions of everybody whom they concern, where ``REVOKE_ON`` says so."""
    user_model: Any = get_user_model()
    groups = getattr(getattr(user_model, "groups", None), "through", None)
    permissions = getattr(getattr(user_model, "user_permissions", None), "through", None)
    reason = "groups_changed" if sender is groups else "permissions_changed"
    if sender not in (groups, permissions, Group.permissions.through) or reason not in config().revoke_on:
        return
    # Cleared members can be named only before.
    if action not in ("post_add", "post_remove", "pre_clear"):
        return
    if sender is Group.permissions.through:
        names = {"groups__in": [instance.pk] if not reverse else _groups_with(instance, pk_set)}
    elif not reverse:
        names = {"pk": instance.pk}
    elif pk_set is not None:
        names = {"pk__in": pk_set}
    else:
        names = {"groups" if sender is groups else "user_permissions": instance.pk}
    _end_all_of(using, names, reason)


def _groups_with(permission: Any, pk_set: Any) -> Any:
    return pk_set if pk_set is not None else list(permission.group_set.values_list("pk", flat=True))


def on_group_deleted(sender: type[Model], instance: Any, using: str, **kwargs: Any) -> None:
    """A deleted group takes its permissions from its members."""
    if issubclass(sender, Group) and "groups_changed" in config().revoke_on:
        _end_all_of(using, {"groups": instance.pk}, "groups_changed")


def _end_all_of(using: str, names: dict[str, Any], reason: str) -> None:
    users = get_user_model()._base_manager.using(using).filter(**names)
    for user in list(users.values_list(simplejwt_setting("USER_ID_FIELD"), flat=True).distinct()):
        _end_all(using, str(user), reason, None)
