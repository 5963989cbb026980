"""``path("auth/", include("jwt_redis.urls"))``."""

from __future__ import annotations

from django.urls import path

from jwt_redis import views

urlpatterns = [
    path("csrf/", views.CSRFView.as_view(), name="csrf"),
    path("jwks/", views.JWKSView.as_view(), name="jwt_redis_jwks"),
    path("token/", views.TokenObtainPairView.as_view(), name="token_obtain_pair"),
    path("token/refresh/", views.TokenRefreshView.as_view(), name="token_refresh"),
    path("token/verify/", views.TokenVerifyView.as_view(), name="token_verify"),
    path("token/blacklist/", views.TokenBlacklistView.as_view(), name="token_blacklist"),
    path("logout/", views.LogoutView.as_view(), name="logout"),
    path("logout/others/", views.LogoutOthersView.as_view(), name="logout_others"),
    path("logout/all/", views.LogoutAllView.as_view(), name="logout_all"),
    path("sessions/", views.SessionListView.as_view(), name="session_list"),
    path("sessions/<str:sid>/", views.SessionDetailView.as_view(), name="session_detail"),
]
