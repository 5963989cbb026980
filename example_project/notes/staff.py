"""Staff come to Django's admin with the session that they have on the pages, and leave it with that."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.http import require_POST

from jwt_redis.pages.devices import SignOutView


def sign_in(request: Any) -> HttpResponse:
    """Where the admin sends whoever may not see it."""
    if request.user.is_authenticated:
        return render(request, "notes/not_staff.html", status=403)
    return redirect_to_login(request.GET.get("next", "/admin/"))


@csrf_protect
@require_POST
def sign_out(request: Any) -> HttpResponseBase:
    """The button in the admin's corner."""
    if request.auth is None:
        return redirect("home")
    return SignOutView.as_view()(request, sid=request.auth["sid"])
