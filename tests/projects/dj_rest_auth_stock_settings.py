"""dj-rest-auth as its own documentation has it: nothing of it knows of sessions."""

from __future__ import annotations

from tests.projects.dj_rest_auth_settings import *  # noqa: F403

ROOT_URLCONF = "dj_rest_auth.urls"
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["dj_rest_auth.jwt_auth.JWTCookieAuthentication"]}
REST_AUTH = {"USE_JWT": True, "TOKEN_MODEL": None}
