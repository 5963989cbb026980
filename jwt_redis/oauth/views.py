"""The endpoints: a token is revoked (RFC 7009), a token is introspected (RFC 7662)."""

from __future__ import annotations

from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis import journal, sessions
from jwt_redis.conf import config
from jwt_redis.decoding import decode_to_revoke
from jwt_redis.oauth.clients import Caller, authenticate
from jwt_redis.oauth.introspection import describe, is_known_type
from jwt_redis.oauth.protocol import OAuthError, ProtocolView, invalid_request

__all__ = ["IntrospectView", "RevokeView"]


def _token(form: dict[str, str]) -> str:
    if "token" not in form:
        raise invalid_request("token is missing")
    return form["token"]


class RevokeView(ProtocolView):
    """RFC 7009. A refresh token ends its session, with all of its tokens; an access token goes alone.

    ``token_type_hint`` is not needed: a token says what it is, so that a wrong hint does no harm.
    """

    def post(self, request: Request) -> Response:
        """200, also for a token that was not good: there is nothing left of it to revoke."""
        form = self.parameters(request)
        caller = authenticate(request, form, self)
        raw = _token(form)
        try:
            token = decode_to_revoke(raw)
        except TokenError:
            return Response()
        owner = token.payload.get(config().oauth.client_claim)
        if owner is not None and owner != _client_id(caller):
            raise OAuthError("invalid_grant", "the token was issued to another client")
        if not is_known_type(token):
            raise OAuthError("unsupported_token_type", "nobody would know that a token of this type is revoked")
        with journal.acting_as(caller):
            sessions.revoke_token(token, reason="revoked_by_client")
        return Response()


def _client_id(caller: Caller) -> str | None:
    return caller.client.client_id if caller.client is not None else None


class IntrospectView(ProtocolView):
    """RFC 7662. A client has to be marked as one that ``introspects``; a user needs ``OAUTH["bearer_permission"]``."""

    def post(self, request: Request) -> Response:
        """``active``, and what the one who asks may know."""
        form = self.parameters(request)
        caller = authenticate(request, form, self, takes_bearer=True)
        # One that proves nothing is nobody (RFC 7662 section 2.1), whatever a function that finds clients says.
        if caller.client is not None and (caller.client.is_public or not caller.client.introspects):
            raise OAuthError("unauthorized_client", "this client may not introspect")
        return Response(describe(_token(form), caller))
