"""What staff fill in: what to look for, and why something is revoked."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

__all__ = ["DEFAULT_REASON", "EverythingForm", "RevokeForm", "SearchForm"]

DEFAULT_REASON = "revoked_by_staff"


class SearchForm(forms.Form):
    """By what, and which."""

    by = forms.ChoiceField(
        label=_("Search by"),
        choices=[("user", _("user")), ("sid", _("session id")), ("ip", _("IP address"))],
        required=False,
    )
    q = forms.CharField(
        label=_("Search for"),
        max_length=256,
        required=False,
        widget=forms.TextInput(attrs={"size": 32, "type": "search", "autocomplete": "off", "spellcheck": "false"}),
    )

    def clean_by(self) -> str:
        """A user, unless something else is said."""
        return self.cleaned_data["by"] or "user"


class RevokeForm(forms.Form):
    """Why."""

    reason = forms.RegexField(
        regex=r"\A[A-Za-z0-9_]{1,40}\Z",
        label=_("Why"),
        initial=DEFAULT_REASON,
        error_messages={"invalid": _("1 to 40 letters, digits and underscores.")},
        help_text=_("1 to 40 letters, digits and underscores. It goes into the journal, the log and the signals."),
        widget=forms.TextInput(
            attrs={
                "maxlength": 40,
                "pattern": "[A-Za-z0-9_]{1,40}",
                "autocomplete": "off",
                "aria-describedby": "id_reason_helptext",
            }
        ),
    )


class EverythingForm(RevokeForm):
    """Why, and the name of the site, typed: so that it is this site, and on purpose."""

    def __init__(self, word: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._word = word
        self.fields["word"] = forms.CharField(
            label=_("The name of this site"),
            help_text=_("Type %(word)s.") % {"word": word},
            widget=forms.TextInput(
                attrs={"autocomplete": "off", "spellcheck": "false", "aria-describedby": "id_word_helptext"}
            ),
        )

    def clean_word(self) -> str:
        """The very word, in whatever case."""
        typed: str = self.cleaned_data["word"]
        if typed.casefold() != self._word.casefold():
            raise forms.ValidationError(_("That is not the name of this site. Nothing was revoked."))
        return typed
