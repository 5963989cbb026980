"""Staff end sessions: a page that asks once more, and what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from jwt_redis import journal, sessions
from jwt_redis.admin import people
from jwt_redis.admin.forms import EverythingForm, RevokeForm
from jwt_redis.admin.looking import Row, pk_of, read_pk, rows_of
from jwt_redis.exceptions import JournalUnavailable, NotReplicated, RevocationUnavailable
from jwt_redis.keys import UserTag, user_id
from jwt_redis.models import Revocation, Session
from jwt_redis.operations import UseCase, run
from jwt_redis.sessions.ending import ending

if TYPE_CHECKING:
    _Base = admin.ModelAdmin[Session]
else:
    _Base = admin.ModelAdmin

__all__ = ["Revoking"]

Kind = Revocation.Kind


def _actor(request: HttpRequest) -> str:
    """As the views for the users themselves have it: the user id."""
    try:
        return user_id(request.user)
    except ValueError:
        return str(request.user)


class Revoking(_Base):
    """The part of the admin for sessions that changes something."""

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """May sessions be ended? Only who may see them, too."""
        return self.has_view_permission(request) and request.user.has_perm("jwt_redis.revoke_session")

    def has_revoke_everything_permission(self, request: HttpRequest) -> bool:
        """May those of everybody be ended at once? Whoever may end sessions, unless a project says otherwise."""
        return self.has_revoke_permission(request)

    # The pages -----------------------------------------------------------------------------------------------------

    def selected_view(self, request: HttpRequest) -> HttpResponse:
        """Some sessions, one perhaps: ``_selected_action``, as in Django's own actions."""
        self._insist(self.has_revoke_permission(request))
        given = request.POST if request.method == "POST" else request.GET
        chosen: dict[UserTag, list[str]] = {}
        for pk in dict.fromkeys(given.getlist(ACTION_CHECKBOX_NAME)):
            sid, text = read_pk(pk)
            tag = people.tag_of(text)
            if tag is None:
                raise BadRequest(f"{pk!r} is not a session.")
            chosen.setdefault(tag, []).append(sid)
        if not chosen:
            messages.warning(request, _("No session was selected."))
            return HttpResponseRedirect(self.list_url())
        where = self.list_url(user=next(iter(chosen))) if len(chosen) == 1 else self.list_url()
        form = self._confirmed(request)
        if form.is_valid():
            self._end_selected(request, chosen, form.cleaned_data["reason"])
            return HttpResponseRedirect(where)
        count = sum(map(len, chosen.values()))
        title = ngettext("End this session?", "End these %(count)d sessions?", count) % {"count": count}
        named = [(pk_of(sid, tag), sid, tag) for tag, sids in chosen.items() for sid in sids]
        return self._ask(request, form, title, where, named=named, **self._looked_up(chosen))

    def user_view(self, request: HttpRequest) -> HttpResponse:
        """All of one user's: ``user``, as in Redis' keys."""
        self._insist(self.has_revoke_permission(request))
        tag = people.tag_of((request.POST if request.method == "POST" else request.GET).get("user", ""))
        if tag is None:
            raise BadRequest("user: not the id of a user, as in Redis' keys.")
        where = self.list_url(user=tag)
        form = self._confirmed(request)
        if form.is_valid():
            self._end_all(request, tag, form.cleaned_data["reason"])
            return HttpResponseRedirect(where)
        name = people.name_of(tag, people.users_of([tag]).get(tag))
        title = _("End all sessions of %(user)s?") % {"user": name}
        return self._ask(request, form, title, where, user_text=tag, **self._looked_up({tag: None}))

    def everything_view(self, request: HttpRequest) -> HttpResponse:
        """Everybody's."""
        self._insist(self.has_revoke_everything_permission(request))
        word = request.get_host()
        form = EverythingForm(word, request.POST) if request.method == "POST" else EverythingForm(word)
        if form.is_valid():
            self._end_everything(request, form.cleaned_data["reason"])
            return HttpResponseRedirect(self.list_url())
        return self._ask(request, form, _("End every session of everybody?"), self.list_url(), everything=True)

    # What they do --------------------------------------------------------------------------------------------------

    def _end_selected(self, request: HttpRequest, chosen: dict[UserTag, list[str]], reason: str) -> None:
        ended = asked = 0
        for tag, sids in chosen.items():
            user = people.claim_of(tag)
            before = ended
            with self._troubles_told(request, tag) as went_well:
                ended += run(ending(user, tuple(sids), reason, True), UseCase("end_session", user))
                went_well()
            asked += len(sids)
            if ended > before:
                for sid in sids:
                    self._log(
                        request, Session(id=pk_of(sid, tag)), _("Ended. Reason: %(reason)s.") % {"reason": reason}
                    )
            if not went_well.called:
                break
        if ended or went_well.called:
            self._tell_count(request, ended)
        total = sum(map(len, chosen.values()))
        if asked < total:
            left = total - asked
            messages.error(
                request,
                ngettext("%(left)d more was not tried.", "%(left)d more were not tried.", left) % {"left": left},
            )

    def _end_all(self, request: HttpRequest, tag: UserTag, reason: str) -> None:
        with self._troubles_told(request, tag) as went_well:
            ended = sessions.end_all_sessions(people.claim_of(tag), reason=reason)
            went_well()
        if not went_well.called:
            return
        messages.success(
            request,
            ngettext("%(count)d session was ended.", "%(count)d sessions were ended.", ended) % {"count": ended}
            + " "
            + _("Older tokens without a session are refused, too."),
        )
        said = _("Ended all sessions (%(count)d). Reason: %(reason)s.") % {"count": ended, "reason": reason}
        # In the history of the user, if there is one.
        self._log(request, people.users_of([tag]).get(tag) or Session(id=f":{tag}"), said)

    def _end_everything(self, request: HttpRequest, reason: str) -> None:
        with self._troubles_told(request, "") as went_well:
            moment = sessions.revoke_everything(reason=reason)
            went_well()
        if not went_well.called:
            return
        said = _("Everything from before %(moment)s UTC is refused, in every process within a second.")
        messages.success(request, said % {"moment": f"{moment:%Y-%m-%d %H:%M:%S}"})
        self._log(
            request, Session(id=""), _("Ended every session of everybody. Reason: %(reason)s.") % {"reason": reason}
        )

    # How -----------------------------------------------------------------------------------------------------------

    @staticmethod
    def _insist(allowed: bool) -> None:
        if not allowed:
            raise PermissionDenied

    def _confirmed(self, request: HttpRequest) -> RevokeForm:
        """Filled in if this is the answer to the question, and not what leads to it."""
        return RevokeForm(request.POST) if request.method == "POST" and "post" in request.POST else RevokeForm()

    def _looked_up(self, chosen: dict[UserTag, Any]) -> dict[str, Any]:
        """The sessions that it is about, as far as they can be read: without Redis the journal can still be told."""
        try:
            found = rows_of(chosen)
        except RevocationUnavailable:
            return {"unavailable": True, "users": people.users_of(chosen)}
        rows: list[Row] = []
        for tag, sids in chosen.items():
            rows += [row for row in found[tag] if sids is None or row.session.sid in sids]
        return {"rows": rows, "users": people.users_of(chosen)}

    def _ask(self, request: HttpRequest, form: RevokeForm, title: str, where: str, **facts: Any) -> HttpResponse:
        users: dict[str, Any] = facts.pop("users", {})
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "form": form,
            "back": where,
            "has_journal": journal.is_on(),
            "rows": [self.row_facts(request, row, users) for row in facts.pop("rows", [])],
            "media": self.media,
            **facts,
        }
        request.current_app = self.admin_site.name
        name = "revoke_everything" if "everything" in facts else "revoke"
        return TemplateResponse(request, f"admin/jwt_redis/session/{name}.html", context)

    @contextmanager
    def _troubles_told(self, request: HttpRequest, tag: str) -> Iterator[_Flag]:
        """Do it in the name of who asked. What goes wrong is a message, and the flag stays down."""
        flag = _Flag()
        try:
            with journal.acting_as(_actor(request)):
                yield flag
        except NotReplicated as error:
            messages.error(
                request,
                _("Redis has it, but only %(confirmed)d of %(wanted)d replicas have confirmed it.")
                % {"confirmed": error.confirmed, "wanted": error.wanted},
            )
        except JournalUnavailable:
            messages.error(
                request,
                _(
                    "The sessions are ended in Redis, but the journal could not be written: Redis could still forget"
                    " it. Do it again when the database answers."
                ),
            )
        except RevocationUnavailable:
            messages.error(request, self._what_is_pending(tag))

    def _what_is_pending(self, tag: str) -> str:
        try:
            rows = Revocation.objects.using(journal.database()).filter(user=tag, applied_at=None)
            is_pending = journal.is_on() and rows.exists()
        except DatabaseError:
            is_pending = False
        if is_pending:
            return _(
                "Redis does not answer. The revocation is in the journal, and is applied before anybody is let in"
                " again."
            )
        return _("Redis does not answer, and nothing was revoked. Try again shortly.")

    def _tell_count(self, request: HttpRequest, ended: int) -> None:
        if ended:
            said = ngettext("%(count)d session was ended.", "%(count)d sessions were ended.", ended)
            messages.success(request, said % {"count": ended})
        else:
            messages.warning(request, _("None of them was alive any more."))

    def _log(self, request: HttpRequest, about: Any, message: str) -> None:
        """Into Django's own log of what staff do, beside the journal."""
        LogEntry.objects.log_actions(
            user_id=str(request.user.pk),
            queryset=[about],
            action_flag=CHANGE,
            change_message=message,
            single_object=True,
        )

    # For the parts that show something -----------------------------------------------------------------------------

    def list_url(self, **query: str) -> str:
        """The list of sessions."""
        url = reverse(self._place("changelist"), current_app=self.admin_site.name)
        return f"{url}?{urlencode(query)}" if query else url

    def _place(self, name: str) -> str:
        return f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{name}"

    def row_facts(self, request: HttpRequest, row: Row, users: dict[str, Any]) -> dict[str, Any]:
        """One session for a template: each list has its own."""
        raise NotImplementedError


class _Flag:
    """Raised by calling it."""

    called = False

    def __call__(self) -> None:
        self.called = True
