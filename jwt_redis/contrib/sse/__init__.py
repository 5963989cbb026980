"""Server-Sent Events: a page hears at once that its session has ended. Needs ASGI, and no other package."""

from __future__ import annotations
