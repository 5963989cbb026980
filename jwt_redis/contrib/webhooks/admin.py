"""Receivers are managed here; of deliveries one sees what became of them, and has them sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from django.contrib import admin, messages
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from jwt_redis import journal
from jwt_redis.contrib.webhooks.models import Delivery, Receiver
from jwt_redis.contrib.webhooks.outbox import send_again, send_status, send_trial
from jwt_redis.contrib.webhooks.places import authorization_for

__all__ = ["DeliveryAdmin", "ReceiverAdmin"]

if TYPE_CHECKING:
    _OfReceivers = admin.ModelAdmin[Receiver]
    _OfDeliveries = admin.ModelAdmin[Delivery]
else:
    _OfReceivers = _OfDeliveries = admin.ModelAdmin


@admin.register(Receiver)
class ReceiverAdmin(_OfReceivers):
    """Whom to tell."""

    list_display = ("name", "url", "audience", "is_enabled", "waiting", "dead", "failures", "held_until")
    list_filter = ("is_enabled",)
    search_fields = ("name", "url", "audience")
    fields = ("name", "url", "audience", "is_enabled", "authorization", "failures", "held_until")
    readonly_fields = ("authorization", "failures", "held_until")
    actions = ("try_it",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receiver]:
        """From the database that the journal is in, with what is counted."""
        open_ones = Q(deliveries__delivered_at=None)
        return Receiver.objects.using(journal.database()).annotate(
            waiting_count=Count("deliveries", filter=open_ones & Q(deliveries__dead_at=None)),
            dead_count=Count("deliveries", filter=Q(deliveries__dead_at__isnull=False)),
        )

    def save_model(self, request: HttpRequest, obj: Receiver, form: Any, change: bool) -> None:
        """One that is enabled or disabled hears of it: Django's view has both in one transaction."""
        super().save_model(request, obj, form, change)
        if change and "is_enabled" in form.changed_data:
            send_status(obj)

    @admin.display(description=_("waiting"), ordering="waiting_count")
    def waiting(self, row: Any) -> int:
        """How many have yet to arrive."""
        return int(row.waiting_count)

    @admin.display(description=_("given up"), ordering="dead_count")
    def dead(self, row: Any) -> int:
        """How many are not tried any more."""
        return int(row.dead_count)

    @admin.display(description="Authorization", boolean=True)
    def authorization(self, row: Receiver | None) -> bool:
        """Do the settings have a header for this origin? It is never shown."""
        return row is not None and bool(row.url) and authorization_for(urlsplit(row.url)) is not None

    @admin.action(description=_("Send a verification event"), permissions=["change"])
    def try_it(self, request: HttpRequest, queryset: QuerySet[Receiver]) -> None:
        """One for each that is enabled."""
        count = 0
        for receiver in queryset.filter(is_enabled=True):
            send_trial(receiver)
            count += 1
        said = ngettext("%(count)d event will be sent.", "%(count)d events will be sent.", count) % {"count": count}
        self.message_user(request, said, messages.SUCCESS if count else messages.WARNING)


class _StateFilter(admin.SimpleListFilter):
    title = _("state")
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("waiting", _("waiting")), ("dead", _("given up")), ("arrived", _("arrived"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        state = self.value()
        if state == "waiting":
            return queryset.filter(delivered_at=None, dead_at=None)
        if state == "dead":
            return queryset.exclude(dead_at=None)
        return queryset.exclude(delivered_at=None) if state == "arrived" else queryset


@admin.register(Delivery)
class DeliveryAdmin(_OfDeliveries):
    """What each receiver was told, or has yet to be."""

    list_display = ("waiting_since", "receiver", "kind", "user_as_claimed", "reason", "state", "attempts", "said")
    list_filter = (_StateFilter, "receiver", "kind")
    list_select_related = ("receiver",)
    search_fields = ("=jti", "=target")
    ordering = ("-id",)
    fields = (
        *("receiver", "jti", "kind", "user_as_claimed", "target", "reason", "initiator", "waiting_since"),
        *("state", "attempts", "due_at", "delivered_at", "dead_at", "said"),
    )
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    actions = ("again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """From the database that the journal is in."""
        return Delivery.objects.using(journal.database()).order_by(*self.ordering)

    @admin.display(description=_("user"), empty_value="-")
    def user_as_claimed(self, row: Delivery) -> str:
        """The user-id claim."""
        text = unquote(row.user, errors="replace")
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)

    @admin.display(description=_("state"))
    def state(self, row: Delivery) -> Any:
        """In a word."""
        if row.delivered_at is not None:
            return _("arrived")
        return _("waiting") if row.dead_at is None else _("given up")

    @admin.action(description=_("Send again"), permissions=["resend"])
    def again(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """What has arrived is left alone."""
        count = send_again(queryset)
        said = ngettext("%(count)d event will be sent.", "%(count)d events will be sent.", count) % {"count": count}
        self.message_user(request, said, messages.SUCCESS if count else messages.WARNING)

    def has_resend_permission(self, request: HttpRequest) -> bool:
        """Whoever may change deliveries."""
        return request.user.has_perm("jwt_redis_webhooks.change_delivery")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: a row is written with the journal's."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Delivery | None = None) -> bool:
        """Nobody: what is sent has to be what happened."""
        return False
