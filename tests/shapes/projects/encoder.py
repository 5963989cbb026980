"""An encoder of the project's own for the claims."""

from __future__ import annotations

from django.core.serializers.json import DjangoJSONEncoder

from tests.shapes.base import *  # noqa: F403
from tests.shapes.base import SIMPLE_JWT

SIMPLE_JWT = {
    **SIMPLE_JWT,
    "JSON_ENCODER": DjangoJSONEncoder,
    "TOKEN_OBTAIN_SERIALIZER": "tests.shapes.serializers.WithMore",
}
