"""A session begins: its first refresh token, and its record in Redis."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken, Token
from rest_framework_simplejwt.utils import datetime_to_epoch

from jwt_redis import journal, near_cache, signals, status_list
from jwt_redis.conf import config, simplejwt_setting
from jwt_redis.decoding import claims_of
from jwt_redis.devices import Device, device_of, signing_in_device
from jwt_redis.exceptions import RevocationUnavailable, RevokedToken
from jwt_redis.operations import Done, Event, Operation, UseCase, apublish, arun, publish, run
from jwt_redis.provider_sessions import Link
from jwt_redis.sessions.ending import confirmed, ended_events
from jwt_redis.sessions.linking import link, refusing
from jwt_redis.sessions.observing import UNAVAILABLE, observed
from jwt_redis.sessions.parts import new_nonce
from jwt_redis.signing import backends
from jwt_redis.store import commands
from jwt_redis.store.commands import Opened
from jwt_redis.verdicts import AUTH_TIME_CLAIM, SESSION_ENDED

__all__ = ["aopen_session", "aregister", "new_sid", "open_session", "register"]


def new_sid() -> str:
    """A session id: 128 random bits as base64url (OpenID Connect's ``sid``)."""
    while (sid := secrets.token_urlsafe(16)).startswith("-"):
        continue  # a command line would take it for an option
    return sid


def _new_token(user: Any) -> RefreshToken:
    """Made by the project's own serializer, so that it bears the project's own claims."""
    token: RefreshToken = import_string(simplejwt_setting("TOKEN_OBTAIN_SERIALIZER")).get_token(user)
    if not hasattr(token, "registered"):
        raise ImproperlyConfigured(
            "SIMPLE_JWT['TOKEN_OBTAIN_SERIALIZER'] makes tokens without a session: its token_class is not a"
            " jwt_redis.tokens class."
        )
    return token


def _register(token: Any, device: Device | None, name: str) -> tuple[Operation[None], UseCase]:
    claims = claims_of(token)
    sid = claims.sid
    if sid is None:
        raise TokenError("Token has no 'sid' claim")
    # Else others would make room for a session that nobody gets a token of.
    backends.check_signer()
    end_claim = token.session_end_claim
    lifetime = int(token.payload[end_claim]) - datetime_to_epoch(token.current_time)
    device = signing_in_device() if device is None else device
    asked_at = near_cache.clock()

    def finish(opened: Opened, place: str) -> Done[None] | Operation[None]:
        # No token outlives its session.
        for claim in {end_claim, "exp"}:
            token.payload[claim] = min(token.payload[claim], opened.session.ends_at)
        # Should the record be lost, this is what is left to judge by: it must not be ahead of Redis' clock.
        began = token.payload.get(AUTH_TIME_CLAIM, opened.session.opened_ms // 1000)
        token.payload[AUTH_TIME_CLAIM] = min(began, opened.session.opened_ms // 1000)
        if place:
            status_list.put(token.payload, place)
        token.registered = True
        token.seen_alive(asked_at)
        started = Event(
            signals.session_started, {"user": claims.user, "sid": claims.sid}, "session_started", logging.INFO
        )
        done = Done(None, (started, *ended_events(claims.user, opened.ended, "max_sessions")))
        return confirmed(claims.user, opened.ended, "max_sessions", done)

    def opening(place: str) -> Operation[None]:
        command = commands.open_session(
            claims.user,
            sid,
            lifetime=lifetime,
            nonce=new_nonce(),
            fingerprint=token.fingerprint,
            device=device.dump(),
            place=place,
        )
        return Operation((command,), lambda opened: finish(opened, place))

    case = UseCase(name, claims.user, sid)
    if config().status_list is None:
        return opening(""), case
    # Now, and not when the session is there: its token could not be made.
    status_list.check(token.payload)
    return Operation((commands.take_place("", commands.seconds_of_session(lifetime)),), opening), case


def _passing(token: Any, name: str) -> Done[None]:
    """Called where Redis could not be told: with ``OBSERVE`` the token is given out all the same.

    :raises RevocationUnavailable: without, the one that is being handled.
    """
    if not config().observe:
        raise
    token.registered = True
    claims = claims_of(token)
    return Done(None, (observed(claims.user, claims.sid, UNAVAILABLE, name),))


def register(token: Token, device: Device | None = None) -> None:
    """Write a new token's session into Redis, if that was not done yet, and cut the token's ``exp`` to its end.

    Whatever turns a token of this package into a string calls it; only async code needs :func:`aregister`.
    ``device``: the one of :func:`~jwt_redis.devices.signing_in_from` if None.
    """
    if not getattr(token, "registered", True):
        try:
            run(*_register(token, device, "register"))
        except RevocationUnavailable:
            publish(_passing(token, "register"))


async def aregister(token: Token, device: Device | None = None) -> None:
    """:func:`register` over ``redis.asyncio``."""
    if not getattr(token, "registered", True):
        try:
            await arun(*_register(token, device, "register"))
        except RevocationUnavailable:
            await apublish(_passing(token, "register"))


def _linked(token: Token, id_token: Mapping[str, Any]) -> Link:
    """Before the session is there: a logout of the provider's that comes meanwhile must not miss it.

    :raises RevokedToken: when one came before.
    """
    claims = claims_of(token)
    found = link(claims.user, str(claims.sid), id_token, claims.exp, "open_session")
    if found.was_over:
        raise RevokedToken(SESSION_ENDED)
    return found


def _refusing(token: Token) -> tuple[Operation[None], UseCase]:
    claims = claims_of(token)
    return refusing(claims.user, str(claims.sid)), UseCase("open_session", claims.user, claims.sid)


def open_session(user: Any, request: Any | None = None, *, id_token: Mapping[str, Any] | None = None) -> RefreshToken:
    """Sign a user in: the refresh token of a new session, from which ``access_token`` is minted as in Simple JWT.

    ``request``: where the device is read from. ``id_token``: the claims of an OpenID provider's ID token, where that is
    what the user came with, so that the provider's logout token ends the session, whenever it comes; within a
    transaction the session is looked at again after the commit. Credentials are for the caller to have checked.

    :raises ImproperlyConfigured: when ``SIMPLE_JWT`` names a serializer whose tokens have no session.
    :raises ValueError: when ``id_token`` lacks ``iss`` or ``sub``.
    :raises RevokedToken: when the provider has ended its session, before or meanwhile.
    """
    token = _new_token(user)
    found = None if id_token is None else _linked(token, id_token)
    try:
        run(*_register(token, device_of(request), "open_session"))
    except RevocationUnavailable:
        publish(_passing(token, "open_session"))
    if found is not None and found.is_over():
        with journal.acting_as(found.issuer):
            run(*_refusing(token))
    return token


async def aopen_session(
    user: Any, request: Any | None = None, *, id_token: Mapping[str, Any] | None = None
) -> RefreshToken:
    """:func:`open_session` over ``redis.asyncio``."""
    token = await sync_to_async(_new_token)(user)
    found = None if id_token is None else await sync_to_async(_linked)(token, id_token)
    try:
        await arun(*_register(token, device_of(request), "open_session"))
    except RevocationUnavailable:
        await apublish(_passing(token, "open_session"))
    if found is not None and await sync_to_async(found.is_over)():
        with journal.acting_as(found.issuer):
            await arun(*_refusing(token))
    return token
