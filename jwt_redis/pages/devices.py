"""The list of a user's devices, and what its buttons do: Post/Redirect/Get, with Django's CSRF protection."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.csrf import csrf_protect

from jwt_redis import cookies, journal, sessions
from jwt_redis.conf import config
from jwt_redis.keys import user_id
from jwt_redis.pages import flash
from jwt_redis.pages.base import PageView, login_url
from jwt_redis.pages.flash import Flash
from jwt_redis.pages.listing import context_for, name_of
from jwt_redis.pages.visitors import Visitor, visitor_of, why_signed_out
from jwt_redis.verdicts import is_sid

__all__ = ["DevicesView", "LabelView", "SignOutAllView", "SignOutOthersView", "SignOutView", "SignedOutView"]


def _devices() -> str:
    return reverse("jwt_redis_pages:devices")


@method_decorator(csrf_protect, name="dispatch")
class _SignedInView(PageView):
    """For somebody who is signed in. Anybody else is told why not, or led to where to sign in."""

    visitor: Visitor
    # The session that asks has been ended by this very request.
    has_left = False

    def respond(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Django's ``dispatch``, with ``self.visitor``."""
        visitor = visitor_of(request)
        if visitor is None:
            return self._turn_away(request)
        self.visitor = visitor
        response = super().respond(request, *args, **kwargs)
        self.keep(response)
        return response

    def keep(self, response: HttpResponseBase) -> None:
        """What was refreshed on the way: the token that came is used up."""
        visitor: Visitor | None = getattr(self, "visitor", None)
        if visitor is not None and not self.has_left:
            visitor.keep(response)

    def _turn_away(self, request: Any) -> HttpResponse:
        if why := why_signed_out(request):
            if request.headers.get("HX-Request"):
                return self.go(request, _devices())
            response = self.page(request, "jwt_redis/signed_out.html", {"why": why}, status=401)
            # RFC 9110 section 15.5.2: a 401 has it. No browser asks for a password upon this scheme.
            response["WWW-Authenticate"] = 'Bearer realm="api"'
            return response
        here = request.get_full_path() if request.method == "GET" else _devices()
        return self.go(request, redirect_to_login(here, login_url()).url)


class DevicesView(_SignedInView):
    """Where the user is signed in."""

    def get(self, request: Any) -> HttpResponse:
        """The page; for htmx the list alone, unless it restores what it had in its history."""
        headers = request.headers
        is_part = bool(headers.get("HX-Request")) and not headers.get("HX-History-Restore-Request")
        template = "jwt_redis/sessions.html" if is_part else "jwt_redis/devices.html"
        return self.page(request, template, context_for(self.visitor, request.GET.get("page")))


class _ActionView(_SignedInView):
    """A button. Whoever reloads its address, or comes to it from signing in, gets the list."""

    http_method_names = ["get", "post", "head", "options"]

    def get(self, request: Any, **kwargs: Any) -> HttpResponse:
        """The list."""
        return redirect(_devices())

    def acting(self) -> Any:
        """What is ended within was ended by the visitor."""
        return journal.acting_as(user_id(self.visitor.user))

    def back(self, request: Any, text: str, *, is_error: bool = False) -> HttpResponse:
        """To where the button was, with a word on what it did."""
        url = request.POST.get("next", "")
        is_ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
        # From the root: another path would be one below this button's own address.
        if not is_ours or not url.startswith("/"):
            page = request.POST.get("page", "")
            url = f"{_devices()}?{urlencode({'page': page})}" if page.isdecimal() and page != "1" else _devices()
        # Not redirect(), which takes a word for the name of a pattern.
        response = HttpResponseRedirect(url)
        flash.say(request, response, Flash(text, is_error))
        return response

    def leave(self, request: Any, text: str) -> HttpResponse:
        """The session that asks is over: the browser forgets its cookies, and what else they are good for ends too."""
        self.has_left = True
        response = self.go(request, reverse("jwt_redis_pages:signed_out"))
        cookie = config().cookie
        if cookie is not None and not cookies.bears_header(request):
            for user, sid in cookies.sessions_of_cookies(request):
                if sid is not None and sid != self.visitor.sid:
                    with journal.acting_as(user):
                        sessions.end_session(user, sid)
            cookies.clear_cookies(response)
            if cookie.clear_site_data:
                response["Clear-Site-Data"] = ", ".join(f'"{name}"' for name in cookie.clear_site_data)
        flash.say(request, response, Flash(text))
        return response


class SignOutView(_ActionView):
    """Ends one of the user's sessions."""

    def post(self, request: Any, sid: str) -> HttpResponse:
        """End it, or find it ended. Somebody else's is not told apart from one that never was."""
        user = self.visitor.user
        found = {session.sid: session for session in sessions.list_sessions(user)}
        is_current = bool(self.visitor.sid) and sid == self.visitor.sid
        if not is_current and sid not in found:
            return self.back(request, _("That device was signed out already."))
        with self.acting():
            sessions.end_session(user, sid)
        if is_current:
            return self.leave(request, _("This device was signed out."))
        # In quotation marks, and isolated: it may run from right to left (Unicode Standard Annex 9).
        return self.back(request, _("“%(device)s” was signed out.") % {"device": f"\u2068{name_of(found[sid])}\u2069"})


class SignOutOthersView(_ActionView):
    """Ends all of the user's sessions but the one that asks."""

    def post(self, request: Any) -> HttpResponse:
        """End them."""
        user, sid = self.visitor.user, self.visitor.sid
        with self.acting():
            if sid:
                ended = sessions.end_other_sessions(user, sid)
            else:
                # Django's own session has signed the user in here: all of ours are others.
                ended = sessions.end_all_sessions(user, reason="logout_others")
        return self.back(request, _said(ended))


class SignOutAllView(_ActionView):
    """Ends all of the user's sessions."""

    def post(self, request: Any) -> HttpResponse:
        """End them."""
        with self.acting():
            ended = sessions.end_all_sessions(self.visitor.user)
        if self.visitor.sid:
            return self.leave(request, _("All of your devices were signed out."))
        return self.back(request, _said(ended))


def _said(ended: int) -> str:
    if not ended:
        return _("No other device was signed in.")
    said = ngettext("%(count)d other device was signed out.", "%(count)d other devices were signed out.", ended)
    return said % {"count": ended}


class LabelView(_ActionView):
    """Names one of the user's sessions."""

    def post(self, request: Any, sid: str) -> HttpResponse:
        """Name it; an empty name takes the old one away."""
        label = request.POST.get("label", "")
        try:
            is_there = is_sid(sid) and sessions.set_label(self.visitor.user, sid, label)
        except ValueError:
            said = _("That name is too long: at most %(count)d characters are possible.")
            return self.back(request, said % {"count": sessions.MAX_LABEL}, is_error=True)
        if not is_there:
            return self.back(request, _("That device was signed out already."), is_error=True)
        return self.back(request, _("The name was saved.") if label.strip() else _("The name was removed."))


class SignedOutView(PageView):
    """Where somebody lands who has just left."""

    def get(self, request: Any) -> HttpResponse:
        """The page; whoever is signed in is in the wrong place."""
        if visitor_of(request, may_refresh=False) is not None:
            return self.go(request, _devices())
        return self.page(request, "jwt_redis/signed_out.html", {})
