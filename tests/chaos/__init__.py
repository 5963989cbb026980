"""Real servers and real worker processes, broken on purpose: does a revoked token ever work again?

``python -m tests.chaos`` runs every scenario; with ``--write`` its table is what docs/reference/chaos.md says.
"""
