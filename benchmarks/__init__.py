"""What this package costs, measured: ``python -m benchmarks``. A suite is one file in ``suites/``."""

from __future__ import annotations
