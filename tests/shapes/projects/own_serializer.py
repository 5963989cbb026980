"""A serializer of the project's own, which adds claims."""

from __future__ import annotations

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {**SIMPLE_JWT, "TOKEN_OBTAIN_SERIALIZER": "tests.shapes.serializers.WithName"}
