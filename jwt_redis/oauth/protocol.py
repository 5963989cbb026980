"""What OAuth's endpoints have in common: a form goes in, JSON comes out, errors have the RFCs' form."""

from __future__ import annotations

import math
from typing import Any, Final

from django.core.exceptions import SuspiciousOperation
from django.http import QueryDict
from rest_framework import exceptions
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_redis.exceptions import RevocationUnavailable

__all__ = ["MAX_BODY", "JSONView", "OAuthError", "ProtocolView", "invalid_request"]

# Bytes. Far more than a token and a client's credentials take.
MAX_BODY: Final = 65536


class OAuthError(Exception):
    """An error in the form of RFC 6749 section 5.2.

    ``code``: one of the registered ones. ``description``: for whoever writes the client, in English: the RFC knows no
    language for it, and no characters but ASCII without quotes.
    """

    def __init__(
        self, code: str, description: str = "", status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(code, description)
        self.code = code
        self.description = description
        self.status = status
        self.headers = headers or {}

    def response(self) -> Response:
        """As HTTP has it."""
        body = {"error": self.code}
        if self.description:
            body["error_description"] = self.description
        return Response(body, status=self.status, headers=self.headers)


def invalid_request(description: str) -> OAuthError:
    """The request lacks something, says something twice, or is otherwise malformed."""
    return OAuthError("invalid_request", description)


class _FormParser(BaseParser):
    """A form, of a size that somebody means."""

    media_type = "application/x-www-form-urlencoded"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> QueryDict:
        """:raises OAuthError: when it is too long or cannot be read."""
        body = stream.read(MAX_BODY + 1)
        if len(body) > MAX_BODY:
            raise invalid_request(f"the body is longer than {MAX_BODY} bytes")
        try:
            return QueryDict(body, encoding="utf-8")
        except (UnicodeError, SuspiciousOperation):
            raise invalid_request("the body is not a form") from None


class _JSONAlways(BaseContentNegotiation):
    """There is one form of answer, whatever is asked for."""

    def select_parser(self, request: Request, parsers: Any) -> Any:
        content_type = (request.content_type or "").partition(";")[0].strip().lower()
        return parsers[0] if content_type == _FormParser.media_type else None

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


class JSONView(APIView):
    """A page for machines, whoever asks. What is sent and answered is the RFCs', and not this project's API."""

    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = _JSONAlways
    schema = None


class ProtocolView(JSONView):
    """An endpoint for machines. A project's throttles apply before anything else, by address: guessing is counted."""

    parser_classes = (_FormParser,)

    def parameters(self, request: Request) -> dict[str, str]:
        """What was sent; what has no value was not (RFC 6749 section 3.2).

        :raises OAuthError: when something is there twice, or in the URL, where it would be logged.
        """
        form = request.data
        if not isinstance(form, QueryDict):
            raise invalid_request("a form is needed: application/x-www-form-urlencoded")
        for name, values in form.lists():
            if len(values) > 1:
                raise invalid_request("a parameter is there more than once")
            if name in request.query_params:
                raise invalid_request("parameters belong into the body")
        return {name: values[0] for name, values in form.lists() if values[0]}

    def handle_exception(self, exc: Exception) -> Response:
        """Each error in the RFC's form."""
        if isinstance(exc, OAuthError):
            response = exc.response()
        elif isinstance(exc, RevocationUnavailable):
            response = self.unavailable(exc)
        elif isinstance(exc, exceptions.UnsupportedMediaType):
            response = invalid_request("a form is needed: application/x-www-form-urlencoded").response()
        elif isinstance(exc, exceptions.MethodNotAllowed):
            response = OAuthError("invalid_request", "POST is needed", 405).response()
        elif isinstance(exc, exceptions.Throttled):
            wait = getattr(exc, "wait", None)
            headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
            response = OAuthError("temporarily_unavailable", "too many requests", 429, headers).response()
        else:
            return super().handle_exception(exc)
        response.exception = True
        return response

    def unavailable(self, error: RevocationUnavailable) -> Response:
        """Redis cannot be asked (RFC 7009 section 2.2.1)."""
        headers = {"Retry-After": str(error.wait)}
        return OAuthError("temporarily_unavailable", "try again shortly", error.status_code, headers).response()

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Nobody keeps it (RFC 6749 section 5.1)."""
        response = super().finalize_response(request, response, *args, **kwargs)
        response.headers["Cache-Control"] = "no-store"
        response.headers["Pragma"] = "no-cache"
        return response
