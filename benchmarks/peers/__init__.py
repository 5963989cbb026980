"""This package beside others that answer the same question, all in one process.

Simple JWT reads most of its settings once, so each database and each algorithm has a process of its own
(:mod:`~benchmarks.peers.processes` starts it, :mod:`~benchmarks.peers.child` is it); what is compared runs in the same.
"""

from __future__ import annotations
