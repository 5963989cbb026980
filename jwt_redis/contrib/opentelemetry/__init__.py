"""Spans around the use cases: ``INSTALLED_APPS += ["jwt_redis.contrib.opentelemetry"]``."""

from __future__ import annotations
