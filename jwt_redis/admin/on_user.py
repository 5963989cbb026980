"""A user's sessions on the user's own page: for a project's admin of users, and by itself on Django's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import flatten_fieldsets
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext

from jwt_redis.admin.looking import rows_of
from jwt_redis.admin.sessions import SessionAdmin
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import user_id, user_tag
from jwt_redis.models import Session

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Any]
else:
    _Base = object

__all__ = ["SessionsOnUserMixin", "UserWithSessionsAdmin", "adopt_stock_user_admin"]

_FIELD = "jwt_sessions"
# The others are on a page of their own.
_MOST = 20


class SessionsOnUserMixin(_Base):
    """In front of ``ModelAdmin``: a last fieldset with the sessions of the user, for those who may see sessions.

    A read-only field by the name of ``jwt_sessions``, and so at home in any template and any theme; a project that
    names it in ``fieldsets`` itself decides where it stands.
    """

    def get_readonly_fields(self, request: HttpRequest, obj: Any | None = None) -> Any:
        """The project's, and ours."""
        if obj is not None:
            # A field is only told of which object it is.
            obj.jwt_redis_request = request
        return (*super().get_readonly_fields(request, obj), _FIELD)

    def get_fieldsets(self, request: HttpRequest, obj: Any | None = None) -> Any:
        """The project's, and ours behind them, where there is something to show."""
        given = super().get_fieldsets(request, obj)
        if obj is None or _FIELD in flatten_fieldsets(given) or _sessions_admin(self.admin_site, request) is None:
            return given
        return [*given, (pgettext("jwt_redis", "Sessions"), {"fields": (_FIELD,)})]

    def get_fields(self, request: HttpRequest, obj: Any | None = None) -> Any:
        """Where the project names none, Django takes all, and the read-only ones behind them: ours has its fieldset."""
        found = super().get_fields(request, obj)
        return found if self.fields else [name for name in found if name != _FIELD]

    @admin.display(description=_("Signed in"))
    def jwt_sessions(self, user: Any) -> SafeString | str:
        """A table, and links to what can be done. Redis is asked once."""
        request: HttpRequest | None = getattr(user, "jwt_redis_request", None)
        sessions = request and _sessions_admin(self.admin_site, request)
        if not request or not sessions:
            return "-"
        try:
            tag = user_tag(user_id(user))
        except ValueError:
            return "-"  # without an id nobody is signed in
        facts: dict[str, Any] = {
            "user_tag": tag,
            "can_revoke": sessions.has_revoke_permission(request),
            "sees_journal": request.user.has_perm("jwt_redis.view_revocation"),
        }
        try:
            rows = rows_of([tag])[tag]
        except RevocationUnavailable:
            facts["unavailable"] = True
        else:
            facts |= {"rows": [sessions.row_facts(request, row, {}) for row in rows[:_MOST]], "count": len(rows)}
        return render_to_string("admin/jwt_redis/session/on_user.html", facts, request)

    class Media:
        css = {"all": ["jwt_redis/admin/sessions.css"]}


def _sessions_admin(site: Any, request: HttpRequest) -> SessionAdmin | None:
    """The admin for sessions of this site, if there is one and the staff may use it."""
    found = site.get_model_admin(Session) if site.is_registered(Session) else None
    return found if isinstance(found, SessionAdmin) and found.has_view_permission(request) else None


class UserWithSessionsAdmin(SessionsOnUserMixin, UserAdmin):  # type: ignore[type-arg]
    """Django's own admin of users, with their sessions."""


def adopt_stock_user_admin() -> None:
    """Where the users' admin is Django's own class, and no project's, put ours in its place.

    Importing ``django.contrib.auth.admin`` above has registered it, wherever this app stands in ``INSTALLED_APPS``. A
    project that registers one of its own unregisters this, as it would have Django's.
    """
    model = get_user_model()
    if admin.site.is_registered(model) and type(admin.site.get_model_admin(model)) is UserAdmin:
        admin.site.unregister(model)
        admin.site.register(model, UserWithSessionsAdmin)
