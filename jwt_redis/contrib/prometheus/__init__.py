"""Counters for a Prometheus server: ``INSTALLED_APPS += ["jwt_redis.contrib.prometheus"]``."""

from __future__ import annotations
