"""Users of a project's own: no name, a UUID for a key, and another one in the tokens."""

from __future__ import annotations
