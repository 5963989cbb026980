"""``path("openid/", include("jwt_redis.openid.urls"))``."""

from __future__ import annotations

from django.urls import path

from jwt_redis.openid import views

urlpatterns = [
    path("backchannel-logout/", views.BackchannelLogoutView.as_view(), name="jwt_redis_backchannel_logout"),
]
