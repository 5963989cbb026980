"""Enough of Django for the package to be imported: by Sphinx, and by make_reference.py. Nothing is connected to."""

from __future__ import annotations

import jwt_redis

SECRET_KEY = "of no use: nothing is signed while the documentation is made"  # noqa: S105
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "rest_framework", "jwt_redis"]
# Whose models the reference's commands import.
INSTALLED_APPS += ["jwt_redis.contrib.webhooks"]
CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": "redis://127.0.0.1:6379/0"}}
SIMPLE_JWT = jwt_redis.simplejwt_settings()
