"""The journal in Django's admin: to read, and for nobody to write. What, when, why, by whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.admin.views.main import ChangeList
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from jwt_redis import journal
from jwt_redis.admin import people
from jwt_redis.admin.looking import pk_of
from jwt_redis.keys import user_id, user_tag
from jwt_redis.models import Revocation

__all__ = ["RevocationAdmin"]

# Reasons are free words: those of so many of the latest rows are offered, which costs the same however many there are.
_LATEST = 2000
# Of these the target is a session.
_OF_SESSIONS = (Revocation.Kind.SESSION, Revocation.Kind.OTHERS)


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
        reason = self.value()
        if not reason:
            return queryset
        # PostgreSQL takes no NUL, not even to look for it.
        return queryset.none() if "\0" in reason else queryset.filter(reason=reason)


if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Revocation]
else:
    _Base = admin.ModelAdmin


class _NamedList(ChangeList):
    """A page of rows, and whom they name: looked up once for all of them."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        _name(request, self.result_list)


def _name(request: HttpRequest, rows: list[Revocation]) -> None:
    may_look = request.user.has_perm("jwt_redis.view_session")
    users = people.users_of({tag for row in rows for tag in (row.user, user_tag(row.actor) if row.actor else "")})
    for row in rows:
        row.facts = (users, may_look)  # type: ignore[attr-defined]


def _facts(row: Revocation) -> tuple[dict[str, Any], bool]:
    """The users that there are, and whether whoever looks may see sessions."""
    found: tuple[dict[str, Any], bool] = getattr(row, "facts", ({}, False))
    return found


@admin.register(Revocation)
class RevocationAdmin(_Base):
    """What was revoked, when, why and by whom, and does Redis know of it?"""

    list_display = ("created_at", "kind", "user_as_claimed", "reason", "by_whom", "target_linked", "applied_at")
    list_filter = ("kind", _ReasonFilter, _InRedisFilter)
    # What makes the box appear; get_search_results() says what is searched.
    search_fields = ("user", "target")
    search_help_text = _("A user's id or name, a session's sid, or a token's jti, in full.")
    ordering = ("-id",)
    fields = ("created_at", "kind", "user_as_claimed", "target_linked", "reason", "by_whom", "applied_at", "until")
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50

    @admin.display(description=_("user"), empty_value="-")
    def user_as_claimed(self, row: Revocation) -> str | SafeString:
        """The id as it was before it was made safe for a key, and the name of who is there. A very long one is known by
        its digest alone."""
        users, may_look = _facts(row)
        name = people.name_of(row.user, users.get(row.user))
        if not may_look or people.tag_of(row.user) is None:
            return name
        return format_html('<a href="{}">{}</a>', self._sessions_url(user=row.user), name)

    @admin.display(description=_("target"), empty_value="-")
    def target_linked(self, row: Revocation) -> str | SafeString:
        """A session's sid leads to what is known of it."""
        if not _facts(row)[1] or row.kind not in _OF_SESSIONS or people.tag_of(row.user) is None:
            return row.target
        pk = quote(pk_of(row.target, row.user))
        url = reverse(f"{self.admin_site.name}:jwt_redis_session_change", args=(pk,))
        return format_html('<a href="{}">{}</a>', url, row.target)

    @admin.display(description=_("by whom"), empty_value="-")
    def by_whom(self, row: Revocation) -> str:
        """A user by name and id, or the command. Nobody: it came of itself, as by a password change."""
        return people.actor_name(row.actor, _facts(row)[0])

    def _sessions_url(self, **query: str) -> str:
        return reverse(f"{self.admin_site.name}:jwt_redis_session_changelist", query=query)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """One that looks up names."""
        return _NamedList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Revocation | None:
        """With the names."""
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            _name(request, [row])
        return row

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The list; or, without the table or its database, a page that says so."""
        try:
            with transaction.atomic(using=journal.database()):
                response: HttpResponse = super().changelist_view(request, extra_context)
        except DatabaseError as why:
            context = {**self.admin_site.each_context(request), "opts": self.opts, "title": _("Journal"), "why": why}
            return TemplateResponse(request, "admin/jwt_redis/revocation/unavailable.html", context, status=503)
        return response

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
        tags = {user_tag(term), *(user_tag(user_id(user)) for user in people.find(term))}
        if (tag := people.tag_of(term)) is not None:
            tags.add(tag)
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
