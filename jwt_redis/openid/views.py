"""A provider says that a session of its own is over (OpenID Connect Back-Channel Logout 1.0, sections 2.5 to 2.8)."""

from __future__ import annotations

import logging
import secrets
from typing import Any, Final

from django.db import Error as DatabaseError
from django.db import connections, transaction
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_redis import journal, sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.oauth.protocol import OAuthError, ProtocolView, invalid_request
from jwt_redis.openid.logout_tokens import BadLogoutToken, LogoutToken, read
from jwt_redis.public_keys import KeysUnavailable
from jwt_redis.sessions.once import drop_use, use_once

__all__ = ["BackchannelLogoutView"]

logger = logging.getLogger("jwt_redis")

# Seconds for which a logout that was begun keeps a second one away; should this process die, the provider may send it
# again after that.
_UNDER_WAY: Final = 30.0


class BackchannelLogoutView(ProtocolView):
    """Ends the sessions that were opened with the provider's; with no ``sid``, those of its subject."""

    reason = "provider_logout"

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Any:
        """Outside of ``ATOMIC_REQUESTS``: what is noted here is looked for by sign-ins that go on meanwhile."""
        view = super().as_view(**initkwargs)
        for alias in connections:
            view = transaction.non_atomic_requests(using=alias)(view)
        return view

    def post(self, request: Request) -> Response:
        """200 when they are over, now or before; 400 for whatever else there is (section 2.8)."""
        raw = self.parameters(request).get("logout_token")
        if raw is None:
            raise invalid_request("logout_token is missing")
        try:
            token = read(raw)
        except BadLogoutToken as error:
            logger.warning("A logout token was refused: %s", error, extra={"event": "logout_token_refused"})
            raise invalid_request(str(error)) from None
        except KeysUnavailable as error:
            logger.error("A provider's keys: %s", error, extra={"event": "provider_keys_unavailable"})
            raise _later("the keys of the provider cannot be fetched") from None
        try:
            self.end(token)
        except DatabaseError as error:
            # Which sessions it means stands there.
            logger.error("A logout has failed: %s", error, extra={"event": "provider_sessions_unavailable"})
            raise _later("try again shortly") from error
        return Response()

    def end(self, token: LogoutToken) -> int:
        """End what the token means, once. How many sessions were alive.

        :raises OAuthError: when it was used before.
        :raises RevocationUnavailable: when Redis does not answer. What it means is in the journal by then; the
            provider may send it again.
        """
        issuer = token.provider.issuer
        # Its length keeps an issuer and a jti from being read as another provider's.
        what = f"logout {len(issuer)} {issuer} {token.jti}"
        nonce = secrets.token_urlsafe(12)
        noted: RevocationUnavailable | None = None
        try:
            if not use_once(what, nonce, min(_UNDER_WAY, token.usable_for)):
                raise invalid_request("jti: it was used before")
        except RevocationUnavailable as error:
            # It is not lost for that: the journal hears of it.
            noted = error
        with journal.acting_as(issuer):
            try:
                ended = self.end_sessions(token)
            except BaseException:
                if noted is None:
                    _drop(what, nonce)
                raise
        if noted is not None:
            # Redis is there again; but whether the token was used before, nobody has asked.
            raise noted
        use_once(what, nonce, token.usable_for)
        return ended

    def end_sessions(self, token: LogoutToken) -> int:
        """Those of the provider's session; where none is named, those of the subject, and the user's."""
        provider = token.provider
        user = provider.user(token.claims) if token.sid is None and provider.user is not None else None
        try:
            # Also where a user is named: a sign-in that is still under way has no session yet that could be ended.
            ended = sessions.end_provider_sessions(
                provider.issuer,
                sid=token.sid,
                subject=token.subject,
                reason=self.reason,
                issued_at=token.claims["iat"],
            )
        finally:
            of_user = 0 if user is None else sessions.end_all_sessions(user, reason=self.reason)
        return ended + of_user

    def unavailable(self, error: RevocationUnavailable) -> Response:
        """A logout that has failed is a 400 (section 2.8), whatever it failed for."""
        return _later("try again shortly", str(error.wait)).response()


def _later(description: str, wait: str = "5") -> OAuthError:
    return OAuthError("temporarily_unavailable", description, headers={"Retry-After": wait})


def _drop(what: str, nonce: str) -> None:
    try:
        drop_use(what, nonce)
    except RevocationUnavailable:
        # It runs out by itself.
        logger.debug("A use could not be taken back: %s", what, extra={"event": "use_not_dropped"})
