"""Where what is kept, for the shape with several databases."""

from __future__ import annotations

from typing import Any

_PEOPLE = {"admin", "auth", "contenttypes", "sessions"}


class Router:
    """Users are written to the primary and read from its replica; ours is the journal's database."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        return "people_replica" if model._meta.app_label in _PEOPLE else self.db_for_write(model)  # type: ignore[attr-defined]

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        return self._home(model._meta.app_label)  # type: ignore[attr-defined]

    def allow_relation(self, one: Any, other: Any, **hints: Any) -> bool:
        return self._home(one._meta.app_label) == self._home(other._meta.app_label)

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db == (self._home(app_label) or "default")

    def _home(self, app_label: str) -> str | None:
        return "people" if app_label in _PEOPLE else "journal" if app_label == "jwt_redis" else None
