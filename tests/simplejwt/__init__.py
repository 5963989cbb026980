"""Simple JWT's own tests, with this package's classes in place of Simple JWT's."""

from __future__ import annotations
