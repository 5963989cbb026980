"""What every page has: a strict policy, and a refresh in passing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string

from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.pages.visitors import visitor_of

# No script and no style but from files of this site: https://www.w3.org/TR/CSP3/
_POLICY = "; ".join(
    [
        "default-src 'none'",
        *(f"{kind}-src 'self'" for kind in ("connect", "font", "img", "script", "style")),
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    ]
)

Respond = Callable[[HttpRequest], HttpResponseBase]


def content_security_policy(get_response: Respond) -> Respond:
    """On every answer but Django's own pages of errors, which have their style within."""

    def respond(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        if response.status_code not in (404, 500):
            response.headers.setdefault("Content-Security-Policy", _POLICY)
        return response

    return respond


class RefreshInPassing:
    """An access token lives for a minute here, and links and forms have no script that would refresh it.

    So whoever comes with a refresh token alone, or with an access token that has run out, gets a new pair with the
    answer. For the pages, the admin among them; the API's clients do it themselves.
    """

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> HttpResponseBase:
        response = self.get_response(request)
        visitor = getattr(request, "visitor", None)
        # Whoever has just signed in or out has other cookies already.
        if visitor is not None and settings.JWT_REDIS["COOKIE"]["refresh"] not in response.cookies:
            visitor.keep(response)
        return response

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> HttpResponse | None:
        """Here and not before: Django has checked CSRF now, unless the view is exempt."""
        if getattr(view, "csrf_exempt", False):
            return None
        try:
            request.visitor = visitor_of(request)
        except RevocationUnavailable as error:
            return _unavailable(request, error)
        return None

    def process_exception(self, request: Any, exception: Exception) -> HttpResponse | None:
        """Of a view that has asked Redis itself, as the one that signs in. Who prefers JSON gets jwt_redis' own."""
        is_page = request.get_preferred_type(["application/json", "text/html"]) == "text/html"
        return _unavailable(request, exception) if is_page and isinstance(exception, RevocationUnavailable) else None


def _unavailable(request: HttpRequest, error: RevocationUnavailable) -> HttpResponse:
    facts = {"url": request.get_full_path(), "is_action": request.method == "POST"}
    text = render_to_string("jwt_redis/unavailable.html", facts)
    return HttpResponse(text, status=error.status_code, headers={"Retry-After": str(error.wait)})
