"""drf-spectacular: how requests bear a token, and what Simple JWT's views and ours take and answer.

:mod:`jwt_redis.apps` imports it where ``drf_spectacular`` is installed. Whatever a project says itself, by
``extend_schema``, by a schema class on the view or by an extension of its own, goes before all of this.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.http.request import HttpHeaders
from django.utils.module_loading import import_string
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiViewExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.plumbing import ResolvedComponent, build_bearer_security_scheme_object
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse
from rest_framework import serializers
from rest_framework.permissions import SAFE_METHODS, AllowAny
from rest_framework.settings import api_settings
from rest_framework_simplejwt.authentication import AUTH_HEADER_TYPES

from jwt_redis.authentication import JWTAuthentication, takes_cookies
from jwt_redis.conf import Cookie, config, simplejwt_setting
from jwt_redis.contrib.endpoints import (
    COMPONENTS,
    CSRF_FAILED,
    ENDPOINTS,
    IN_COOKIES,
    SESSION_FIELDS,
    SIGNED_IN,
    Answer,
    Endpoint,
    needed_by,
)
from jwt_redis.cookie_views import ClearsCookiesMixin, CookieMixin, SetsCookiesMixin, TakesCookieMixin
from jwt_redis.cookies import access_name, refresh_name

__all__ = ["JWTScheme"]

# Behind a project's own extensions. drf-spectacular's, for Simple JWT's classes, match no subclass.
_PRIORITY = -1


class JWTScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """For every class with the mixin. With ``COOKIE``: the header, or the cookie and a CSRF token."""

    target_class = "jwt_redis.authentication.RevocationCheckMixin"
    match_subclasses = True
    priority = _PRIORITY
    # As drf-spectacular calls Simple JWT's: who adopts this package finds the same scheme.
    name: Any = "jwtAuth"

    def get_security_requirement(self, auto_schema: AutoSchema) -> Any:
        """One of these."""
        cookie = _cookie(auto_schema)
        alternatives: list[dict[str, list[Any]]] = [{"jwtAuth": []}]
        if cookie is not None:
            alternatives.append({"jwtCookie": [], **_csrf_requirement(auto_schema, cookie)})
        return alternatives

    def get_security_definition(self, auto_schema: AutoSchema) -> Any:
        """The header, as Simple JWT's settings have it."""
        cookie = _cookie(auto_schema)
        if cookie is not None:
            _register_cookie_schemes(auto_schema, cookie)
        return build_bearer_security_scheme_object(
            header_name=simplejwt_setting("AUTH_HEADER_NAME"), token_prefix=AUTH_HEADER_TYPES[0], bearer_format="JWT"
        )


def _cookie(auto_schema: AutoSchema) -> Cookie | None:
    return config().cookie if takes_cookies(auto_schema.view) else None


def _csrf_requirement(auto_schema: AutoSchema, cookie: Cookie) -> dict[str, list[Any]]:
    return {"csrfToken": []} if cookie.csrf and auto_schema.method not in SAFE_METHODS else {}


def _register_cookie_schemes(auto_schema: AutoSchema, cookie: Cookie) -> None:
    csrf_header = HttpHeaders.parse_header_name(settings.CSRF_HEADER_NAME) or "X-CSRFToken"
    schemes = {
        "jwtCookie": ("cookie", access_name(cookie), "The access token."),
        "jwtRefreshCookie": ("cookie", refresh_name(cookie), "The refresh token."),
        "csrfToken": ("header", csrf_header, "Django's CSRF token, with its cookie."),
    }
    for name, (where, what, text) in schemes.items():
        definition = {"type": "apiKey", "in": where, "name": what, "description": text}
        _register(auto_schema, name, ResolvedComponent.SECURITY_SCHEMA, definition)


def _register(auto_schema: AutoSchema, name: str, kind: str, schema: dict[str, Any]) -> None:
    # A copy: a project's hooks may work on it.
    made = ResolvedComponent(name, kind, deepcopy(schema), object=name)  # type: ignore[no-untyped-call]
    auto_schema.registry.register_on_missing(made)


# Serializers ---------------------------------------------------------------------------------------------------------


