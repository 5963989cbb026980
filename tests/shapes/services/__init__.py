"""Services that issue no tokens: settings modules."""

from __future__ import annotations
