"""What an adapter needs and this package does not bring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured

__all__ = ["needed"]


@contextmanager
def needed(app: str, package: str, extra: str) -> Iterator[None]:
    """Around the import of what imports ``package``, which ``pip install jwt_redis[extra]`` brings for ``app``.

    :raises ImproperlyConfigured: saying so, when it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != package:
            raise
        raise ImproperlyConfigured(
            f"{app} is in INSTALLED_APPS, but {package} is not installed: pip install 'jwt_redis[{extra}]'"
        ) from error