class _Serializer(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """One of ours, or a project's with the mixin: its ``validate`` answers with what is no field of it."""

    match_subclasses = True
    priority = _PRIORITY

    def get_answered(self) -> Mapping[str, serializers.Field[Any, Any, Any, Any]]:
        """The fields to add, or to put in place of its own."""
        return {}

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        """The serializer's own fields, a project's among them, and the answered ones."""
        serializer = self.target
        for name, answered in self.get_answered().items():
            serializer.fields[name] = answered
        schema = auto_schema._map_serializer(serializer, direction, bypass_extensions=True)  # type: ignore[no-untyped-call]
        if type(serializer).__module__ == _OURS:
            # The docstring, which is for whoever writes Python.
            schema.pop("description", None)
        return schema


_OURS = "jwt_redis.serializers"


class _Obtain(_Serializer):  # type: ignore[no-untyped-call]
    target_class = f"{_OURS}.SessionObtainMixin"

    def get_answered(self) -> Mapping[str, serializers.Field[Any, Any, Any, Any]]:
        # Needs the user model; this module is imported while Django starts.
        from rest_framework_simplejwt.serializers import TokenObtainSlidingSerializer

        is_sliding = isinstance(self.target, TokenObtainSlidingSerializer)
        names = ("token",) if is_sliding else ("access", "refresh")
        return {name: serializers.CharField(read_only=True) for name in names}


class _Refresh(_Serializer):  # type: ignore[no-untyped-call]
    target_class = f"{_OURS}.SessionRefreshMixin"

    def get_answered(self) -> Mapping[str, serializers.Field[Any, Any, Any, Any]]:
        is_answered = bool(simplejwt_setting("ROTATE_REFRESH_TOKENS"))
        return {"refresh": serializers.CharField(write_only=not is_answered)}


class _RefreshSliding(_Serializer):  # type: ignore[no-untyped-call]
    target_class = f"{_OURS}.SessionRefreshSlidingMixin"


class _Verify(_Serializer):  # type: ignore[no-untyped-call]
    target_class = f"{_OURS}.SessionVerifyMixin"


class _Blacklist(_Serializer):  # type: ignore[no-untyped-call]
    target_class = f"{_OURS}.SessionBlacklistMixin"


class _Session(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    target_class = "jwt_redis.views.SessionSerializer"
    match_subclasses = True
    priority = _PRIORITY

    def get_name(self, auto_schema: AutoSchema, direction: Any) -> str | None:
        """Not "Session": that may well be a project's own."""
        target_class: Any = self.target_class
        return "JWTSession" if type(self.target) is target_class else None

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> Any:
        """What spectacular finds out, with a word on each field."""
        schema = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)  # type: ignore[no-untyped-call]
        for name, text in SESSION_FIELDS.items():
            if name in schema["properties"]:
                schema["properties"][name].setdefault("description", text)
        return schema


# Views ---------------------------------------------------------------------------------------------------------------


class _ViewSchema(AutoSchema):
    """What a view's entry in ``ENDPOINTS`` says."""

    endpoint: Endpoint
    # A project's subclass may say more of itself.
    has_own_description = False

    def is_excluded(self) -> bool:
        return super().is_excluded() or (self.endpoint.needs_cookies and _cookie(self) is None)

    def get_auth(self) -> list[Any]:
        found, cookie = super().get_auth(), _cookie(self)
        if cookie is None or not isinstance(self.view, CookieMixin):
            return found
        csrf = _csrf_requirement(self, cookie)
        if csrf and isinstance(self.view, (SetsCookiesMixin, ClearsCookiesMixin)):
            # Without a token, too, it has to be the site itself that asks.
            found = [one or csrf for one in found] or [csrf]
        elif not found:
            found = [{}]
        if self.view.takes_refresh_cookie:
            found.append({"jwtRefreshCookie": [], **csrf})
        elif isinstance(self.view, TakesCookieMixin):
            found.append({"jwtCookie": [], **csrf})
        _register_cookie_schemes(self, cookie)
        return [] if found == [{}] else found

    def get_operation_id(self) -> str:
        if self.endpoint.verb is not None:
            self.method_mapping = {**self.method_mapping, self.method.lower(): self.endpoint.verb}
        # Where the verb is empty, an underscore is left over.
        return super().get_operation_id().strip("_")

    def get_summary(self) -> str | None:
        return super().get_summary() or self.endpoint.summary

    def get_description(self) -> str:  # type: ignore[override]
        return str(super().get_description()) if self.has_own_description else self.endpoint.description

    def get_override_parameters(self) -> list[Any]:
        found: list[Any] = [
            OpenApiParameter(name, str, OpenApiParameter.PATH, description=text)
            for name, text in self.endpoint.parameters.items()
        ]
        found += [
            OpenApiParameter(name, kind, OpenApiParameter.HEADER, required=True, description=text, response=[status])
            for name, kind, text, status in _HEADERS
            if status in self.endpoint.answers
        ]
        return [*super().get_override_parameters(), *found]

    def get_examples(self) -> list[OpenApiExample]:
        asked = self.endpoint.request_examples
        return [
            *super().get_examples(),
            *(OpenApiExample(name, value, request_only=True) for name, value in asked.items()),
        ]

    def get_request_serializer(self) -> Any:
        if self.endpoint.request == "" or self.method not in ("POST", "PATCH"):
            return None
        if self.endpoint.request is not None:
            return dict.fromkeys(self.map_parsers(), self._refer(self.endpoint.request))
        serializer = super().get_request_serializer()
        if _cookie(self) is None or not isinstance(self.view, TakesCookieMixin):
            return serializer
        schema = self._map_serializer(serializer, "request")  # type: ignore[no-untyped-call]
        needed = [name for name in schema.get("required", ()) if name != self.view.body_field]
        schema = {name: part for name, part in schema.items() if name != "required"}
        if needed:
            schema["required"] = needed
        return dict.fromkeys(self.map_parsers(), schema)

    def get_response_serializers(self) -> Any:
        return {status: self._response(answer) for status, answer in sorted(self._answers().items())}

    def _answers(self) -> dict[int, Answer]:
        """Those of the endpoint, and what cookies change."""
        answers, cookie = dict(self.endpoint.answers), _cookie(self)
        if cookie is None:
            return answers
        is_concerned = isinstance(self.view, CookieMixin) or bool(self.view.get_authenticators())
        if is_concerned and _csrf_requirement(self, cookie):
            answers[403] = CSRF_FAILED
        if isinstance(self.view, SetsCookiesMixin):
            has_csrf_token = self.view.signs_in and cookie.csrf
            if not cookie.in_body:
                answers[200] = SIGNED_IN if has_csrf_token else IN_COOKIES
            elif has_csrf_token:
                serializer: Any = super().get_response_serializers()
                component = self.resolve_serializer(serializer, "response")
                answers[200] = replace(
                    answers[200], body={"allOf": [component.ref, self._refer("JWTCsrfToken")]}, examples={}
                )
        return answers

    def _response(self, answer: Answer) -> Any:
        body: Any = answer.body
        if body is ...:
            path, many = self.endpoint.serializer, self.endpoint.many
            body = import_string(path)(many=many) if path else super().get_response_serializers()
        elif isinstance(body, str):
            body = self._refer(body)
        else:
            body = deepcopy(body)
        examples = [OpenApiExample(name, value, response_only=True) for name, value in answer.examples.items()]
        return OpenApiResponse(body, answer.description, examples)

    def _refer(self, component: str) -> dict[str, Any]:
        for name in needed_by(component):
            _register(self, name, ResolvedComponent.SCHEMA, COMPONENTS[name])
        return {"$ref": f"#/components/schemas/{component}"}


# Of answers: name, type, text, status.
_HEADERS = (
    ("WWW-Authenticate", str, "The challenge (RFC 9110 section 11.6.1).", 401),
    ("Retry-After", int, "Seconds (RFC 9110 section 10.2.3).", 503),
)


def _behind(schema_class: type[AutoSchema], mine: type[AutoSchema]) -> type[AutoSchema]:
    """``mine`` below what a project has put on the view, and above drf-spectacular's own."""
    base: Any = api_settings.DEFAULT_SCHEMA_CLASS
    theirs = [cls for cls in schema_class.__mro__ if cls not in base.__mro__]
    return type(mine.__name__, (*theirs, mine, base), {})


class _View(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """A view, or a project's subclass of it."""

    match_subclasses = True
    priority = _PRIORITY
    # By method.
    endpoints: Mapping[str, Endpoint]

    def view_replacement(self) -> Any:
        """The view with its schema; the very view where its serializer is not one of ours."""
        target = self.target
        if not _is_ours(target):
            return target
        is_theirs = target is not self.target_class and target.__module__ != "jwt_redis.views"
        has_own_description = is_theirs and bool(vars(target).get("__doc__"))
        attributes: dict[str, Any] = {"__doc__": target.__doc__}
        for name, endpoint in self.endpoints.items():
            facts = {"endpoint": endpoint, "has_own_description": has_own_description}
            mine = type("JWTViewSchema", (_ViewSchema,), facts)
            method = getattr(target, name)
            # On the method, as extend_schema has it: a project's subclass may have others.
            theirs = getattr(method, "kwargs", {}).get("schema") or type(target.schema)
            attributes[name] = _with_schema(method, _behind(theirs, mine))
            if endpoint.takes_token:
                attributes |= {"authentication_classes": (JWTAuthentication,), "permission_classes": (AllowAny,)}
        return type(target.__name__, (target,), attributes)


def _with_schema(method: Any, schema_class: type[AutoSchema]) -> Any:
    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    wrapped.kwargs = {**getattr(method, "kwargs", {}), "schema": schema_class}  # type: ignore[attr-defined]
    return wrapped


def _is_ours(view: Any) -> bool:
    """Has Simple JWT's view one of our serializers? Ours need none."""
    path = getattr(view, "_serializer_class", None)
    found = getattr(view, "serializer_class", None) or (import_string(path) if path else None)
    return found is None or any(base.__module__ == _OURS for base in found.__mro__)


_by_view: dict[str, dict[str, Endpoint]] = {}
for _path, _endpoint in ENDPOINTS.items():
    _view, _, _method = _path.rpartition(".")
    _by_view.setdefault(_view, {})[_method] = _endpoint
for _view, _endpoints in _by_view.items():
    # Each registers itself.
    type(f"{_view.rpartition('.')[2]}Extension", (_View,), {"target_class": _view, "endpoints": _endpoints})
