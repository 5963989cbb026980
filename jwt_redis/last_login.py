"""``last_login`` at a sign-in by token: written where Simple JWT's ``UPDATE_LAST_LOGIN`` says so, and only there.

Simple JWT's serializers write it themselves. They send no ``user_logged_in``; ours do, and Django's own receiver of
that signal would write it always, or once more: a commit for each sign-in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import update_last_login
from django.contrib.auth.signals import user_logged_in
from django.db.models.query_utils import DeferredAttribute

__all__ = ["connect", "left_to_simplejwt"]

_is_left = ContextVar("jwt_redis_last_login", default=False)


@contextmanager
def left_to_simplejwt() -> Iterator[None]:
    """Within, ``user_logged_in`` writes no ``last_login``."""
    token = _is_left.set(True)
    try:
        yield
    finally:
        _is_left.reset(token)


def connect() -> None:
    """Take the place of Django's receiver, by its own ``dispatch_uid``: whoever disconnects that disconnects this."""
    # Django connects its own on the same condition.
    if isinstance(getattr(get_user_model(), "last_login", None), DeferredAttribute):
        # A project may have disconnected it; or Django is yet to connect it, which then changes nothing.
        names = [app.name for app in apps.get_app_configs()]
        is_yet_to_come = names.index("django.contrib.auth") > names.index("jwt_redis")
        if user_logged_in.disconnect(dispatch_uid="update_last_login") or is_yet_to_come:
            user_logged_in.connect(_update_last_login, dispatch_uid="update_last_login")


def _update_last_login(sender: Any, user: Any, **kwargs: Any) -> None:
    if not _is_left.get():
        update_last_login(sender, user, **kwargs)
