"""``path("auth/events/", include("jwt_redis.contrib.sse.urls"))``."""

from __future__ import annotations

from django.urls import path

from jwt_redis.contrib.sse.views import SessionEventsView

app_name = "jwt_redis_sse"

urlpatterns = [path("", SessionEventsView.as_view(), name="events")]
