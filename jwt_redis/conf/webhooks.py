"""``JWT_REDIS["WEBHOOKS"]``."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from jwt_redis.conf import values


class Webhooks(NamedTuple):
    """Who says that a session is over, to whom the receivers in the database listen, and how it is sent."""

    # The iss of a Security Event Token (RFC 8417 section 2.2).
    issuer: str
    # It takes the user-id claim and the receiver's audience, and answers with a subject identifier (RFC 9493). None:
    # one of the format iss_sub.
    user_subject: Callable[..., Any] | None = None
    # None: what Simple JWT signs with is used, if that is asymmetric.
    algorithm: str | None = None
    # What 'algorithm' signs with: a PEM, or a secret that the receivers have too.
    signing_key: str | None = None
    # The kid in the header, for receivers that know several keys.
    key_id: str | None = None
    # By origin ("https://example.com"), the value of the Authorization header. By origin, so that whoever may change a
    # receiver's URL cannot have it sent elsewhere.
    authorization: Mapping[str, str] = {}
    # For one delivery, from the name's lookup to the answer's end.
    timeout: float = 10.0
    # The pause after a first failure. It doubles with each further one, and is cut by chance to at least its half.
    first_delay: float = 5.0
    # The longest pause between two attempts.
    longest_delay: float = 3600.0
    # For how long it is tried.
    give_up_after: timedelta = timedelta(days=7)
    # For how long deliveries that arrived are kept.
    keep: timedelta = timedelta(days=30)
    # Networks that are not public and may be sent to all the same.
    networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...] = ()
    # Whether a receiver may be reached without TLS.
    allow_http: bool = False
    # Whom to believe a certificate, in a file. None: whom the system believes.
    ca_file: str | None = None


_ORIGIN = re.compile(r"https?://[^/?#\s@]+")
# What Simple JWT and PyJWT know.
_ALGORITHMS = (*(f"{family}{bits}" for family in ("HS", "RS", "PS", "ES") for bits in (256, 384, 512)), "EdDSA")


def _authorization(value: object) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError("a dict such as {'https://example.com': 'Bearer ...'} is needed")
    for origin, header in value.items():
        if not isinstance(origin, str) or not _ORIGIN.fullmatch(origin):
            raise ValueError(f"{origin!r} is no origin such as 'https://example.com'")
        # RFC 9110 section 5.5: what would end the header, or could not be in it.
        if not isinstance(header, str) or not re.fullmatch(r"[!-~]+( [!-~]+)*", header):
            raise ValueError(f"{origin}: what is there for it cannot be an Authorization header")
    return {origin.lower(): header for origin, header in value.items()}


def _networks(value: object) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    if isinstance(value, str) or not isinstance(value, (list, tuple)):
        raise ValueError("a list of networks such as ['10.1.0.0/16'] is needed")
    return tuple(ipaddress.ip_network(one) for one in value)


def _positive(value: object) -> float:
    seconds = values.seconds(value)
    if seconds < 0.01:
        raise ValueError("at least a hundredth of a second is needed")
    return seconds


def parse_webhooks(value: object) -> Webhooks | None:
    if value is None:
        return None
    parsers: dict[str, Callable[[object], Any]] = {
        "issuer": values.text,
        "user_subject": values.callable_or_path,
        "algorithm": values.optional(values.choice(*_ALGORITHMS)),
        "signing_key": values.optional(values.text),
        "key_id": values.optional(values.text),
        "authorization": _authorization,
        "timeout": _positive,
        "first_delay": _positive,
        "longest_delay": _positive,
        "give_up_after": values.duration,
        "keep": values.duration,
        "networks": _networks,
        "allow_http": values.flag,
        "ca_file": values.optional(values.text),
    }
    parsed = values.parts(value, parsers, "{'issuer': 'https://example.com'}")
    if "issuer" not in parsed:
        raise ValueError("issuer: it is missing; receivers know by it who speaks")
    made = Webhooks(**parsed)
    if (made.algorithm is None) != (made.signing_key is None):
        raise ValueError("algorithm, signing_key: both are needed, or none of them")
    if made.longest_delay < made.first_delay:
        raise ValueError("longest_delay: it is shorter than first_delay")
    return made
