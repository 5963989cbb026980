"""What Simple JWT's views and ours take and answer, as OpenAPI has it: schemas, texts and examples, and no code.

:mod:`jwt_redis.contrib.spectacular` tells drf-spectacular.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import EllipsisType
from typing import Any

from jwt_redis import verdicts

__all__ = [
    "COMPONENTS",
    "CSRF_FAILED",
    "ENDPOINTS",
    "IN_COOKIES",
    "SESSION_FIELDS",
    "SIGNED_IN",
    "Answer",
    "Endpoint",
    "needed_by",
]

_REASONS = sorted(getattr(verdicts, name) for name in verdicts.__all__ if name.isupper())

_TEXT = {"type": "string"}
_REASON = {"$ref": "#/components/schemas/JWTRefusalReason"}
_LIST_OF_TEXTS = {"type": "array", "items": _TEXT}

# The reasons are a component of their own: spectacular would move an enum that is a property to "ReasonEnum", a name
# that a project's own "reason" may want.
COMPONENTS: dict[str, dict[str, Any]] = {
    "JWTRefusalReason": {
        "type": "string",
        "enum": _REASONS,
        "description": "Why the store refuses a token whose signature is good.",
    },
    "JWTRefusal": {
        "type": "object",
        "description": "The credentials or the token are not accepted.",
        "required": ["detail"],
        "properties": {
            "detail": {**_TEXT, "description": "For people, translated."},
            "code": {**_TEXT, "description": "For programs: `token_not_valid`, `user_not_found`, `user_inactive`, …"},
            "messages": {
                "type": "array",
                "description": "What each token class had to say.",
                "items": {
                    "type": "object",
                    "required": ["token_class", "token_type", "message"],
                    "properties": {"token_class": _TEXT, "token_type": _TEXT, "message": _TEXT},
                },
            },
            "reason": _REASON,
        },
    },
    "JWTUnavailable": {
        "type": "object",
        "description": "Redis cannot be asked. The tokens may well be good: keep them, and try again.",
        "required": ["detail", "code"],
        "properties": {"detail": _TEXT, "code": {"type": "string", "description": "`revocation_unavailable`"}},
    },
    "JWTBadRequest": {
        "type": "object",
        "description": "`detail` where the body cannot be read, else a list of problems for each field.",
        "properties": {"detail": _TEXT},
        "additionalProperties": _LIST_OF_TEXTS,
    },
    "JWTVerifyRefusal": {
        "type": "object",
        "description": "`detail` where the body cannot be read, else a list of problems for each field. A token that "
        "was revoked has its `reason` there.",
        "properties": {
            "detail": _TEXT,
            "non_field_errors": _LIST_OF_TEXTS,
            "reason": {"type": "array", "items": _REASON},
        },
        "additionalProperties": _LIST_OF_TEXTS,
    },
    "JWTProblem": {"type": "object", "required": ["detail"], "properties": {"detail": _TEXT}},
    "JWTSignOut": {
        "type": "object",
        "properties": {"refresh": {**_TEXT, "description": "Of the session to end. An empty one in a form is none."}},
    },
    "JWTSessionLabel": {
        "type": "object",
        "required": ["label"],
        "properties": {"label": {**_TEXT, "description": "A name; empty to take it away."}},
    },
    "JWTCsrfToken": {
        "type": "object",
        "required": ["csrf_token"],
        "properties": {
            "csrf_token": {**_TEXT, "description": "To be sent back in the header, with what changes something."}
        },
    },
    "JWTSessionsEnded": {
        "type": "object",
        "required": ["sessions_ended"],
        "properties": {"sessions_ended": {"type": "integer", "minimum": 0}},
    },
}


def needed_by(component: str) -> list[str]:
    """The component and those that it refers to."""
    return [component, *(["JWTRefusalReason"] if component in ("JWTRefusal", "JWTVerifyRefusal") else [])]


# The fields of jwt_redis.views.SessionSerializer.
SESSION_FIELDS = {
    "sid": "The session's id, for `DELETE`.",
    "current": "Is it the one that asks?",
    "created_at": "Of the sign-in.",
    "last_refreshed_at": "By this the list is ordered.",
    "expires_at": "Of the refresh token.",
    "ip": "At the last refresh; empty where it is not kept.",
    "location": "Where that was, in the project's words; empty where nothing tells.",
    "user_agent": "As the client called itself, cut short; may be empty.",
    "device": "Browser and system by family, empty where the user agent tells nothing.",
    "label": "A name for the session; may be empty.",
}

_TOKEN = "eyJhbGciOiJIUzI1NiJ9.…"  # noqa: S105


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One status.

    ``body``: the name of one of ``COMPONENTS``, a schema, ``...`` for the view's own serializer, None for no body.
    ``examples``: bodies by the examples' names.
    """

    body: str | dict[str, Any] | EllipsisType | None
    description: str
    examples: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """What there is to say of a view's method.

    ``request``: one of ``COMPONENTS``, "" for no body, None for what the view's own serializer takes. ``verb``: what
    the operation's id has for the method, as it has "list" and "create". ``parameters``: descriptions of those in the
    path. ``serializer``: its dotted path, for a view that names none; ``many``: of a list. ``takes_token``: does it
    look at a token that the request bears, though it can do without? ``needs_cookies``: is it of no use without them?
    """

    summary: str
    description: str
    answers: Mapping[int, Answer]
    request: str | None = None
    request_examples: Mapping[str, Any] = field(default_factory=dict)
    verb: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    serializer: str = ""
    many: bool = False
    takes_token: bool = False
    needs_cookies: bool = False


