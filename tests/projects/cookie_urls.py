"""The test project's URLs, and views that change something: a group is made by whoever is let in."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.decorators import api_view, permission_classes
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_redis import cookies, sessions, views
from tests import urls


def _act(name: str) -> None:
    Group.objects.get_or_create(name=name)


class Act(APIView):
    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        _act(f"drf {request.user.pk}")
        return Response({})

    put = patch = delete = post


class ActWithoutCookies(Act):
    uses_cookies = False


@api_view(["GET", "POST"])
@permission_classes([AllowAny])
def register(request: Request) -> Response:
    _act("registered")
    return Response({"user": str(request.user.pk)})


def _act_plainly(request: Any, user: Any) -> JsonResponse:
    if not user.is_authenticated:
        error = request.auth_error
        return JsonResponse({"error": None if error is None else str(error.detail)}, status=403)
    _act(f"plain {user.pk}")
    return JsonResponse({"user": str(user.pk)})


@csrf_exempt
def exempt(request: HttpRequest) -> JsonResponse:
    return _act_plainly(request, request.user)


@csrf_exempt
async def exempt_async(request: Any) -> JsonResponse:
    user = await request.auser()
    if not user.is_authenticated:
        error = request.auth_error
        return JsonResponse({"error": None if error is None else str(error.detail)}, status=403)
    await Group.objects.aget_or_create(name=f"plain {user.pk}")
    return JsonResponse({"user": str(user.pk)})


def guarded(request: HttpRequest) -> JsonResponse:
    """Django's own middleware looks after this one, where it is installed."""
    return _act_plainly(request, request.user)


class ChangePassword(APIView):
    permission_classes = (IsAuthenticated,)

    def post(self, request: Request) -> Response:
        request.user.set_password(request.data["password"])
        request.user.save()
        refresh = sessions.open_session(request.user, request)
        response = Response({})
        cookies.set_cookies(response, access=refresh.access_token, refresh=refresh)
        return response


def bye(request: HttpRequest) -> HttpResponse:
    response = HttpResponse()
    cookies.clear_cookies(response)
    return response


urlpatterns = [
    path("act/", Act.as_view()),
    path("act-without/", ActWithoutCookies.as_view()),
    path("register/", register),
    path("exempt/", exempt),
    path("exempt-async/", exempt_async),
    path("guarded/", guarded),
    path("password/", ChangePassword.as_view()),
    path("bye/", bye),
    path("native/token/", views.TokenObtainPairView.as_view(uses_cookies=False)),
    path("native/refresh/", views.TokenRefreshView.as_view(uses_cookies=False)),
    path("native/logout/", views.LogoutView.as_view(uses_cookies=False)),
    path("native/logout/all/", views.LogoutAllView.as_view(uses_cookies=False)),
    path("ours/sliding/", views.TokenObtainSlidingView.as_view()),
    path("ours/sliding/refresh/", views.TokenRefreshSlidingView.as_view()),
    path("", include(urls.urlpatterns)),
]
