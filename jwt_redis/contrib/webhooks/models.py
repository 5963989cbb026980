"""Whom to tell, and what each was told or has yet to be."""

from __future__ import annotations

import secrets

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from jwt_redis.contrib.webhooks.places import NotAllowed, check_url

__all__ = ["Delivery", "Receiver", "random_id"]


def random_id() -> str:
    """One that nobody guesses, and that no two have."""
    return secrets.token_hex(16)


class Receiver(models.Model):
    """One endpoint that takes Security Event Tokens. What its Authorization header says is in the settings."""

    name = models.CharField(_("name"), max_length=100, unique=True)
    url = models.CharField("URL", max_length=500, help_text=_("Where to push to, as RFC 8935 has it."))
    audience = models.CharField(
        _("audience"), max_length=255, help_text=_("What the receiver expects as aud; as a rule its OAuth client id.")
    )
    is_enabled = models.BooleanField(
        _("enabled"), default=True, help_text=_("If not, it will never hear of what is revoked meanwhile.")
    )
    # What verification and change-of-status events are about (OpenID Shared Signals Framework 1.0).
    stream = models.CharField(max_length=32, default=random_id, editable=False)
    created_at = models.DateTimeField(_("since"), db_default=Now())
    # How often in a row nothing arrived, and until when it is left alone.
    failures = models.PositiveIntegerField(_("failures in a row"), default=0, editable=False)
    held_until = models.DateTimeField(_("left alone until"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("receiver")
        verbose_name_plural = _("receivers")

    def __str__(self) -> str:
        return self.name

    def clean(self) -> None:
        """The URL is one that the settings let us send to, as far as that is known before it is looked up."""
        try:
            check_url(self.url)
        except NotAllowed as why:
            raise ValidationError({"url": str(why)}) from why


class Delivery(models.Model):
    """One event for one receiver, written with the journal's row."""

    class Kind(models.TextChoices):
        """What was revoked, as :class:`jwt_redis.models.Revocation` has it."""

        SESSION = "session", _("one session")
        OTHERS = "others", _("all sessions but one")
        USER = "user", _("all of a user's sessions")
        ALL = "all", _("everything")
        # Nothing: does it arrive?
        VERIFICATION = "verification", _("a trial")
        # The receiver was enabled or disabled; which, is in the target.
        STREAM = "stream", _("a change of status")

    receiver = models.ForeignKey(Receiver, models.CASCADE, related_name="deliveries", verbose_name=_("receiver"))
    # That of the journal's row, which is dropped before this one may be. Two rows of one key are one event.
    key = models.CharField(max_length=64, editable=False)
    # Known before it is first sent, and the same each time: receivers tell by it what they have already.
    jti = models.CharField("jti", max_length=32, unique=True, default=random_id)
    kind = models.CharField(_("what"), max_length=12, choices=Kind)
    # Percent-encoded: a claim may hold what no database takes.
    user = models.TextField(_("user"), blank=True)
    target = models.CharField(_("target"), max_length=255, blank=True)
    reason = models.CharField(_("why"), max_length=40, blank=True)
    initiator = models.CharField(_("by whom"), max_length=10)
    # Seconds of the epoch.
    happened_at = models.BigIntegerField(editable=False)
    # Up to which moment, where that is another one. Milliseconds of the epoch.
    before_ms = models.BigIntegerField(null=True, blank=True, editable=False)
    # The rest by the database's clock. Since when it is tried.
    waiting_since = models.DateTimeField(_("when"), db_default=Now())
    due_at = models.DateTimeField(_("next attempt"), db_default=Now())
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    # Which process is at it, and until when the others leave it to that one.
    lease = models.CharField(max_length=32, blank=True, editable=False)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    delivered_at = models.DateTimeField(_("arrived"), null=True, blank=True)
    dead_at = models.DateTimeField(_("given up"), null=True, blank=True)
    said = models.TextField(_("last answer"), blank=True)

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        constraints = [models.UniqueConstraint(fields=["receiver", "key"], name="jwt_redis_webhooks_once")]
        indexes = [
            models.Index(
                fields=["receiver", "due_at"],
                name="jwt_redis_webhooks_due",
                condition=models.Q(delivered_at=None, dead_at=None),
            ),
            models.Index(fields=["delivered_at"], name="jwt_redis_webhooks_arrived"),
            models.Index(fields=["dead_at"], name="jwt_redis_webhooks_dead"),
        ]

    def __str__(self) -> str:
        return self.jti
