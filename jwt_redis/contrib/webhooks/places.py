"""Where may be sent to? Whoever can name a receiver must not reach what only this machine reaches."""

from __future__ import annotations

import ipaddress
import ssl
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.utils.translation import gettext as _

from jwt_redis.conf import Webhooks, config

__all__ = ["NotAllowed", "authorization_for", "check_address", "check_url", "settings_in_force", "trusted"]


class NotAllowed(Exception):
    """The settings do not let us send there."""


def settings_in_force() -> Webhooks:
    """``JWT_REDIS["WEBHOOKS"]``, or what it would be where there is none."""
    return config().webhooks or Webhooks(issuer="")


def check_url(url: str) -> SplitResult:
    """Its parts.

    :raises NotAllowed: when it is none, has a password in it, is without TLS, or names an address that is not public.
    """
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        raise NotAllowed(_("This is no URL: %(error)s") % {"error": error}) from error
    if parts.scheme not in ("https", "http") or not host or not url.isprintable() or " " in url:
        raise NotAllowed(_("A URL such as https://example.com/events is needed."))
    if parts.username is not None or parts.fragment:
        raise NotAllowed(_("Neither a user nor a fragment may be in it."))
    # RFC 8935 section 5.3.
    if parts.scheme == "http" and not settings_in_force().allow_http:
        raise NotAllowed(_("Only https is sent to."))
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return parts
    check_address(str(address))
    return parts


def check_address(text: str) -> None:
    """After the name's lookup, and of the very address that is connected to.

    :raises NotAllowed: when it is not public, and in none of the networks that the settings name.
    """
    # A scope is no part of where it leads.
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    if any(address in network for network in settings_in_force().networks):
        return
    if not address.is_global or address.is_multicast:
        raise NotAllowed(_("%(address)s is not a public address.") % {"address": address})


def authorization_for(parts: SplitResult) -> str | None:
    """The Authorization header's value for this origin, if there is one."""
    return settings_in_force().authorization.get(f"{parts.scheme}://{parts.netloc}".lower())


@lru_cache(maxsize=4)
def trusted(ca_file: str | None) -> ssl.SSLContext:
    """Whom a receiver's certificate has to be from; its name is verified too (RFC 8935 section 5.3).

    :raises OSError: when the file cannot be read, or has no certificate in it.
    """
    # BCP 195.
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise OSError(f"ca_file: {ca_file}: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
