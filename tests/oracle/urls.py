"""A view for each kind of host. Its answer says which process gave it, and whether it had to ask Redis."""

from __future__ import annotations

import os
from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path
from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import InvalidToken

from jwt_redis import near_cache
from jwt_redis.authentication import JWTStatelessUserAuthentication
from jwt_redis.exceptions import RevocationUnavailable


def _facts(token: Any) -> dict[str, Any]:
    return {"pid": os.getpid(), "from_memory": token.verdict.from_memory, "follows": near_cache.is_following()}


class Check(APIView):
    authentication_classes = (JWTStatelessUserAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        return Response(_facts(request.auth))


async def acheck(request: HttpRequest) -> JsonResponse:
    authentication = JWTStatelessUserAuthentication()
    raw = authentication.get_raw_token(request.headers["Authorization"].encode())
    assert raw is not None
    try:
        token = await authentication.aget_validated_token(raw)
    except InvalidToken:
        return JsonResponse({"pid": os.getpid()}, status=401)
    except RevocationUnavailable:
        return JsonResponse({"pid": os.getpid()}, status=503)
    return JsonResponse(_facts(token))


def untouched(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"pid": os.getpid(), "follows": near_cache.is_following()})


urlpatterns = [
    path("check/", Check.as_view()),
    path("acheck/", acheck),
    path("untouched/", untouched),
]