def _refusals(**examples: Any) -> Answer:
    return Answer(body="JWTRefusal", description="Not accepted.", examples=examples)


_NOT_VALID = {"detail": "Token is invalid", "code": "token_not_valid"}
_REVOKED = {"detail": "Token is blacklisted", "code": "token_not_valid", "reason": "session_ended"}
_ACCESS_REVOKED = {
    "detail": "Given token not valid for any token type",
    "code": "token_not_valid",
    "messages": [{"token_class": "AccessToken", "token_type": "access", "message": "Token is blacklisted"}],
    "reason": "session_ended",
}
_NOT_AUTHENTICATED = {"detail": "Authentication credentials were not provided."}
_NO_ACCOUNT = {"detail": "No active account found with the given credentials"}

_UNAVAILABLE = Answer(
    body="JWTUnavailable",
    description="Redis cannot be asked. Keep the tokens and try again.",
    examples={
        "unavailable": {
            "detail": "Sessions cannot be looked up right now. Try again shortly.",
            "code": "revocation_unavailable",
        }
    },
)
# Where an access token is needed.
_WITHOUT_GOOD_ACCESS = {
    401: _refusals(missing=_NOT_AUTHENTICATED, revoked=_ACCESS_REVOKED),
    503: _UNAVAILABLE,
}
_ENDED = Answer(body="JWTSessionsEnded", description="Done.", examples={"ended": {"sessions_ended": 1}})
_EMPTY = {"type": "object", "description": "Empty."}


def _bad_request(field: str) -> Answer:
    return Answer(
        body="JWTBadRequest",
        description="The body is not what is needed.",
        examples={"missing": {field: ["This field is required."]}},
    )


# Where tokens travel in cookies.
CSRF_FAILED = Answer(
    body="JWTProblem",
    description="The CSRF token is missing or wrong.",
    examples={"csrf": {"detail": "CSRF Failed: CSRF token missing."}},
)

SIGNED_IN = Answer(
    body="JWTCsrfToken", description="Signed in. The tokens are in cookies.", examples={"csrf": {"csrf_token": "Yb1x…"}}
)
IN_COOKIES = Answer(body=_EMPTY, description="Done. The tokens are in cookies.", examples={"empty": {}})

_NO_SUCH_SESSION = Answer(
    body="JWTProblem",
    description="The user has no such session.",
    examples={"unknown": {"detail": "You have no such session."}},
)

