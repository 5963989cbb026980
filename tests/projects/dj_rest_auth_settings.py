"""A project with dj-rest-auth whose tokens travel in bodies and headers, and nothing that it does not need."""

from __future__ import annotations

import os

import jwt_redis
from tests import settings as base

SECRET_KEY, ALLOWED_HOSTS, USE_TZ = base.SECRET_KEY, base.ALLOWED_HOSTS, base.USE_TZ
CACHES, DATABASES, DEFAULT_AUTO_FIELD = base.CACHES, base.DATABASES, base.DEFAULT_AUTO_FIELD
PASSWORD_HASHERS = base.PASSWORD_HASHERS
ROOT_URLCONF = "tests.projects.dj_rest_auth_urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE: list[str] = []
# The mail's text is the project's.
_MAIL = {"registration/password_reset_email.html": "reset={{ uid }}/{{ token }}"}
_LOADERS = ["django.template.loaders.app_directories.Loader", ("django.template.loaders.locmem.Loader", _MAIL)]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "OPTIONS": {"loaders": _LOADERS}}]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = os.environ.get("JWT_REDIS_TEST_MAILS", "/nowhere")

# From here on as docs/how-to/dj-rest-auth.md has it.

INSTALLED_APPS += ["rest_framework", "dj_rest_auth", "jwt_redis"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"]}
SIMPLE_JWT = {**jwt_redis.simplejwt_settings()}
JWT_REDIS = {"ALIAS": "sessions"}
REST_AUTH = {
    "USE_JWT": True,
    "JWT_TOKEN_CLAIMS_SERIALIZER": "jwt_redis.serializers.TokenObtainPairSerializer",
    "JWT_AUTH_HTTPONLY": False,  # or the refresh token is in no answer
    "TOKEN_MODEL": None,
    "SESSION_LOGIN": False,
    "OLD_PASSWORD_FIELD_ENABLED": True,
    "LOGOUT_ON_PASSWORD_CHANGE": True,
}
