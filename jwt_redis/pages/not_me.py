"""The link "this was not me" of a sign-in notice: asks first, for programs follow links too, then ends all sessions."""

from __future__ import annotations

from typing import Any

from django.core import signing
from django.http import HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.csrf import csrf_exempt

from jwt_redis import cookies
from jwt_redis.notices import Link, read_link, use_link, used_at
from jwt_redis.pages.base import PageView

__all__ = ["NotMeView"]


# Whoever has the token may do this, signed in or not: another site has none. And cookies may be off where mail is read.
@method_decorator(csrf_exempt, name="dispatch")
class NotMeView(PageView):
    """No matter who is signed in in this browser, if anybody is."""

    # They are for the page after it.
    shows_flashes = False

    def respond(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Django's ``dispatch``, for a link that is good."""
        try:
            link = read_link(kwargs["token"])
        except signing.SignatureExpired:
            return self._refuse(request, "expired", 410)
        except signing.BadSignature:
            return self._refuse(request, "bad", 400)
        return super().respond(request, link=link)

    def get(self, request: Any, link: Link) -> HttpResponse:
        """Ask."""
        if (moment := used_at(link)) is not None:
            return self._refuse(request, "used", 410, moment)
        return self.page(request, "jwt_redis/not_me.html", {"stage": "ask"})

    def post(self, request: Any, link: Link) -> HttpResponse:
        """Do it."""
        ended = use_link(link)
        if ended is None:
            return self._refuse(request, "used", 410, used_at(link))
        response = self.page(request, "jwt_redis/not_me.html", {"stage": "done", "ended": ended})
        held = cookies.sessions_of_cookies(request)
        if held and all(user == link.user for user, _ in held):
            cookies.clear_cookies(response)
        return response

    def _refuse(self, request: Any, stage: str, status: int, moment: Any = None) -> HttpResponse:
        context = {"stage": stage, "moment": moment}
        return self.page(request, "jwt_redis/not_me.html", context, status=status)
