"""The users."""

from __future__ import annotations

import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class Person(AbstractBaseUser, PermissionsMixin):
    """Signs in by e-mail; tokens know ``public_id``."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    public_id = models.UUIDField(unique=True, default=uuid.uuid4)
    address = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)

    objects = BaseUserManager()

    USERNAME_FIELD = "address"
    EMAIL_FIELD = "address"

    def __str__(self) -> str:
        return self.address
