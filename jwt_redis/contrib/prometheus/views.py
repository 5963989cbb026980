"""A page for a Prometheus server to read, where a project has none yet."""

from __future__ import annotations

import os

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector

__all__ = ["metrics"]


@require_safe
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """All metrics of the default registry; under ``PROMETHEUS_MULTIPROC_DIR`` those of all processes. Not for the
    public: it asks nobody who they are."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return HttpResponse(encode(registry), content_type=content_type)
