"""What all processes of a world see at once: a file in memory that each of them maps.

A row is one thread that checks. Nobody but that thread writes to its row, so nothing is locked.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Final

__all__ = ["Board"]

ROWS: Final = 16
TOKENS: Final = 512

_STOP, _COUNT, _HEAD = 0, 1, 2
# Of each token, for each row. Moments are time.monotonic(), which is one clock for all processes of a machine.
_ACCEPTED, _REMEMBERED, _BEGAN, _CHECKS, _MEMORY, _UNAVAILABLE, _FIELDS = range(7)
# Of each token: is its revocation under way, and from when on must it be refused.
_BEGUN, _DUE, _FACTS = range(3)
_FIRST_FACT = _HEAD + ROWS * TOKENS * _FIELDS
_SIZE = 8 * (_FIRST_FACT + TOKENS * _FACTS)


class Board:
    """``path``: the file; it is made if it is not there."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_SIZE))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)
        self._cells = memoryview(self._map).cast("d")

    def close(self) -> None:
        """Map it no longer."""
        self._cells.release()
        self._map.close()

    # Of the whole -------------------------------------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Shall everybody stop?"""
        return self._cells[_STOP] != 0

    def stop(self) -> None:
        """Everybody stops."""
        self._cells[_STOP] = 1

    @property
    def count(self) -> int:
        """How many tokens there are to check."""
        return int(self._cells[_COUNT])

    @count.setter
    def count(self, count: int) -> None:
        assert count <= TOKENS
        self._cells[_COUNT] = count

    # Of a token ---------------------------------------------------------------------------------------------------

    def begin(self, token: int) -> None:
        """It is about to be revoked: from now on it may be refused."""
        self._cells[_FIRST_FACT + token * _FACTS + _BEGUN] = 1

    def is_begun(self, token: int) -> bool:
        """May it be refused?"""
        return self._cells[_FIRST_FACT + token * _FACTS + _BEGUN] != 0

    def set_due(self, token: int, moment: float) -> None:
        """From then on it must be refused."""
        self._cells[_FIRST_FACT + token * _FACTS + _DUE] = moment

    def due(self, token: int) -> float:
        """When that is; infinite for never."""
        return self._cells[_FIRST_FACT + token * _FACTS + _DUE] or float("inf")

    # Of a row and a token -----------------------------------------------------------------------------------------

    @staticmethod
    def _at(row: int, token: int) -> int:
        return _HEAD + (row * TOKENS + token) * _FIELDS

    def checked(self, row: int, token: int, began: float, *, accepted: bool, from_memory: bool) -> None:
        """One check has ended that began at that moment. A row's checks come one after another."""
        cells, at = self._cells, self._at(row, token)
        if accepted:
            cells[at + _ACCEPTED] = began
        if from_memory:
            cells[at + _REMEMBERED] = began
            cells[at + _MEMORY] += 1
        cells[at + _CHECKS] += 1
        cells[at + _BEGAN] = began

    def unavailable(self, row: int, token: int, began: float) -> None:
        """One check has ended with no answer."""
        cells, at = self._cells, self._at(row, token)
        cells[at + _UNAVAILABLE] += 1
        cells[at + _CHECKS] += 1
        cells[at + _BEGAN] = began

    def accepted_at(self, row: int, token: int) -> float:
        """When the last check began that accepted it; 0 for never."""
        return self._cells[self._at(row, token) + _ACCEPTED]

    def remembered_at(self, row: int, token: int) -> float:
        """When the last check began that was answered from memory; 0 for never."""
        return self._cells[self._at(row, token) + _REMEMBERED]

    def began_at(self, row: int, token: int) -> float:
        """When the last check began that has ended."""
        return self._cells[self._at(row, token) + _BEGAN]

    def memory(self, row: int, token: int) -> int:
        """How many checks were answered from memory."""
        return int(self._cells[self._at(row, token) + _MEMORY])

    def checks(self, row: int, token: int) -> int:
        """How many checks there were."""
        return int(self._cells[self._at(row, token) + _CHECKS])

    def unanswered(self, row: int, token: int) -> int:
        """How many of them had no answer."""
        return int(self._cells[self._at(row, token) + _UNAVAILABLE])
