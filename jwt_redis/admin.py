"""The journal in Django's admin: to read, and for nobody to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from jwt_redis import journal
from jwt_redis.keys import user_id, user_tag
from jwt_redis.models import Revocation

__all__ = ["RevocationAdmin"]

# Reasons are free words: those of so many of the latest rows are offered, which costs the same however many there are.
_LATEST = 2000


class _InRedisFilter(admin.SimpleListFilter):
    title = _("in Redis")
    parameter_name = "applied"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("no", _("pending")), ("yes", _("applied"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() in ("no", "yes"):
            return queryset.filter(applied_at__isnull=self.value() == "no")
        return queryset


class _ReasonFilter(admin.SimpleListFilter):
    title = _("why")
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        latest = model_admin.get_queryset(request).order_by("-id").values_list("reason", flat=True)[:_LATEST]
        return [(reason, reason) for reason in sorted({*latest, self.used_parameters.get("reason", "")} - {""})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(reason=self.value()) if self.value() else queryset


if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Revocation]
else:
    _Base = admin.ModelAdmin


@admin.register(Revocation)
class RevocationAdmin(_Base):
    """What was revoked, when, why and by whom, and does Redis know of it?"""

    list_display = ("created_at", "kind", "user_as_claimed", "target", "reason", "actor", "applied_at")
    list_filter = ("kind", _ReasonFilter, _InRedisFilter)
    # What makes the box appear; get_search_results() says what is searched.
    search_fields = ("user", "target")
    search_help_text = _("A user's id or name, a session's sid, or a token's jti, in full.")
    ordering = ("-id",)
    fields = ("created_at", "kind", "user_as_claimed", "target", "reason", "actor", "applied_at", "until")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    @admin.display(description=_("user"), empty_value="-")
    def user_as_claimed(self, row: Revocation) -> str:
        """The id as it was before it was made safe for a key. A very long one is known by its digest alone."""
        return unquote(row.user, errors="replace")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Revocation]:
        """From the database that the journal is written to: a replica may not have it yet."""
        return Revocation.objects.using(journal.database()).order_by(*self.ordering)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Whole values, which the indexes find: users are percent-encoded, and known by id or by name."""
        term = search_term.strip()
        if not term:
            return queryset, False
        model = get_user_model()
        named: Any = model._default_manager.filter(**{model.USERNAME_FIELD: term})[:10]
        tags = {user_tag(term), *(user_tag(user_id(user)) for user in named)}
        return queryset.filter(Q(user__in=tags) | Q(target=term)), False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: a row is written by what it tells of."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Revocation | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Revocation | None = None) -> bool:
        """Nobody: without the row Redis could forget. `manage.py jwt_cleanup` drops those that are of no use."""
        return False
