"""Views that say who they take the requester for: plain async ones, and those of async DRF."""

from __future__ import annotations

import threading
from typing import Any

from adrf.views import APIView
from django.http import HttpRequest, JsonResponse
from django.urls import path
from rest_framework.exceptions import APIException
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response

from jwt_redis.authentication import JWTAuthentication, JWTStatelessUserAuthentication
from jwt_redis.contrib import adrf
from jwt_redis.middleware import JWTAuthenticationMiddleware


class StatelessMiddleware(JWTAuthenticationMiddleware):
    authentication_class = JWTStatelessUserAuthentication


async def whoami(request: Any) -> JsonResponse:
    user = await request.auser()
    if request.auth is None:
        return JsonResponse({"error": request.auth_error.detail if request.auth_error else None}, status=401)
    return JsonResponse({"user": user.pk, "sid": request.auth["sid"], "thread": threading.current_thread().name})


async def whoami_row(request: Any) -> JsonResponse:
    authenticator = JWTAuthentication()
    try:
        raw = authenticator.get_raw_token(authenticator.get_header(request))
        token = await authenticator.aget_validated_token(raw)
        user = await authenticator.aget_user(token)
    except APIException as error:
        return JsonResponse({"error": error.detail}, status=error.status_code)
    return JsonResponse({"user": user.pk, "sid": token["sid"]})


class AsyncWhoAmI(APIView):
    authentication_classes = (adrf.JWTAuthentication,)
    permission_classes = (IsAuthenticated, adrf.HasLiveSession)

    async def get(self, request: Any) -> Response:
        return Response({"user": request.user.pk, "sid": request.auth["sid"]})


async def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [
    path("whoami/", whoami),
    path("whoami-row/", whoami_row),
    path("adrf/", AsyncWhoAmI.as_view()),
    path("untouched/", untouched),
]
