"""The test project's URLs, OAuth's endpoints beside them, and a sign-in through an OpenID provider."""

from __future__ import annotations

from typing import Any

import jwt
from authlib.integrations.requests_client import OAuth2Session
from django.contrib.auth import get_user_model
from django.http import HttpRequest, JsonResponse
from django.urls import include, path

from jwt_redis import sessions
from jwt_redis.conf import config
from tests.support.openid_provider import CLIENT_ID, CLIENT_SECRET
from tests.urls import urlpatterns as plain


def callback(request: HttpRequest) -> JsonResponse:
    """The user comes back from the provider with a code: the ID token is fetched and verified, the session opened."""
    (provider,) = config().openid_providers.values()
    back = request.build_absolute_uri(request.path)
    client = OAuth2Session(CLIENT_ID, CLIENT_SECRET, redirect_uri=back, token_endpoint_auth_method="client_secret_post")
    answer = client.fetch_token(f"{provider.issuer}/token", code=request.GET["code"])
    key = jwt.PyJWKClient(provider.jwks_uri or "").get_signing_key_from_jwt(answer["id_token"])
    claims = jwt.decode(answer["id_token"], key, ["RS256"], audience=CLIENT_ID, issuer=provider.issuer)
    user = get_user_model().objects.get(username="alice")
    refresh = sessions.open_session(user, request, id_token=claims)
    return JsonResponse({"access": str(refresh.access_token), "refresh": str(refresh), "id_token": answer["id_token"]})


urlpatterns: list[Any] = [
    *plain,
    path("oauth/", include("jwt_redis.oauth.urls")),
    path("openid/", include("jwt_redis.openid.urls")),
    path("openid/callback/", callback),
    path("", include("jwt_redis.oauth.well_known")),
]
