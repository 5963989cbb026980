"""What projects write themselves."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from rest_framework_simplejwt.serializers import TokenObtainPairSerializer

from jwt_redis.serializers import SessionObtainMixin
from jwt_redis.tokens import RefreshToken


class WithName(SessionObtainMixin, TokenObtainPairSerializer):
    """The mixin in front of Simple JWT's own class."""

    token_class = RefreshToken

    @classmethod
    def get_token(cls, user: Any) -> Any:
        token = super().get_token(user)
        token["name"] = user.get_username()
        return token


class WithMore(WithName):
    """Claims that JSON has no word for."""

    @classmethod
    def get_token(cls, user: Any) -> Any:
        token = super().get_token(user)
        token["limit"] = Decimal("12.50")
        token["tenant"] = {"id": UUID(int=7), "roles": ["reader"]}
        return token
