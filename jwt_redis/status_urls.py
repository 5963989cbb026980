"""``path("status/", include("jwt_redis.status_urls"))``; its address is ``JWT_REDIS["STATUS_LIST"]["uri"]``."""

from __future__ import annotations

from django.urls import path

from jwt_redis import status_views

app_name = "jwt_redis_status"

urlpatterns = [path("<str:list_id>", status_views.StatusListView.as_view(), name="status_list")]
