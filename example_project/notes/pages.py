"""The pages: sign in, notes, a new password. Links and forms; a script only makes them livelier."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import user_logged_in
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.views import redirect_to_login
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.utils.cache import add_never_cache_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.generic import FormView, View

from jwt_redis import cookies, sessions
from jwt_redis.pages.visitors import why_signed_out
from notes.models import Note
from notes.theft import seconds_since_theft


class SignedInMixin(View):
    """For who is signed in. Anybody else is told why not any more, or led to where to sign in."""

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.user.is_authenticated:
            response = super().dispatch(request, *args, **kwargs)
        elif why := why_signed_out(request):
            context = {"why": why, "login_url": resolve_url(settings.LOGIN_URL)}
            response = render(request, "jwt_redis/signed_out.html", context, status=401)
            # RFC 9110 section 15.5.2: a 401 has it.
            response["WWW-Authenticate"] = 'Bearer realm="demo"'
        else:
            response = redirect_to_login(request.get_full_path())
        # Going back after signing out shall not show what was here.
        add_never_cache_headers(response)
        return response


def _start_session(request: Any, user: Any, response: HttpResponseBase) -> None:
    refresh = sessions.open_session(user, request)
    cookies.set_cookies(response, access=refresh.access_token, refresh=refresh)


class SignInView(FormView):
    """Opens a session."""

    template_name = "notes/welcome.html"
    form_class = AuthenticationForm

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if request.method == "GET" and request.user.is_authenticated:
            return redirect(self.get_success_url())
        response = super().dispatch(request, *args, **kwargs)
        add_never_cache_headers(response)
        return response

    def get_form_kwargs(self) -> dict[str, Any]:
        return {"request": self.request, "label_suffix": "", **super().get_form_kwargs()}

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)
        # What the page says, and the buttons, come first.
        del form.fields["username"].widget.attrs["autofocus"]
        return form

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        why = why_signed_out(self.request)
        return super().get_context_data(users=settings.DEMO_USERS, next=self._next(), why=why, **context)

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        request: Any = self.request
        if request.user.is_authenticated and request.auth is not None:
            # Its cookies are about to be replaced.
            sessions.end_session(request.user, request.auth["sid"])
        user = form.get_user()
        user_logged_in.send(sender=type(user), request=request, user=user)
        response = HttpResponseRedirect(self.get_success_url())
        _start_session(request, user, response)
        cookies.renew_csrf_token(request)
        return response

    def get_success_url(self) -> str:
        return self._next() or resolve_url("home")

    def _next(self) -> str:
        request: Any = self.request
        url: str = request.POST.get("next") or request.GET.get("next") or ""
        is_ours = url_has_allowed_host_and_scheme(url, {request.get_host()}, require_https=request.is_secure())
        return url if is_ours else ""


class HomeView(View):
    """What there is to try; for who is not signed in, what this is, and where to sign in."""

    def get(self, request: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return SignInView.as_view()(request)
        context = {"stolen": seconds_since_theft(request), "base_url": settings.BASE_URL}
        response = render(request, "notes/home.html", context)
        add_never_cache_headers(response)
        return response


class NoteForm(forms.ModelForm):
    class Meta:
        model = Note
        fields = ["text"]
        labels = {"text": "New note"}
        widgets = {"text": forms.TextInput(attrs={"autocomplete": "off"})}


class NotesView(SignedInMixin, FormView):
    """What a session protects."""

    template_name = "notes/notes.html"
    form_class = NoteForm

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(notes=Note.objects.filter(user=self.request.user), **context)

    def form_valid(self, form: NoteForm) -> HttpResponse:
        form.instance.user = self.request.user
        form.save()
        return redirect("notes")


class DeleteNoteView(SignedInMixin):
    def get(self, request: Any, pk: int) -> HttpResponse:
        """Where signing in leads back to."""
        return redirect("notes")

    def post(self, request: Any, pk: int) -> HttpResponse:
        get_object_or_404(Note, pk=pk, user=request.user).delete()
        return redirect("notes")


class PasswordView(SignedInMixin, FormView):
    """Every other device falls out; this one gets a new session."""

    template_name = "notes/password.html"
    form_class = PasswordChangeForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return {"user": self.request.user, "label_suffix": "", **super().get_form_kwargs()}

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        # jwt_redis sees the save and ends all of the user's sessions.
        user = form.save()
        response = redirect("password")
        _start_session(self.request, user, response)
        messages.success(self.request, "The password is changed. Every other device was signed out; this one stays.")
        return response
