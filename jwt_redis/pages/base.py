"""What the pages have in common: nobody keeps them, and a Redis that cannot be asked is a page too."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.template.loader import render_to_string
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.views import View

from jwt_redis import cookies
from jwt_redis.conf import config
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.pages import flash

__all__ = ["PageView", "login_url", "password_url"]


def login_url() -> str:
    """Where to sign in."""
    return resolve_url(config().pages.login_url or settings.LOGIN_URL)


def password_url() -> str:
    """Where to change the password; "" if that is not known."""
    url = config().pages.password_url
    return "" if url is None else resolve_url(url)


class PageView(View):
    """A view whose answers are HTML. ``shows_flashes``: its templates show what was said on the page before."""

    shows_flashes = True

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """:meth:`respond`, and what every answer has."""
        try:
            response = self.respond(request, *args, **kwargs)
        except RevocationUnavailable as error:
            # Without the request: context processors would ask who that is, once more.
            facts = {"url": request.get_full_path(), "is_action": request.method == "POST"}
            text = render_to_string("jwt_redis/unavailable.html", facts)
            response = HttpResponse(text, status=error.status_code, headers={"Retry-After": str(error.wait)})
            self.keep(response)
        add_never_cache_headers(response)
        cookies.patch_vary(response)
        patch_vary_headers(response, ("HX-Request",))
        response.headers.setdefault("X-Frame-Options", settings.X_FRAME_OPTIONS)
        # The address may hold a link's token. Not "no-referrer", with which a form's Origin would be "null".
        response.headers.setdefault("Referrer-Policy", "same-origin")
        return response

    def respond(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Django's ``dispatch``."""
        return super().dispatch(request, *args, **kwargs)

    def keep(self, response: HttpResponseBase) -> None:
        """Put into a response what must not be lost with an error."""

    def page(self, request: Any, template: str, context: dict[str, Any], status: int = 200) -> HttpResponse:
        """A page, with what was said on the one before."""
        common = {"login_url": login_url(), "password_url": password_url()}
        if not self.shows_flashes:
            return render(request, template, {**common, **context}, status=status)
        made = render(request, template, {**common, "flashes": flash.take(request), **context}, status=status)
        flash.forget(request, made)
        return made

    def go(self, request: Any, url: str) -> HttpResponse:
        """Lead the browser to another page, which htmx would put into this one."""
        if request.headers.get("HX-Request"):
            return HttpResponse(status=204, headers={"HX-Redirect": url})
        return redirect(url)
