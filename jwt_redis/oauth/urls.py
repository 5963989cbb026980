"""``path("oauth/", include("jwt_redis.oauth.urls"))``."""

from __future__ import annotations

from django.urls import path

from jwt_redis.oauth import views

urlpatterns = [
    path("revoke/", views.RevokeView.as_view(), name="jwt_redis_revoke"),
    path("introspect/", views.IntrospectView.as_view(), name="jwt_redis_introspect"),
]
