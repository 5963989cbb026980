"""Ours under auth/, Simple JWT's own views under stock/, and views to be let in or kept out of."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, JsonResponse
from django.urls import include, path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import views as stock
from rest_framework_simplejwt.authentication import JWTAuthentication as StockJWTAuthentication

from jwt_redis.authentication import JWTStatelessUserAuthentication
from jwt_redis.permissions import HasLiveSession, LoggedInWithin


class WhoAmI(APIView):
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response({"user": str(request.user.pk)})


class Stateless(WhoAmI):
    authentication_classes = (JWTStatelessUserAuthentication,)


class FailOpen(Stateless):
    on_redis_failure = "allow"


class FailClosed(Stateless):
    on_redis_failure = "deny"


class BehindStock(WhoAmI):
    """Simple JWT's own class authenticates; only the permission knows of sessions."""

    authentication_classes = (StockJWTAuthentication,)
    permission_classes = (HasLiveSession,)


class Fresh(WhoAmI):
    permission_classes = (IsAuthenticated, LoggedInWithin(minutes=5))


def _facts(request: Any, user: Any) -> JsonResponse:
    error = request.auth_error
    return JsonResponse(
        {
            "user": str(user.pk),
            "anonymous": user.is_anonymous,
            "sid": request.auth["sid"] if request.auth is not None else None,
            "error": None if error is None else error.detail,
        }
    )


def plain(request: HttpRequest) -> JsonResponse:
    return _facts(request, request.user)


async def plain_async(request: HttpRequest) -> JsonResponse:
    return _facts(request, await request.auser())


def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [
    path("admin/", admin.site.urls),
    path("auth/", include("jwt_redis.urls")),
    path("auth/sliding/", stock.TokenObtainSlidingView.as_view()),
    path("auth/sliding/refresh/", stock.TokenRefreshSlidingView.as_view()),
    path("stock/token/", stock.TokenObtainPairView.as_view()),
    path("stock/token/refresh/", stock.TokenRefreshView.as_view()),
    path("stock/token/verify/", stock.TokenVerifyView.as_view()),
    path("stock/token/blacklist/", stock.TokenBlacklistView.as_view()),
    path("whoami/", WhoAmI.as_view()),
    path("stateless/", Stateless.as_view()),
    path("fail-open/", FailOpen.as_view()),
    path("fail-closed/", FailClosed.as_view()),
    path("behind-stock/", BehindStock.as_view()),
    path("fresh/", Fresh.as_view()),
    path("plain/", plain),
    path("plain-async/", plain_async),
    path("untouched/", untouched),
]
