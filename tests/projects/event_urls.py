"""Event streams, and what a process holds for them."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

from django.http import JsonResponse
from django.urls import include, path

from jwt_redis.contrib.sse import crowding
from jwt_redis.contrib.sse.views import SessionEventsView
from jwt_redis.revocations import hub
from tests.urls import untouched


class Quick(SessionEventsView):
    max_streams = None
    heartbeat = 0.3
    retry = 0.5


class Three(Quick):
    max_streams = 3
    heartbeat = 30


class HeaderOnly(Quick):
    uses_cookies = False


async def held(request: Any) -> JsonResponse:
    """What is held in this process for whoever is watched."""
    gc.collect()
    tasks = [task.get_name() for task in asyncio.all_tasks()]
    return JsonResponse(
        {
            "hubs": len(hub._hubs),
            "watches": sum(len(one._watches) for one in hub._hubs.values()),
            "index": sum(len(one._index) for one in hub._hubs.values()),
            "followers": sum(thread.name == "jwt_redis-watch" for thread in threading.enumerate()),
            "streams": sum(len(some) for some in crowding._streams.values()),
            "sockets": tasks.count("jwt_redis-socket"),
            "tasks": len(tasks),
        }
    )


urlpatterns = [
    path("auth/", include("jwt_redis.urls")),
    path("events/", include("jwt_redis.contrib.sse.urls")),
    path("quick/", Quick.as_view()),
    path("three/", Three.as_view()),
    path("header-only/", HeaderOnly.as_view()),
    path("held/", held),
    path("untouched/", untouched),
]
