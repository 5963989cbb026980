"""Sign-in and logout, and the interfaces that the services use."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    # Among them auth/jwks/, the public keys.
    path("auth/", include("jwt_redis.urls")),
    path("oauth/", include("jwt_redis.oauth.urls")),
    path("status/", include("jwt_redis.status_urls")),
]
