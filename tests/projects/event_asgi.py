"""HTTP and sockets."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.projects.event_settings")
django.setup()

from channels.generic.websocket import AsyncJsonWebsocketConsumer, AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.urls import path  # noqa: E402

from jwt_redis.contrib.channels import JWTAuthMiddleware, LiveSessionMixin  # noqa: E402


class Echo(LiveSessionMixin, AsyncWebsocketConsumer):
    groups = ["everybody"]

    async def connect(self) -> None:
        await self.accept()
        await self.send(f"hello {self.scope['user'].pk}")

    async def receive(self, text_data: Any = None, bytes_data: Any = None) -> None:
        if text_data == "shout":
            await self.channel_layer.group_send("everybody", {"type": "shouted"})
        elif text_data == "raise":
            raise RuntimeError("a consumer that fails")
        else:
            await self.send(f"echo {self.scope['user'].pk} {text_data}")

    async def shouted(self, event: Any) -> None:
        await self.send("shouted")


class Graceful(Echo):
    grace = 6.0


class Kept(Echo):
    on_redis_failure = "allow"


class Json(LiveSessionMixin, AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        await self.send_json({"echo": content})

    async def session_ended(self, ending: Any) -> None:
        await self.send_json({"bye": ending.reason, "why": ending.why})
        await super().session_ended(ending)


class Failing(Echo):
    """Says good-bye, takes its time, and does not come to an end."""

    async def session_ended(self, ending: Any) -> None:
        await self.send(f"bye {ending.reason}")
        await asyncio.sleep(1)
        raise RuntimeError("a good-bye that fails")


class Open(AsyncWebsocketConsumer):
    """Lets everybody in, and says who they are."""

    async def connect(self) -> None:
        await self.accept()
        scope = self.scope
        await self.send(f"{scope['user'].pk} {scope['auth'] is not None} {scope.get('subprotocols')}")


routes = URLRouter(
    [
        path("ws/echo/", Echo.as_asgi()),
        path("ws/graceful/", Graceful.as_asgi()),
        path("ws/kept/", Kept.as_asgi()),
        path("ws/json/", Json.as_asgi()),
        path("ws/failing/", Failing.as_asgi()),
        path("ws/open/", Open.as_asgi()),
    ]
)

by_header_or_cookie = JWTAuthMiddleware(routes)
by_query_too = JWTAuthMiddleware(Open.as_asgi(), query_parameter="token")


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    await (by_query_too if scope["path"] == "/ws/query/" else by_header_or_cookie)(scope, receive, send)


application = ProtocolTypeRouter({"http": get_asgi_application(), "websocket": sockets})
