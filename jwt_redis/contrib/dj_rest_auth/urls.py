"""In place of ``dj_rest_auth.urls``: the same paths and names, and ``jwt_redis.urls``' list of sessions for cookies."""

from __future__ import annotations

from dj_rest_auth.urls import urlpatterns as theirs
from django.urls import path, re_path

from jwt_redis.contrib.dj_rest_auth import views
from jwt_redis.contrib.dj_rest_auth.authentication import JWTCookieAuthentication
from jwt_redis.views import LogoutAllView, LogoutOthersView, SessionDetailView, SessionListView

# The header still goes before the cookie.
_BY_COOKIE = {"authentication_classes": (JWTCookieAuthentication,)}

# How each of them is called in ``dj_rest_auth.urls``.
_REPLACED = {"rest_login", "rest_logout", "token_refresh"}

urlpatterns = [
    re_path(r"login/?$", views.LoginView.as_view(), name="rest_login"),
    re_path(r"logout/?$", views.LogoutView.as_view(), name="rest_logout"),
    re_path(r"token/refresh/?$", views.TokenRefreshView.as_view(), name="token_refresh"),
    path("logout/others/", LogoutOthersView.as_view(**_BY_COOKIE), name="logout_others"),
    path("logout/all/", LogoutAllView.as_view(**_BY_COOKIE), name="logout_all"),
    path("sessions/", SessionListView.as_view(**_BY_COOKIE), name="session_list"),
    path("sessions/<str:sid>/", SessionDetailView.as_view(**_BY_COOKIE), name="session_detail"),
    # The user, passwords, verifying a token.
    *(pattern for pattern in theirs if pattern.name not in _REPLACED),
]
