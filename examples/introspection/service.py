"""Orders: a FastAPI service that asks the issuer about each token (RFC 7662), and keeps the answer for five seconds."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, NamedTuple

import httpx
from cachetools import LRUCache
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

ISSUER = os.environ["ISSUER"]
# Seconds for which an answer counts: a revocation is as late as that, and no later.
KEEP = 5.0
# Seconds to wait for one.
PATIENCE = 2.0

log = logging.getLogger("uvicorn.error")
issuer = httpx.AsyncClient(auth=(os.environ["CLIENT_ID"], os.environ["CLIENT_SECRET"]), timeout=PATIENCE)


class Question(NamedTuple):
    """What was asked of the issuer, when by the monotonic clock, and the answer, which may be on its way."""

    asked_at: float
    answer: asyncio.Task[dict[str, Any]]


# By digest: nobody finds tokens in here. Refusals are kept as well, or each bad token would be a question each time.
questions: LRUCache[bytes, Question] = LRUCache(maxsize=10_000)


async def introspect(token: str) -> dict[str, Any]:
    """The issuer's answer (RFC 7662 section 2.2)."""
    response = await issuer.post(f"{ISSUER}/oauth/introspect/", data={"token": token})
    response.raise_for_status()
    claims = response.json()
    if not isinstance(claims, dict) or not isinstance(claims.get("active"), bool):
        raise ValueError("this is no answer by RFC 7662")
    return claims


async def claims_of(token: str) -> dict[str, Any]:
    """What the issuer says of a token, or said less than KEEP seconds ago."""
    key, now = hashlib.sha256(token.encode()).digest(), time.monotonic()
    question = questions.get(key)
    has_failed = question is not None and question.answer.done() and question.answer.exception() is not None
    if question is None or has_failed or now >= question.asked_at + KEEP:
        # Counted from before the question: what is revoked while the answer is on its way counts in time, too. Who
        # comes meanwhile waits for the same answer.
        question = questions[key] = Question(now, asyncio.create_task(introspect(token)))
    try:
        return await asyncio.shield(question.answer)
    except (httpx.HTTPError, ValueError) as error:
        # Who cannot know whether a token is good lets nobody in: 503, and the client keeps its token.
        log.warning("The issuer does not say whether a token is good: %s", str(error) or type(error).__name__)
        raise HTTPException(503, "Nobody can say whether this token is good.", {"Retry-After": "1"}) from error


async def user_of(given: Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]) -> str:
    """The user whom a request's token is for."""
    if given is None:
        raise HTTPException(401, "Send an access token.", {"WWW-Authenticate": "Bearer"})
    # The issuer takes no form that is much longer.
    claims = await claims_of(given.credentials) if len(given.credentials) <= 8_192 else {"active": False}
    # A refresh token is active too, and none to come in with: it has no token_type.
    if not claims["active"] or claims.get("token_type") != "Bearer" or claims.get("exp", 0) <= time.time():
        raise HTTPException(401, "This token is not good.", {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return str(claims["sub"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """The connections to the issuer, as long as the service runs."""
    async with issuer:
        yield


app = FastAPI(title="Orders", lifespan=lifespan)


@app.get("/")
async def orders(user: Annotated[str, Depends(user_of)]) -> dict[str, str]:
    """What there is to see."""
    return {"service": "orders", "user": user}
