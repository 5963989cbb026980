"""Projects of many shapes: a settings module each, and one story that is true of all of them."""

from __future__ import annotations
