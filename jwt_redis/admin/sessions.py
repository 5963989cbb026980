"""Sessions in Django's admin: found without a scan where the user is known, in bounded steps where not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import redis
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import QuerySet
from django.forms import Media
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jwt_redis import journal
from jwt_redis.admin import health, people
from jwt_redis.admin.forms import SearchForm
from jwt_redis.admin.looking import (
    Row,
    address_of,
    by_address,
    by_sid,
    every_user,
    pk_of,
    read_pk,
    rows_of,
)
from jwt_redis.admin.revoking import Revoking
from jwt_redis.diagnosis import LEVELS
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.keys import UserTag, user_id, user_tag
from jwt_redis.models import Revocation, Sample, Session
from jwt_redis.store.outside import Position, Question, Step, look
from jwt_redis.verdicts import is_sid

__all__ = ["SessionAdmin"]

# Seconds for which one request looks through the store: when a page is opened, and when somebody asks to go on.
_AT_FIRST, _FURTHER = 0.2, 1.0
# Sessions, or users, after which a look stops to show what there is.
_ENOUGH = 100
# Keys of one step of the plain list, and how often it tries: after many have expired SCAN may name none for long.
_PAGE_KEYS = 40
# Sessions of one user in a list of many users, and on a page of that user's own.
_EACH, _PER_PAGE = 5, 100
# Rows of the journal beside a user or a session.
_HISTORY = 20
# Of a search's finds, which travel from one step to the next; more than one step can find.
_MOST_CARRIED = 2000


@admin.register(Session)
class SessionAdmin(Revoking):
    """Who is signed in, where, and the end of it."""

    search_help_text = gettext_lazy(
        "A user is found by id, name or e-mail address, and at once. For an IP address, or the id of a session that"
        " the journal does not know, the store is looked through, a part at a time."
    )

    @property
    def media(self) -> Media:
        """Not Django's scripts for lists and forms, which look for what is not on these pages."""
        return Media(css={"all": ["jwt_redis/admin/sessions.css"]}, js=["jwt_redis/admin/sessions.js"])

    def get_urls(self) -> list[URLPattern]:
        """Ours, before those that every model has."""

        def place(route: str, view: Any, name: str) -> URLPattern:
            # Which asks for the CSRF token, too.
            wrapped = self.admin_site.admin_view(view)
            pattern: URLPattern = path(route, wrapped, name=f"{self.opts.app_label}_{self.opts.model_name}_{name}")
            return pattern

        return [
            place("health/", self.health_view, "health"),
            place("revoke/", self.selected_view, "revoke"),
            place("revoke-user/", self.user_view, "revoke_user"),
            place("revoke-everything/", self.everything_view, "revoke_everything"),
            *super().get_urls(),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody: people sign in by themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Session | None = None) -> bool:
        """Nobody: to end one is the permission ``revoke_session``."""
        return False

    # The list ------------------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """A user's sessions, what a search has found so far, or some of all. A POST goes on with a search."""
        self._insist(self.has_view_permission(request))
        given = request.POST if request.method == "POST" else request.GET
        form = SearchForm(given)
        facts: dict[str, Any] = {"form": form}
        status = 200
        try:
            if "user" in given:
                facts |= self._of_user(request, given["user"])
            elif form.is_valid() and form.cleaned_data["q"]:
                facts |= self._search(request, form.cleaned_data["by"], form.cleaned_data["q"])
            elif form.is_valid():
                facts |= self._some(request, _position(given.get("from", "")))
        except RevocationUnavailable as error:
            facts["unavailable"] = True
            # It does answer, but not to us: waiting is of no use.
            facts["refused"] = str(error.__cause__) if isinstance(error.__cause__, redis.ResponseError) else ""
            status = 503
        context = {
            **self._context(request, facts.pop("title", capfirst(self.opts.verbose_name_plural))),
            "search_help": self.search_help_text,
            "can_revoke_everything": self.has_revoke_everything_permission(request),
            **facts,
            **(extra_context or {}),
        }
        return self._answer(request, "change_list", context, status)

    def _of_user(self, request: HttpRequest, text: str) -> dict[str, Any]:
        tag = people.tag_of(text)
        if tag is None:
            # Not as a message: what is said of nobody would stand below it.
            said = _("“%(text)s” is not the id of a user, as in Redis' keys.")
            return {"wrong": said % {"text": text[:100]}}
        user = people.users_of([tag]).get(tag)
        facts: dict[str, Any] = {
            "title": _("Sessions of %(user)s") % {"user": people.name_of(tag, user)},
            "user_tag": tag,
            "is_gone": user is None,
            "user_url": people.change_url(request, self.admin_site, user),
            **self._history(request, tag, ""),
        }
        try:
            rows = rows_of([tag])[tag]
        except RevocationUnavailable:
            # What the journal knows is of use all the same.
            return {**facts, "unavailable": True}
        page = Paginator(rows, _PER_PAGE).get_page(request.GET.get("page"))
        shown = [self.row_facts(request, row, {tag: user} if user else {}) for row in page]
        return {**facts, "rows": shown, "page": page, "hides_user": True, "count": len(rows)}

    def _some(self, request: HttpRequest, position: Position | None) -> dict[str, Any]:
        """Users in the order in which Redis has them, by one short step."""
        step = look(every_user(), position, seconds=_AT_FIRST, batch=_PAGE_KEYS, limit=1)
        lists = rows_of(step.found)
        users = people.users_of(tag for tag, rows in lists.items() if rows)
        rows = [self.row_facts(request, row, users) for each in lists.values() for row in each[:_EACH]]
        more = [
            {"tag": tag, "name": people.name_of(tag, users.get(tag)), "count": len(each) - _EACH, "shown": _EACH}
            for tag, each in lists.items()
            if len(each) > _EACH
        ]
        return {
            "rows": rows,
            "more_of": more,
            "is_browsing": True,
            "total": step.total,
            "next": _written(step.position),
            "is_first": position is None or step.is_anew,
            **_newest_sample(),
        }

    # Searching -----------------------------------------------------------------------------------------------------

    def _search(self, request: HttpRequest, by: str, text: str) -> dict[str, Any]:
        facts: dict[str, Any] = {"is_search": True, "text": text, "by": by}
        if by == "user":
            return facts | self._search_users(request, text)
        if by == "sid":
            if not is_sid(text):
                return facts | {
                    "wrong": _("That cannot be the id of a session: 16 to 64 letters, digits, “-” and “_”.")
                }
            return facts | self._search_sid(request, text)
        address = address_of(text)
        if address is None:
            return facts | {"wrong": _("That is not an IP address.")}
        return facts | self._step(request, by_address(address))

    def _search_users(self, request: HttpRequest, text: str) -> dict[str, Any]:
        """By the user model's own table; and the id itself, whose user may have been deleted."""
        found: dict[str, Any] = {user_tag(user_id(user)): user for user in people.find(text)}
        by_id = user_tag(text)
        lists = rows_of([*map(UserTag, found), by_id])
        people_found = [
            {
                "tag": tag,
                "name": people.name_of(tag, user),
                "count": len(lists[UserTag(tag)]),
                "url": people.change_url(request, self.admin_site, user),
            }
            for tag, user in found.items()
        ]
        if by_id not in found and lists[by_id]:
            people_found.append({"tag": by_id, "name": people.shown(by_id), "count": len(lists[by_id]), "url": ""})
        rows = [self.row_facts(request, row, found) for each in lists.values() for row in each[:_EACH]]
        return {
            "rows": rows,
            "people": people_found,
            "is_cut": len(found) >= people.LIMIT,
            "limit": people.LIMIT,
            "or_address": address_of(text) is not None,
            "or_sid": is_sid(text),
        }

    def _search_sid(self, request: HttpRequest, sid: str) -> dict[str, Any]:
        """First whom the journal names, then everybody."""
        history: dict[str, Any] = {}
        if request.method != "POST":
            history = self._history(request, None, sid)
            known = self._revocations(None, sid)[0]
            named = {row.user for row in known}
            tags = [tag for user in named if (tag := people.tag_of(user)) is not None]
            live = [(tag, sid) for tag, rows in rows_of(tags).items() if any(row.session.sid == sid for row in rows)]
            ended = any(row.kind == Revocation.Kind.SESSION for row in known)
            if live or ended:
                return {**history, **self._found(request, live), "is_ended": not live}
        return {**history, **self._step(request, by_sid(sid))}

    def _step(self, request: HttpRequest, question: Question[tuple[UserTag, Any]]) -> dict[str, Any]:
        """One step through the store, on from the last one's end."""
        goes_on = request.method == "POST"
        position = _position(request.POST.get("from", "")) if goes_on else None
        step: Step[tuple[UserTag, Any]] = look(
            question, position, seconds=_FURTHER if goes_on else _AT_FIRST, limit=_ENOUGH
        )
        carried = [] if step.is_anew or not goes_on else request.POST.get("found", "").split()[:_MOST_CARRIED]
        text = request.POST.get("q", "") if goes_on else request.GET.get("q", "")
        sid = text.strip()
        pks = [*carried, *(pk_of(what if isinstance(what, str) else sid, tag) for tag, what in step.found)]
        found = []
        for pk in dict.fromkeys(pks):
            one, tagged = read_pk(pk)
            if one and (tag := people.tag_of(tagged)) is not None:
                found.append((tag, one))
        seen = step.position.seen if step.position else step.total
        return {
            **self._found(request, found),
            "is_look": True,
            "is_anew": step.is_anew,
            "is_full": len(found) >= _ENOUGH and step.position is not None,
            # What has filled the page is not carried further: the next step begins an empty one.
            "carried": "" if len(found) >= _ENOUGH else " ".join(pk_of(sid, tag) for tag, sid in found),
            "next": _written(step.position),
            "seen": min(seen, step.total),
            "total": step.total,
        }

    def _found(self, request: HttpRequest, found: Iterable[tuple[UserTag, str]]) -> dict[str, Any]:
        """Those that are alive, as they are now; and whose were ended meanwhile, or long ago."""
        wanted = list(found)
        lists = rows_of(tag for tag, _sid in wanted)
        live = {row.pk: row for rows in lists.values() for row in rows}
        users = people.users_of(lists)
        rows, over = [], []
        for tag, sid in wanted:
            if (row := live.get(pk_of(sid, tag))) is not None:
                rows.append(self.row_facts(request, row, users))
            else:
                name = people.name_of(tag, users.get(tag))
                over.append({"sid": sid, "url": self._url("change", quote(pk_of(sid, tag))), "tag": tag, "name": name})
        return {"rows": rows, "over": over}

    # One -----------------------------------------------------------------------------------------------------------

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One session, alive or not, and what the journal has on it."""
        self._insist(self.has_view_permission(request))
        if request.method != "GET" and request.method != "HEAD":
            raise PermissionDenied
        pk = unquote(object_id)
        sid, text = read_pk(pk)
        tag = people.tag_of(text)
        if tag is None:
            return self._missing(request, pk)
        user = people.users_of([tag]).get(tag)
        facts: dict[str, Any] = {"sid": sid, **self._history(request, tag, sid)}
        status = 200
        try:
            row = next((row for row in rows_of([tag])[tag] if row.session.sid == sid), None)
        except RevocationUnavailable:
            facts["unavailable"] = True
            status = 503
        else:
            # That it is over is no secret of the journal's; why, and by whom, is.
            if row is None and not self._revocations(tag, sid)[0]:
                return self._missing(request, pk)
            facts["row"] = row and self.row_facts(request, row, {tag: user} if user else {})
        context = {
            **self._context(request, _("Session of %(user)s") % {"user": people.name_of(tag, user)}),
            "pk": pk,
            "user_tag": tag,
            "user_name": people.name_of(tag, user),
            "user_url": people.change_url(request, self.admin_site, user),
            **facts,
            **(extra_context or {}),
        }
        return self._answer(request, "change_form", context, status)

    def _missing(self, request: HttpRequest, pk: str) -> HttpResponse:
        """As Django answers for any object that is not there."""
        messages.warning(request, _("There is no session “%(pk)s”; perhaps it is over.") % {"pk": pk[:200]})
        return HttpResponseRedirect(self.list_url())

    # Health --------------------------------------------------------------------------------------------------------

    def health_view(self, request: HttpRequest) -> HttpResponse:
        """What jwt_doctor says, and what happened lately."""
        self._insist(self.has_view_permission(request))
        period = request.GET.get("period", "day")
        if period not in health.PERIODS:
            period = "day"
        # Even who presses the button all the time has it looked at once a second.
        max_age = 1.0 if "again" in request.GET else health.KEPT_SECONDS
        age, found = health.diagnosis(max_age=max_age)
        findings = sorted(found.findings, key=lambda one: -LEVELS.index(one.level))
        sample = found.sample
        estimate = round(sample.sessions / sample.seen * sample.total) if sample and sample.seen else None
        context = {
            **self._context(request, _("Health")),
            "status": found.status,
            "findings": findings,
            "age": round(age),
            "kept": round(health.KEPT_SECONDS),
            "counts": [(level, sum(one.level == level for one in findings)) for level in reversed(LEVELS)],
            "sample": sample,
            "estimate": estimate,
            "charts": health.charts_of(period, max_age=max_age),
            "period": period,
        }
        return self._answer(request, "health", context, 200)

    # What the pages share ------------------------------------------------------------------------------------------

    def row_facts(self, request: HttpRequest, row: Row, users: dict[str, Any]) -> dict[str, Any]:
        """One session for a template."""
        user = users.get(row.tag)
        return {
            "pk": row.pk,
            "url": self._url("change", quote(row.pk)),
            "sid": row.session.sid,
            "tag": row.tag,
            "name": people.name_of(row.tag, user),
            "device": row.device or _("Unknown device"),
            "session": row.session,
        }

    def _revocations(self, tag: UserTag | None, sid: str) -> tuple[list[Revocation], str]:
        """What was revoked of a user, or of one session, found by an index; and why that cannot be known."""
        found: QuerySet[Revocation] = Revocation.objects.using(journal.database())
        if tag is not None:
            found = found.filter(user=tag)
        if sid:
            found = found.filter(target=sid)
        try:
            with transaction.atomic(using=journal.database()):
                return list(found.order_by("-id")[:_HISTORY]), ""
        except DatabaseError as why:
            return [], str(why)

    def _history(self, request: HttpRequest, tag: UserTag | None, sid: str) -> dict[str, Any]:
        """The same for a page, with who did it; for those who may read the journal."""
        if not request.user.has_perm("jwt_redis.view_revocation"):
            return {}
        rows, missing = self._revocations(tag, sid)
        if missing:
            return {"sees_journal": True, "history": [], "history_missing": missing}
        actors = people.users_of({user_tag(row.actor) for row in rows if row.actor})
        listed = [{"row": row, "actor": people.actor_name(row.actor, actors)} for row in rows]
        term = sid or (tag and people.shown(tag)) or ""
        all_url = reverse(f"{self.admin_site.name}:jwt_redis_revocation_changelist", query={"q": term})
        return {"sees_journal": True, "history": listed, "history_url": all_url, "history_limit": _HISTORY}

    def _context(self, request: HttpRequest, title: Any) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "media": self.media,
            "can_revoke": self.has_revoke_permission(request),
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }

    def _answer(self, request: HttpRequest, name: str, context: dict[str, Any], status: int) -> HttpResponse:
        request.current_app = self.admin_site.name
        response = TemplateResponse(request, f"admin/jwt_redis/session/{name}.html", context, status=status)
        if status == 503:
            response["Retry-After"] = "1"
        return response

    def _url(self, name: str, *args: str) -> str:
        return reverse(self._place(name), args=args, current_app=self.admin_site.name)


def _written(position: Position | None) -> str:
    """A position for a form."""
    return f"{position.cursor}.{position.seen}.{position.node}" if position else ""


def _position(text: str) -> Position | None:
    """What :func:`_written` wrote; what somebody else wrote is no position, and so the beginning."""
    cursor, _dot, rest = text.partition(".")
    seen, _dot, node = rest.partition(".")
    numbers = all(part.isascii() and part.isdigit() and len(part) <= 20 for part in (cursor, seen))
    if not numbers or int(cursor) >= 2**64:
        return None
    return Position(node, int(cursor), int(seen))


def _newest_sample() -> dict[str, Any]:
    try:
        sample = Sample.objects.order_by("-taken_at").first()
    except DatabaseError:
        return {}
    if sample is None:
        return {}
    taken_at = sample.taken_at
    return {"sample": sample, "sample_at": timezone.localtime(taken_at) if settings.USE_TZ else taken_at}
