"""The e-mails that the demo would have sent, for everybody to see."""

from __future__ import annotations

import email
import email.policy
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from django.conf import settings
from django.views.generic import TemplateView

_MOST = 20
# What Django's file backend writes behind each message.
_SEPARATOR = b"\n" + b"-" * 79 + b"\n"


@dataclass(frozen=True, slots=True)
class Mail:
    subject: str
    to: str
    sent_at: datetime
    text: str


def _mails() -> list[Mail]:
    """The newest first."""
    files = sorted(Path(settings.EMAIL_FILE_PATH).glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)
    # What has no separator behind it is being written, or never was to the end.
    return [_read(raw) for path in files[:_MOST] for raw in path.read_bytes().split(_SEPARATOR)[:-1]]


def _read(raw: bytes) -> Mail:
    message = email.message_from_bytes(raw, EmailMessage, policy=email.policy.default)
    body = message.get_body(("plain",))
    return Mail(
        subject=message["Subject"],
        to=message["To"],
        sent_at=parsedate_to_datetime(message["Date"]),
        text=body.get_content() if body is not None else "",
    )


class MailView(TemplateView):
    template_name = "notes/mail.html"

    def get_context_data(self, **context: Any) -> dict[str, Any]:
        return super().get_context_data(mails=_mails(), **context)
