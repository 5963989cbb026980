"""Every view of ours, and nothing else: what is in the schema is ours to answer for."""

from __future__ import annotations

from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from jwt_redis import views
from tests.urls import untouched

urlpatterns = [
    path("auth/", include("jwt_redis.urls")),
    path("auth/sliding/", views.TokenObtainSlidingView.as_view()),
    path("auth/sliding/refresh/", views.TokenRefreshSlidingView.as_view()),
    path("schema/", SpectacularAPIView.as_view()),
    path("untouched/", untouched),
]
