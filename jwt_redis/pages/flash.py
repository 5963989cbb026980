"""A word for the next page: by Django's messages where they are installed, or else by a cookie that lives a minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.core import signing
from django.http.response import HttpResponseBase
from django.urls import get_script_prefix

__all__ = ["Flash", "forget", "has_messages", "say", "take"]

_COOKIE = "jwt_redis_flash"
_SALT = "jwt_redis.pages.flash"
_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Flash:
    """Something that was done or, with ``is_error``, was not."""

    text: str
    is_error: bool = False


def say(request: Any, response: HttpResponseBase, flash: Flash) -> None:
    """Have it shown on the page that ``response`` leads to."""
    if has_messages(request):
        from django.contrib import messages

        messages.add_message(request, messages.ERROR if flash.is_error else messages.SUCCESS, flash.text)
        return
    # Signed, so that no sibling of the host can put words into our mouth.
    text = signing.dumps([flash.text, flash.is_error], salt=_SALT)
    response.set_cookie(
        _COOKIE,
        text,
        max_age=_SECONDS,
        path=get_script_prefix(),
        secure=request.is_secure(),
        httponly=True,
        samesite="Lax",
    )


def take(request: Any) -> list[Flash]:
    """What is to be shown now: then :func:`forget` it."""
    if has_messages(request):
        from django.contrib import messages

        found = messages.get_messages(request)
        return [Flash(str(message), message.level >= messages.ERROR) for message in found]
    raw = request.COOKIES.get(_COOKIE)
    if not raw:
        return []
    try:
        text, is_error = signing.loads(raw, salt=_SALT, max_age=_SECONDS)
    except signing.BadSignature:
        return []
    return [Flash(text, is_error)]


def forget(request: Any, response: HttpResponseBase) -> None:
    """It was shown, and is not to be shown again."""
    if _COOKIE in request.COOKIES:
        response.delete_cookie(_COOKIE, path=get_script_prefix(), samesite="Lax")


def has_messages(request: Any) -> bool:
    """Are Django's messages installed, and is their middleware?"""
    return apps.is_installed("django.contrib.messages") and hasattr(request, "_messages")
