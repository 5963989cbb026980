"""What a version has written, kept so that later ones are tested to read it."""

from __future__ import annotations
