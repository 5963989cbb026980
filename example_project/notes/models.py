from __future__ import annotations

from django.conf import settings
from django.db import models


class Note(models.Model):
    """What a user jots down; there to have something that wants a live session."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="notes")
    text = models.CharField(max_length=200)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.text
