"""The suites, a module each: its ``run(is_quick)`` measures and returns a :class:`~benchmarks.reports.Report`."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import cast

from benchmarks.reports import Report

__all__ = ["load", "names"]


def names() -> list[str]:
    """All suites, by the alphabet."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Callable[[bool], Report]:
    """What runs a suite. Only to be called when Django is set up."""
    return cast("Callable[[bool], Report]", import_module(f"{__name__}.{name}").run)
