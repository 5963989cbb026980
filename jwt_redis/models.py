"""The journal's table: what was revoked, kept where a lost Redis cannot take it along. And what the admin shows."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

__all__ = ["ProviderLogout", "ProviderSession", "Revocation", "Sample", "Session"]


class Revocation(models.Model):
    """One revocation. Written before Redis is told; ``applied_at`` is when Redis had it."""

    class Kind(models.TextChoices):
        """What was revoked."""

        TOKEN = "token", _("one token")
        SESSION = "session", _("one session")
        OTHERS = "others", _("all sessions but one")
        USER = "user", _("all of a user's sessions")
        ALL = "all", _("everything")
        # No revocation of a session, but of the token that it began with: that does not begin another one.
        ADOPTED = "adopted", _("one token, for a session")
        KEY = "key", _("a signing key")
        # No revocation, but the moment from which on the journal knows of all of them.
        STORE = "store", _("a new store")

    # One row for a token or a session, however often it is revoked.
    key = models.CharField(max_length=64, unique=True, editable=False)
    kind = models.CharField(_("what"), max_length=10, choices=Kind)
    user = models.CharField(
        _("user"), max_length=96, blank=True, help_text=_("The user-id claim, percent-encoded as in Redis' keys.")
    )
    target = models.CharField(
        _("target"),
        max_length=255,
        blank=True,
        help_text=_("A token's jti, a session's sid, or that of the one kept."),
    )
    reason = models.CharField(_("why"), max_length=40)
    actor = models.CharField(_("by whom"), max_length=150, blank=True)
    # The database's clock: those of the application servers differ.
    created_at = models.DateTimeField(_("when"), db_default=Now())
    until = models.DateTimeField(_("of use until"))
    # Redis' clock: what was opened up to then is ended. None until Redis has said when that was.
    moment_ms = models.BigIntegerField(null=True, blank=True, editable=False)
    applied_at = models.DateTimeField(_("in Redis since"), null=True, blank=True)
    # Behind which of which store's revocations it stands.
    store_id = models.CharField(max_length=32, blank=True, editable=False)
    number = models.BigIntegerField(default=0, editable=False)

    class Meta:
        verbose_name = _("revocation")
        verbose_name_plural = _("revocations")
        indexes = [
            models.Index(fields=["user", "-id"], name="jwt_redis_by_user"),
            models.Index(fields=["until"], name="jwt_redis_by_until"),
            models.Index(fields=["store_id", "number"], name="jwt_redis_by_number"),
            models.Index(fields=["applied_at", "id"], name="jwt_redis_by_applied"),
            # For the admin: of which user was this session, and what was revoked lately?
            models.Index(fields=["target"], name="jwt_redis_by_target"),
            models.Index(fields=["created_at"], name="jwt_redis_by_created"),
        ]

    def __str__(self) -> str:
        return " ".join(part for part in (self.kind, self.user, self.target) if part)


class _NoRows(models.Manager["Session"]):
    """What asks for all rows of all models, as ``dumpdata`` does, is told that there are none."""

    def get_queryset(self) -> models.QuerySet[Session]:
        return super().get_queryset().none()


class Session(models.Model):
    """What the admin needs to know a session by: a name, permissions, an id. There is no table: they are in Redis, and
    :mod:`jwt_redis.sessions` is the way to them."""

    # SID:USER, the latter made safe for a key.
    id = models.CharField(primary_key=True, max_length=161)

    objects = _NoRows()

    class Meta:
        managed = False
        base_manager_name = "objects"
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        default_permissions = ("view",)
        permissions = [("revoke_session", "Can revoke sessions")]

    def __str__(self) -> str:
        sid, _colon, user = self.id.partition(":")
        if sid:
            return f"{sid} ({user})"
        return gettext("all sessions of %(user)s") % {"user": user} if user else gettext("all sessions")


class Sample(models.Model):
    """How much there was in the store when ``jwt_cleanup`` had walked through it."""

    taken_at = models.DateTimeField(_("when"), db_default=Now(), db_index=True)
    users = models.BigIntegerField(_("users with sessions"))
    sessions = models.BigIntegerField(_("live sessions"))

    class Meta:
        verbose_name = _("sample")
        verbose_name_plural = _("samples")
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.sessions}"


class ProviderSession(models.Model):
    """Which of our sessions was opened with which of an OpenID provider's, whose name for it is kept as a digest."""

    # Of issuer and sid; "" where the provider's ID token had none.
    by_sid = models.CharField(max_length=64, blank=True, editable=False)
    # Of issuer and sub.
    by_sub = models.CharField(max_length=64, editable=False)
    # As in Redis' keys.
    user = models.CharField(max_length=96, editable=False)
    sid = models.CharField(max_length=64, unique=True, editable=False)
    until = models.DateTimeField(db_index=True, editable=False)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["by_sid"], name="jwt_redis_by_op_sid"),
            models.Index(fields=["by_sub"], name="jwt_redis_by_op_sub"),
        ]

    def __str__(self) -> str:
        return self.sid


class ProviderLogout(models.Model):
    """An OpenID provider has said that sessions of its own are over: for a sign-in of ours whose row nobody else sees
    yet, or which has not come so far."""

    # As in ProviderSession; "" for what the logout did not name.
    by_sid = models.CharField(max_length=64, blank=True, editable=False)
    by_sub = models.CharField(max_length=64, blank=True, editable=False)
    # The logout token's iat, whole seconds of the epoch by the provider's clock.
    issued_at = models.BigIntegerField(editable=False)
    until = models.DateTimeField(db_index=True, editable=False)

    class Meta:
        default_permissions = ()
        indexes = [
            models.Index(fields=["by_sid"], name="jwt_redis_logout_by_sid"),
            models.Index(fields=["by_sub"], name="jwt_redis_logout_by_sub"),
        ]

    def __str__(self) -> str:
        return self.by_sid or self.by_sub