# By the dotted path of the view's method.
ENDPOINTS: dict[str, Endpoint] = {
    "jwt_redis.views.CSRFView.get": Endpoint(
        summary="Get a CSRF token",
        description="A CSRF token for scripts, and Django's CSRF cookie with it.",
        answers={
            200: Answer(body="JWTCsrfToken", description="The token.", examples={"csrf": {"csrf_token": "Yb1x…"}})
        },
        needs_cookies=True,
    ),
    "rest_framework_simplejwt.views.TokenObtainPairView.post": Endpoint(
        summary="Sign in",
        description="Opens a session. Both tokens belong to it, and are refused once it has ended.",
        answers={
            200: Answer(body=..., description="Signed in.", examples={"pair": {"access": _TOKEN, "refresh": _TOKEN}}),
            400: _bad_request("password"),
            401: _refusals(wrong=_NO_ACCOUNT),
            503: _UNAVAILABLE,
        },
    ),
    "rest_framework_simplejwt.views.TokenRefreshView.post": Endpoint(
        summary="Refresh",
        description="Gives a new access token. With rotation a refresh token is used once, and its successor comes "
        "with the answer; a copy that is used later ends the session.",
        request_examples={"refresh": {"refresh": _TOKEN}},
        answers={
            200: Answer(body=..., description="Refreshed.", examples={"pair": {"access": _TOKEN, "refresh": _TOKEN}}),
            400: _bad_request("refresh"),
            401: _refusals(invalid=_NOT_VALID, revoked=_REVOKED, inactive=_NO_ACCOUNT),
            503: _UNAVAILABLE,
        },
    ),
    "rest_framework_simplejwt.views.TokenObtainSlidingView.post": Endpoint(
        summary="Sign in, with a sliding token",
        description="Opens a session. The token belongs to it, and is refused once it has ended.",
        answers={
            200: Answer(body=..., description="Signed in.", examples={"token": {"token": _TOKEN}}),
            400: _bad_request("password"),
            401: _refusals(wrong=_NO_ACCOUNT),
            503: _UNAVAILABLE,
        },
    ),
    "rest_framework_simplejwt.views.TokenRefreshSlidingView.post": Endpoint(
        summary="Refresh a sliding token",
        description="Gives the token with a new expiry, while its session is alive.",
        request_examples={"token": {"token": _TOKEN}},
        answers={
            200: Answer(body=..., description="Refreshed.", examples={"token": {"token": _TOKEN}}),
            400: _bad_request("token"),
            401: _refusals(invalid=_NOT_VALID, revoked=_REVOKED, inactive=_NO_ACCOUNT),
            503: _UNAVAILABLE,
        },
    ),
    "rest_framework_simplejwt.views.TokenVerifyView.post": Endpoint(
        summary="Verify a token",
        description="Is a token of any type good, and was it not revoked?",
        request_examples={"access": {"token": _TOKEN}},
        answers={
            200: Answer(body=_EMPTY, description="The token is good.", examples={"good": {}}),
            400: Answer(
                body="JWTVerifyRefusal",
                description="The token was revoked, or the body is not what is needed.",
                examples={
                    "revoked": {"non_field_errors": ["Token is blacklisted"], "reason": ["session_ended"]},
                    "missing": {"token": ["This field is required."]},
                },
            ),
            401: _refusals(invalid=_NOT_VALID),
            503: _UNAVAILABLE,
        },
    ),
    "rest_framework_simplejwt.views.TokenBlacklistView.post": Endpoint(
        summary="Revoke a refresh token",
        description="Ends the session of the refresh token: all of its tokens are refused from now on. Again and again "
        "is no error.",
        request_examples={"refresh": {"refresh": _TOKEN}},
        answers={
            200: Answer(body=_EMPTY, description="Revoked.", examples={"done": {}}),
            400: _bad_request("refresh"),
            401: _refusals(invalid=_NOT_VALID),
            503: _UNAVAILABLE,
        },
    ),
    "jwt_redis.views.LogoutView.post": Endpoint(
        summary="Sign out",
        description="Ends one session: that of the refresh token in the body, or else of the access token that the "
        "request bears. Again is no error.",
        request="JWTSignOut",
        request_examples={"refresh": {"refresh": _TOKEN}},
        answers={
            200: _ENDED,
            400: replace(_bad_request("refresh"), examples={"wrong": {"refresh": ["Not a valid string."]}}),
            401: _refusals(
                invalid=_NOT_VALID,
                neither={"detail": "Send a refresh token in the body, or an access token in the header."},
            ),
            503: _UNAVAILABLE,
        },
        verb="",
        takes_token=True,
    ),
    "jwt_redis.views.LogoutOthersView.post": Endpoint(
        summary="Sign out everywhere else",
        description="Ends all of the user's sessions but the one that asks.",
        request="",
        answers={
            200: _ENDED,
            **_WITHOUT_GOOD_ACCESS,
        },
        verb="",
    ),
    "jwt_redis.views.LogoutAllView.post": Endpoint(
        summary="Sign out everywhere",
        description="Ends all of the user's sessions, the one that asks among them.",
        request="",
        answers={
            200: _ENDED,
            **_WITHOUT_GOOD_ACCESS,
        },
        verb="",
    ),
    "jwt_redis.views.SessionListView.get": Endpoint(
        summary="List the sessions",
        description="Where the user is signed in, the session that was used last first.",
        answers={
            200: Answer(body=..., description="The live sessions."),
            **_WITHOUT_GOOD_ACCESS,
        },
        verb="list",
        serializer="jwt_redis.views.SessionSerializer",
        many=True,
    ),
    "jwt_redis.views.SessionDetailView.patch": Endpoint(
        summary="Name a session",
        description="Gives one of the user's sessions a name for the list.",
        request="JWTSessionLabel",
        request_examples={"name": {"label": "The tablet in the kitchen"}},
        answers={
            200: Answer(body=..., description="The session."),
            400: replace(_bad_request("label"), examples={"long": {"label": ["At most 64 characters are possible."]}}),
            404: _NO_SUCH_SESSION,
            **_WITHOUT_GOOD_ACCESS,
        },
        serializer="jwt_redis.views.SessionSerializer",
        parameters={"sid": "The session's id."},
    ),
    "jwt_redis.views.SessionDetailView.delete": Endpoint(
        summary="End a session",
        description="Signs out one of the user's devices. Again is no error.",
        answers={
            204: Answer(body=None, description="Ended, now or before."),
            404: _NO_SUCH_SESSION,
            **_WITHOUT_GOOD_ACCESS,
        },
        parameters={"sid": "The session's id."},
    ),
}
