"""The project of dj_rest_auth_settings.py whose tokens travel in cookies."""

from __future__ import annotations

from tests.projects.dj_rest_auth_settings import *  # noqa: F403
from tests.projects.dj_rest_auth_settings import MIDDLEWARE, REST_AUTH, REST_FRAMEWORK, SIMPLE_JWT

SIMPLE_JWT |= {"UPDATE_LAST_LOGIN": True}

# From here on as docs/how-to/dj-rest-auth.md has it.

MIDDLEWARE += ["django.middleware.csrf.CsrfViewMiddleware"]
REST_FRAMEWORK |= {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.contrib.dj_rest_auth.authentication.JWTCookieAuthentication"]
}
REST_AUTH |= {
    "JWT_AUTH_HTTPONLY": True,
    "JWT_AUTH_COOKIE": "access",
    "JWT_AUTH_REFRESH_COOKIE": "refresh",
    "JWT_AUTH_REFRESH_COOKIE_PATH": "/auth/",  # to be sent to token/refresh/ and to logout/
    "JWT_AUTH_SECURE": True,
}
