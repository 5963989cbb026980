"""What is kept of the device that a session was opened on, and how it is shown to its owner."""

from __future__ import annotations

import ipaddress
import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

from django.http import HttpRequest
from django.utils.translation import gettext as _

from jwt_redis.conf import config

__all__ = [
    "Device",
    "Kind",
    "behind_one_proxy",
    "describe",
    "device_of",
    "families",
    "kind_of",
    "location_of",
    "remote_addr",
    "signing_in_device",
    "signing_in_from",
]

logger = logging.getLogger(__name__)

Kind = Literal["phone", "tablet", "computer", "other"]

MAX_USER_AGENT = 256


@dataclass(frozen=True, slots=True)
class Device:
    """Where a session is. Both are what the client said of itself: to be shown, never to be relied on."""

    user_agent: str = ""
    ip: str = ""

    def dump(self) -> str:
        """As it is kept in Redis; "" for a device of which nothing is known."""
        facts = {"ua": self.user_agent, "ip": self.ip}
        known = {name: value for name, value in facts.items() if value}
        return json.dumps(known, ensure_ascii=False, separators=(",", ":")) if known else ""

    @classmethod
    def load(cls, text: str | None) -> Device:
        """Read what :meth:`dump` wrote; a damaged text is an unknown device."""
        try:
            facts = json.loads(text or "{}")
        except ValueError:
            return cls()
        if not isinstance(facts, dict):
            return cls()
        return cls(str(facts.get("ua", "")), str(facts.get("ip", "")))


def device_of(request: Any | None) -> Device:
    """The device behind a Django or DRF request; an unknown one for None."""
    if request is None:
        return Device()
    meta = getattr(request, "META", {})
    raw = str(meta.get("HTTP_USER_AGENT", ""))[:MAX_USER_AGENT]
    user_agent = "".join(c if c.isprintable() else " " for c in raw).strip()
    find_ip = config().client_ip
    return Device(user_agent, _address(find_ip(request)) if find_ip else "")


def remote_addr(request: HttpRequest) -> str | None:
    """The peer's address: right where no proxy stands in front. ``X-Forwarded-For`` is the client's to invent."""
    address: str | None = request.META.get("REMOTE_ADDR")
    return address


def behind_one_proxy(request: HttpRequest) -> str | None:
    """The last entry of ``X-Forwarded-For``, which a single trusted proxy in front has put there."""
    entries = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    return entries[-1].strip() or remote_addr(request)


def _address(text: str | None) -> str:
    try:
        address = ipaddress.ip_address(text or "")
    except ValueError:
        return ""
    # As a server that listens on both families sees an IPv4 client.
    return str(getattr(address, "ipv4_mapped", None) or address)


# Of a family that was taken out of the user agent itself, so many characters are shown.
_MAX_FAMILY = 40


def families(user_agent: str) -> tuple[str, str]:
    """Browser and system, each "" where nothing can be said. Needs the extra ``jwt_redis[devices]``.

    Families only: browsers have frozen the versions in their user agents.
    """
    try:
        from ua_parser import parse
    except ImportError:
        return "", ""
    found = parse(user_agent)
    parts = [part.family if part is not None else "" for part in (found.user_agent, found.os)]
    browser, system = ("" if part == "Other" else part[:_MAX_FAMILY] for part in parts)
    return browser, system


def describe(user_agent: str) -> str:
    """ "Firefox on Linux", or as much of it as :func:`families` knows; "" where that is nothing."""
    browser, system = families(user_agent)
    if browser and system:
        return _("%(browser)s on %(system)s") % {"browser": browser, "system": system}
    return browser or system


# The first that fits. What Android calls mobile is no tablet; an iPad that asks for desktop sites passes for a Mac.
_KINDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("other", re.compile(r"bot\b|spider|crawl|smart-?tv|appletv|googletv|hbbtv", re.I)),
    ("tablet", re.compile(r"iPad|Tablet|Kindle|Silk/|Android(?!.*\bMobile\b)", re.I)),
    ("phone", re.compile(r"iPhone|iPod|Android|\bMobile\b|Windows Phone", re.I)),
    ("computer", re.compile(r"Windows NT|Macintosh|X11|CrOS|Linux", re.I)),
)


def kind_of(user_agent: str) -> Kind:
    """What to draw: "phone", "tablet", "computer", or "other" for programs and the unknown."""
    return next((kind for kind, pattern in _KINDS if pattern.search(user_agent)), "other")


def location_of(ip: str) -> str:
    """Where an address is, in the words of the callable ``LOCATION``; "" where it, or the address, says nothing.

    An error in it is logged: nobody is kept from the list for that.
    """
    locate = config().location
    if locate is None or not ip:
        return ""
    try:
        found = locate(ip)
    except Exception:
        logger.exception("LOCATION failed for an address.", extra={"event": "location_failed"})
        return ""
    return " ".join(found.split())[:100] if isinstance(found, str) else ""


_signing_in: ContextVar[Device | None] = ContextVar("jwt_redis_signing_in", default=None)


@contextmanager
def signing_in_from(request: Any | None) -> Iterator[None]:
    """Sessions that are opened within are opened on this request's device."""
    token = _signing_in.set(device_of(request))
    try:
        yield
    finally:
        _signing_in.reset(token)


def signing_in_device() -> Device:
    """The device of the :func:`signing_in_from` that surrounds the caller."""
    return _signing_in.get() or Device()
