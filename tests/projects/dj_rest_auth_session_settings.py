"""A project that has all of it at once: cookies and Django's sessions, Simple JWT's table, a transaction a request."""

from __future__ import annotations

from tests.projects.dj_rest_auth_cookie_settings import *  # noqa: F403
from tests.projects.dj_rest_auth_cookie_settings import DATABASES, INSTALLED_APPS, MIDDLEWARE, REST_AUTH

ROOT_URLCONF = "tests.projects.dj_rest_auth_session_urls"
DATABASES = {"default": DATABASES["default"] | {"ATOMIC_REQUESTS": True}}
INSTALLED_APPS += ["django.contrib.sessions", "rest_framework_simplejwt.token_blacklist"]
MIDDLEWARE += [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
REST_AUTH |= {"SESSION_LOGIN": True, "LOGOUT_ON_PASSWORD_CHANGE": False, "JWT_AUTH_COOKIE_USE_CSRF": False}
ACCOUNT_LOGOUT_ON_GET = True
