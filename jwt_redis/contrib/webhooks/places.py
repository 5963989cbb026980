"""Where may be sent to? Whoever can name a receiver must not reach what only this machine reaches."""

from __future__ import annotations

import ipaddress
import ssl
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from django.utils.translation import gettext as _

from jwt_redis.conf import Webhooks, config

__all__ = ["NotAllowed", "authorization_for", "check_address", "check_url", "settings_in_force", "trusted"]

# IPv6 networks with an IPv4 address in their last bits, to which a gateway or the system itself may lead: NAT64
# (RFC 6052), IPv4-compatible (RFC 4291 section 2.5.5.1), IPv4-translated (RFC 2765).
_TRANSLATED = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96")))
# What not each Python knows not to be public: NAT64 of one's own (RFC 8215), site-local (RFC 3879).
_LOCAL = tuple(map(ipaddress.IPv6Network, ("64:ff9b:1::/48", "fec0::/10")))


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
    if isinstance(address, ipaddress.IPv6Address):
        address = _inner(address) or address
    if any(address in network for network in settings_in_force().networks):
        return
    if not address.is_global or address.is_multicast or any(address in network for network in _LOCAL):
        raise NotAllowed(_("%(address)s is not a public address.") % {"address": address})


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that it stands for."""
    if any(address in network for network in _TRANSLATED) and int(address) > 1:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


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
