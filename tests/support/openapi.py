"""Schemas by drf-spectacular, made in the process of the tests, whose own settings know nothing of it."""

from __future__ import annotations

from typing import Any

from django.test import override_settings
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.settings import patched_settings
from drf_spectacular.utils import extend_schema

from jwt_redis.contrib import spectacular

__all__ = ["documented", "schema_of", "spectacular"]

REST = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
}


def schema_of(*patterns: Any, **patches: Any) -> dict[str, Any]:
    """The schema of some URL patterns, of all of ``tests.projects.schema_urls`` where there are none."""
    with override_settings(REST_FRAMEWORK=REST), patched_settings(patches):
        where: dict[str, Any] = {"patterns": list(patterns)} if patterns else {"urlconf": "tests.projects.schema_urls"}
        made: dict[str, Any] = SchemaGenerator(**where).get_schema(public=True)
    return made


def documented(**facts: Any) -> Any:
    """``extend_schema`` as in a project whose settings name drf-spectacular's class: it looks when it decorates."""

    def decorate(view: Any) -> Any:
        with override_settings(REST_FRAMEWORK=REST):
            return extend_schema(**facts)(view)

    return decorate
