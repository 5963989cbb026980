"""A project with djoser, and nothing that it does not need."""

from __future__ import annotations

import os

import jwt_redis
from tests import settings as base

SECRET_KEY, ALLOWED_HOSTS, USE_TZ = base.SECRET_KEY, base.ALLOWED_HOSTS, base.USE_TZ
CACHES, DATABASES, DEFAULT_AUTO_FIELD = base.CACHES, base.DATABASES, base.DEFAULT_AUTO_FIELD
PASSWORD_HASHERS = base.PASSWORD_HASHERS
ROOT_URLCONF = "tests.projects.djoser_urls"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE: list[str] = []
# The mails are djoser's templates.
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = os.environ.get("JWT_REDIS_TEST_MAILS", "/nowhere")

# From here on as docs/how-to/djoser.md has it.

INSTALLED_APPS += ["rest_framework", "djoser", "jwt_redis"]
REST_FRAMEWORK = {"DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"]}
SIMPLE_JWT = {**jwt_redis.simplejwt_settings()}
JWT_REDIS = {"ALIAS": "sessions"}
DJOSER = {
    "TOKEN_MODEL": None,
    "SOCIAL_AUTH_TOKEN_STRATEGY": "jwt_redis.contrib.djoser.TokenStrategy",
    "SEND_ACTIVATION_EMAIL": True,
    "ACTIVATION_URL": "activate/{uid}/{token}",
    "PASSWORD_RESET_CONFIRM_URL": "password/{uid}/{token}",
}
