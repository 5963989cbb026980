"""One POST a token (RFC 8935), to somebody of whom nothing is known but that an answer is due."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import httpx

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


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is sent, and to where."""

    url: str
    token: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of it. ``retry_after``: seconds for which the receiver asked to be left alone."""

    outcome: Literal["accepted", "rejected", "failed"]
    said: str = ""
    retry_after: float = 0.0


def push_all(parcels: Sequence[Parcel]) -> list[Answer]:
    """All at once, and each within ``timeout``. It raises nothing: what goes wrong is an answer."""
    return asyncio.run(_push_all(parcels))


async def _push_all(parcels: Sequence[Parcel]) -> list[Answer]:
    settings = settings_in_force()
    # Not the environment's proxies: they would look up names for themselves, and .netrc has secrets.
    async with httpx.AsyncClient(
        verify=trusted(settings.ca_file), trust_env=False, follow_redirects=False, timeout=settings.timeout
    ) as client:
        return list(await asyncio.gather(*(_push(client, parcel, settings.timeout) for parcel in parcels)))


async def _push(client: httpx.AsyncClient, parcel: Parcel, seconds: float) -> Answer:
    try:
        # As a whole: one byte a second would be within any limit for a single read.
        async with asyncio.timeout(seconds):
            return await _post(client, parcel)
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


async def _post(client: httpx.AsyncClient, parcel: Parcel) -> Answer:
    parts = check_url(parcel.url)
    url = httpx.URL(parcel.url)
    host = url.raw_host.decode("ascii")
    # To the very address that was looked at: a second lookup might find another one.
    address = await _address_of(host, url.port or (443 if url.scheme == "https" else 80))
    headers = {
        "Host": url.netloc.decode("ascii"),
        "Content-Type": "application/secevent+jwt",
        "Accept": "application/json",
        "Accept-Encoding": "identity",
        "User-Agent": "jwt_redis",
    }
    if (authorization := authorization_for(parts)) is not None:
        headers["Authorization"] = authorization
    async with client.stream(
        "POST",
        url.copy_with(host=address),
        content=parcel.token.encode("ascii"),
        headers=headers,
        extensions={"sni_hostname": host},
    ) as response:
        if response.status_code == 202:
            return Answer("accepted")
        return _judged(response, await _beginning(response))


async def _address_of(host: str, port: int) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    why: NotAllowed | None = None
    for *_rest, address in found:
        try:
            check_address(str(address[0]))
        except NotAllowed as error:
            why = error
        else:
            return str(address[0])
    raise why or NotAllowed(f"{host} has no address.")


async def _beginning(response: httpx.Response) -> bytes:
    body = b""
    # As it comes: what is unpacked may be larger than what was sent.
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) >= _MOST:
            break
    return body[:_MOST]


def _judged(response: httpx.Response, body: bytes) -> Answer:
    """RFC 8935 section 2.3: 400 with ``err`` says that this token will not be taken. Everything else may pass."""
    if response.status_code == 400:
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict) and isinstance(answer.get("err"), str):
            description = answer.get("description")
            said = f"{answer['err']}: {description}" if isinstance(description, str) else answer["err"]
            return Answer("rejected", printable(said))
    text = printable(body.decode("utf-8", "replace"))
    expected = " 202 was expected." if response.is_success or response.is_redirect else ""
    return Answer(
        "failed", f"{response.status_code}.{expected} {text}".strip(), _seconds(response.headers.get("Retry-After", ""))
    )


def _seconds(text: str) -> float:
    # A date (RFC 9110 section 10.2.3) is not worth a comparison of clocks.
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0


def printable(text: str) -> str:
    """What a database takes and a person can read, and not more than that."""
    return "".join(c if c.isprintable() else " " for c in text[:_SHOWN])
