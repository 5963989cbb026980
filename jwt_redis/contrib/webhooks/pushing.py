"""One POST a token (RFC 8935), to somebody of whom nothing is known but that an answer is due."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import httpx

from jwt_redis.contrib.webhooks.lookups import Lookups
from jwt_redis.contrib.webhooks.places import (
    NotAllowed,
    authorization_for,
    check_address,
    check_url,
    settings_in_force,
    trusted,
)

__all__ = ["Answer", "Parcel", "printable", "push_all"]

logger = logging.getLogger(__name__)

# Bytes of an answer that are looked at; the rest is not read.
_MOST: Final = 8192
# Characters of an error that are kept.
_SHOWN: Final = 500
# Addresses of a name that are tried.
_ADDRESSES: Final = 4
# Errors of RFC 8935 section 2.4 that another secret or key on either side puts right, and nobody has to send again.
_MAY_PASS: Final = frozenset({"authentication_failed", "access_denied", "invalid_key"})


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent, and to where."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it. ``retry_after``: seconds for which the receiver asked to be left alone. ``is_ours``: nothing
    was sent, and that says nothing of the receiver."""

    outcome: Literal["accepted", "rejected", "failed"]
    said: str = ""
    retry_after: float = 0.0
    is_ours: bool = False


def push_all(parcels: Sequence[Parcel]) -> list[Answer]:
    """All at once, and each within ``timeout``. It raises nothing: what goes wrong is an answer."""
    return asyncio.run(_push_all(parcels))


async def _push_all(parcels: Sequence[Parcel]) -> list[Answer]:
    lookups, seconds = Lookups(), settings_in_force().timeout
    return list(await asyncio.gather(*(_push(parcel, lookups, seconds) for parcel in parcels)))


async def _push(parcel: Parcel, lookups: Lookups, seconds: float) -> Answer:
    try:
        # As a whole: one byte a second would be within any limit for a single read.
        async with asyncio.timeout(seconds):
            return await _post(parcel, lookups, seconds)
    except TimeoutError:
        return Answer("failed", f"No answer within {seconds:g} s.")
    except NotAllowed as error:
        return Answer("failed", printable(str(error)))
    except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
        return Answer("failed", printable(f"{type(error).__name__}: {error}"))
    except Exception as error:
        # One that nobody thought of must not keep the others from being told.
        logger.exception("A webhook could not be sent.", extra={"event": "webhook_failed"})
        return Answer("failed", printable(f"{type(error).__name__}: {error}"))


async def _post(parcel: Parcel, lookups: Lookups, seconds: float) -> Answer:
    parts = check_url(parcel.url)
    url = httpx.URL(parcel.url)
    host = url.raw_host.decode("ascii")
    found = await lookups.addresses(host, url.port or (443 if url.scheme == "https" else 80))
    # To the very addresses that were looked at: a second lookup might find others.
    addresses = _allowed(host, found)
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Content-Type": "application/secevent+jwt",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "jwt_redis",
    }
    if (authorization := authorization_for(parts)) is not None:
        headers["Authorization"] = authorization
    # One that does not answer leaves time for the next.
    limits = httpx.Timeout(seconds, connect=seconds / len(addresses))
    # A client for this alone. It would know its connections by address: where two names have the same one, the second
    # would get what the first one's certificate was looked at for. Nor the environment's proxies: they would look up
    # names for themselves, and .netrc has secrets.
    async with httpx.AsyncClient(
        verify=trusted(settings_in_force().ca_file), trust_env=False, follow_redirects=False, timeout=limits
    ) as client:
        for address in addresses:
            try:
                async with client.stream(
                    "POST",
                    url.copy_with(host=address),
                    content=parcel.token.encode("ascii"),
                    headers=headers,
                    extensions={"sni_hostname": host},
                ) as response:
                    if response.status_code == 202:
                        return Answer("accepted")
                    return _judged(response, _without(authorization, await _beginning(response)))
            except (httpx.ConnectError, httpx.ConnectTimeout):
                # Nothing was sent.
                if address == addresses[-1]:
                    raise
    raise AssertionError("unreachable: the last one returns or raises")


def _allowed(host: str, addresses: Sequence[str]) -> list[str]:
    allowed: list[str] = []
    why: NotAllowed | None = None
    for address in addresses:
        try:
            check_address(address)
        except NotAllowed as error:
            why = error
        else:
            allowed.append(address)
    if not allowed:
        raise why or NotAllowed(f"{host} has no address.")
    return allowed[:_ADDRESSES]


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    # As it comes: what is unpacked may be larger than what was sent.
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= _MOST:
            break
    return body[:_MOST]


def _without(authorization: str | None, body: bytes) -> bytes:
    """A receiver may show what it was sent. The secret is for no log, and for nobody who looks at deliveries."""
    if authorization is None:
        return body
    # Behind the scheme: where there is none, all of it. Also as JSON would write it.
    secret = authorization.partition(" ")[2].strip() or authorization
    for known in {authorization, secret}:
        for written in (known, json.dumps(known)[1:-1]):
            body = body.replace(written.encode(), b"***")
    return body


def _judged(response: httpx.Response, body: bytes) -> Answer:
    """RFC 8935 section 2.3: 400 with ``err`` says that this token will not be taken. Everything else may pass."""
    asked = _seconds(response.headers.get("Retry-After", ""))
    if response.status_code == 400:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("err"), str):
            description = answer.get("description")
            said = f"{answer['err']}: {description}" if isinstance(description, str) else answer["err"]
            if answer["err"] in _MAY_PASS:
                return Answer("failed", printable(said), asked)
            return Answer("rejected", printable(said))
    text = printable(body.decode("utf-8", "replace"))
    expected = " 202 was expected." if response.is_success or response.is_redirect else ""
    return Answer("failed", f"{response.status_code}.{expected} {text}".strip(), asked)


def _seconds(text: str) -> float:
    # A date (RFC 9110 section 10.2.3) is not worth a comparison of clocks.
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def printable(text: str) -> str:
    """What a database takes and a person can read, and not more than that."""
    return "".join(c if c.isprintable() else " " for c in text[:_SHOWN])
