"""Redis: commands are data (commands/), and two functions do all the I/O (client.py)."""

from __future__ import annotations
