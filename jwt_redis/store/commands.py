"""Each operation on the store as data: what to send, and how to read the reply. Nothing here does I/O."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from jwt_redis import keys
from jwt_redis.conf import (
    DEFAULT_MAX_AGE,
    config,
    leeway_seconds,
    longest_access_lifetime,
    longest_lifetime,
    longest_session,
)
from jwt_redis.records import EndedSession, Marker, SessionRecord, UserState, parse_session, parse_user_state
from jwt_redis.verdicts import Claims

__all__ = [
    "Command",
    "Ended",
    "Everything",
    "History",
    "ListRead",
    "Listed",
    "ListedTokens",
    "LogEntry",
    "LogPage",
    "Opened",
    "Remembered",
    "Rotation",
    "Script",
    "Written",
    "append_log",
    "begin_mending",
    "blacklist_token",
    "drop_lock",
    "drop_use",
    "end_all_sessions",
    "end_other_sessions",
    "end_sessions",
    "keep_list",
    "new_id",
    "note_adopted",
    "open_session",
    "prove_marker",
    "prune",
    "read_clock",
    "read_field",
    "read_history",
    "read_known",
    "read_list",
    "read_log",
    "read_log_end",
    "read_log_from",
    "read_marker",
    "read_moment",
    "read_refreshes",
    "read_refused",
    "read_session",
    "read_sessions",
    "read_state",
    "rebind_sessions",
    "refuse_key",
    "refuse_tokens",
    "remember",
    "revoke_everything",
    "rotate",
    "seconds_of_session",
    "set_label",
    "set_place",
    "take_lock",
    "take_place",
    "trust_store",
    "use_once",
]

T = TypeVar("T")

# Seconds past its end for which a field is kept, so that no clock difference or rounding loses one too early.
MARGIN = 60
# Places that are drawn at once. With half of a list free, all are taken once in 65 536 times.
_LOTS = 16


class Script:
    """A Lua script by its name: the text, put behind the part that the scripts on one user's state share."""

    def __init__(self, name: str, *, on_user: bool) -> None:
        self.name = name
        folder = resources.files("jwt_redis.store") / "lua"
        own = (folder / f"{name}.lua").read_text()
        self.text = (folder / "common.lua").read_text() + own if on_user else own
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


@cache
def _script(name: str, on_user: bool) -> Script:
    return Script(name, on_user=on_user)


@dataclass(frozen=True, slots=True)
class Command(Generic[T]):
    """One command: ``args[0]`` is its name, or, with a script, the first argument after the keys."""

    keys: tuple[str, ...]
    args: tuple[str | int | float, ...]
    parse: Callable[[Any], T]
    script: Script | None = None
    # The user whose revocations the reply begins with; None where there can be none.
    logs_for: str | None = None
    # The script is to run on the store that is trusted and on no other: the client puts its id before ``args``.
    names_store: bool = False
    # A primary has to answer, and which of two is the right one is for Sentinel to say.
    proves_primary: bool = False
    # It revokes: the replicas of WAIT_REPLICAS have to confirm it.
    is_revocation: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """Where in a store's history a revocation stands: behind the first ``number`` of the store ``store_id``.

    ``moment_ms``: up to which moment sessions were ended, by Redis' clock. ``use_until``: seconds of the epoch up to
    which what was revoked could be used, were the revocation lost; 0 where that is not known.
    """

    store_id: str
    number: int
    moment_ms: int
    use_until: int


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a sign-in: the record, and the older sessions that had to make room."""

    session: SessionRecord
    ended: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rotation:
    """What became of a refresh token: rotated, touched, grace, ahead, reuse or gone, and for the refused why."""

    outcome: str
    reason: str
    session: SessionRecord | EndedSession | None
    # This very use of the token ended the session.
    ended: bool
    # The session began with a token that had none.
    is_adopted: bool = False
    # Older sessions that had to make room for it.
    made_room: tuple[str, ...] = ()
    # Where the session stands in the status lists; "" if nowhere.
    place: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """Sessions that this call ended; those that were over before are not among them."""

    sids: tuple[str, ...]
    written: Written


@dataclass(frozen=True, slots=True)
class Listed:
    """One token, or all of one key, is refused; ``added`` if it was not before."""

    added: bool
    written: Written


@dataclass(frozen=True, slots=True)
class ListedTokens:
    """Tokens are refused; ``added``: how many of them were not before."""

    added: int
    written: Written


@dataclass(frozen=True, slots=True)
class ListRead:
    """A status list, by Redis' clock of now: signed at ``signed_ms``, or its bits, None where it is withdrawn."""

    now_ms: int
    signed: str | None
    signed_ms: int
    bits: bytes | None


@dataclass(frozen=True, slots=True)
class Remembered:
    """What was known before: since when the thing itself, in ms, or None; and how many others of its kind."""

    since_ms: int | None
    others: int


@dataclass(frozen=True, slots=True)
class Everything:
    """Nobody from before ``before_ms`` is trusted."""

    before_ms: int
    written: Written


class LogEntry(NamedTuple):
    """One revocation as the log has it. ``id``: the stream's, which begins with Redis' clock in ms."""

    id: str
    number: int
    kind: str
    user: str
    target: str
    reason: str = ""

    @property
    def moment(self) -> float:
        """Seconds of the epoch, by Redis' clock."""
        return int(self.id.partition("-")[0]) / 1000


@dataclass(frozen=True, slots=True)
class LogPage:
    """Entries of the log, and the marker and Redis' clock (seconds of the epoch) of the same moment."""

    marker: Marker | None
    now: float
    entries: tuple[LogEntry, ...]


def _policy() -> tuple[str | int | float, ...]:
    """The arguments that common.lua reads before a script's own."""
    keep = int(leeway_seconds()) + MARGIN
    access = int(longest_access_lifetime())
    # Tokens from before there were sessions may have been given longer lives than are given now.
    longest = int(longest_lifetime() if config().legacy_tokens is None else longest_session())
    lasting = config().accepts_by_absence
    return (keep, access + keep, longest, access, int(lasting))


def new_id() -> str:
    """Of a store, or of whoever holds the lock."""
    return secrets.token_urlsafe(12)


def _on_user(name: str, user: str, args: Sequence[str | int | float], parse: Callable[[Any], T]) -> Command[T]:
    return Command(
        keys=(keys.user_key(user), keys.devices_key(user), keys.log_key(), keys.marker_key()),
        args=(*_policy(), *args),
        # The first element holds the revocations, for the client.
        parse=lambda reply: parse(reply[1:]),
        script=_script(name, True),
        logs_for=user,
        names_store=True,
    )


def _revoking(name: str, user: str, args: Sequence[str | int | float], parse: Callable[[Any], T]) -> Command[T]:
    return replace(_on_user(name, user, args, parse), is_revocation=True, proves_primary=True)


def _written(reply: Sequence[Any]) -> Written:
    store_id, number, moment_ms, use_until = reply
    return Written(str(store_id), int(number), int(moment_ms), int(use_until))


def _ended(reply: Any) -> Ended:
    return Ended(tuple(reply[1]), _written(reply[0]))


def read_state(claims: Claims) -> Command[UserState]:
    """What Redis knows of a token (HMGET): one key, one round trip."""
    session = keys.SESSION + (claims.sid or "")
    key = keys.user_key(claims.user)
    fields = (session, keys.BLACKLIST + claims.jti, keys.NOT_BEFORE)
    return Command((key,), ("HMGET", key, *fields), parse_user_state)


def read_marker() -> Command[Marker | None]:
    """The global record (HMGET); None where the store has none: it is new, or was lost."""
    key = keys.marker_key()
    fields = ("store_id", "born_ms", "not_before", "revocations", "mending", keys.REFUSED_KEYS)
    return Command((key,), ("HMGET", key, *fields), _marker)


def prove_marker() -> Command[Marker | None]:
    """:func:`read_marker`, refused by a server that takes no writes: a replica, or a primary without enough of them."""
    return Command(
        (keys.marker_key(),), (), lambda reply: _marker(reply[1:]), _script("marker", False), proves_primary=True
    )


def read_moment(*, proves_primary: bool) -> Command[tuple[Marker | None, float]]:
    """The marker and Redis' clock (seconds of the epoch). Any server that is asked proves to take writes;
    ``proves_primary``: and Sentinel is asked whether it is the one."""

    def parse(reply: Any) -> tuple[Marker | None, float]:
        return _marker(reply[1:]), int(reply[0]) / 1000

    return Command((keys.marker_key(),), (), parse, _script("marker", False), proves_primary=proves_primary)


def read_log(after: str, limit: int) -> Command[tuple[LogEntry, ...]]:
    """What the log has behind an entry (XRANGE), at most ``limit``. Not by a script, where each entry costs Redis six
    times as much."""
    key = keys.log_key()
    return Command((key,), ("XRANGE", key, f"({after}", "+", "COUNT", limit), _log_entries)


def read_log_from(first: str, limit: int) -> Command[tuple[LogEntry, ...]]:
    """:func:`read_log`, and the entry ``first`` itself."""
    key = keys.log_key()
    return Command((key,), ("XRANGE", key, first, "+", "COUNT", limit), _log_entries)


def read_log_end() -> Command[tuple[LogEntry, ...]]:
    """The log's last entry (XREVRANGE)."""
    key = keys.log_key()
    return Command((key,), ("XREVRANGE", key, "+", "-", "COUNT", 1), _log_entries)


def _log_entries(reply: Any) -> tuple[LogEntry, ...]:
    # Damaged by hand it is no stream: then it has no entries, and the numbers tell.
    entries = [one for one in reply or () if not isinstance(one, str)]
    return tuple(_log_entry(str(entry_id), _mapping(fields)) for entry_id, fields in entries)


def _log_entry(entry_id: str, fields: dict[str, str]) -> LogEntry:
    number = fields.get("number")
    # What somebody has added by hand has no number, and so is a gap.
    return LogEntry(
        entry_id,
        int(number) if _is_number(number) and number else 0,
        fields.get("kind", ""),
        fields.get("user", ""),
        fields.get("id", ""),
        fields.get("reason", ""),
    )


def read_field(field: str) -> Command[str | None]:
    """One field of the marker (HGET)."""
    return Command((keys.marker_key(),), ("HGET", keys.marker_key(), field), lambda reply: reply)


@dataclass(frozen=True, slots=True)
class History:
    """What a store has: its own revocations up to ``number``, and those of its former ``chapters`` up to theirs."""

    store_id: str
    number: int
    chapters: tuple[tuple[str, int], ...]


def begin_mending(
    token: str, seen_id: str, how: Literal["behind", "astray", "lost"], born_ms: int | None = None
) -> Command[History | None]:
    """A new chapter of the store, by whoever holds the lock; None when that is somebody else, or the id is another.

    ``seen_id``: the store's, "" for one that has none that could be read.
    ``how``: it has what came up to its number; its number says nothing; it is lost and born anew.
    """
    args = (token, seen_id, new_id(), how, "" if born_ms is None else born_ms)
    return Command((keys.marker_key(), keys.lock_key()), args, _history, _script("begin_mending", False))


def read_history() -> Command[History | None]:
    """The same, only read (HMGET)."""
    key = keys.marker_key()
    return Command((key,), ("HMGET", key, "store_id", "revocations", "chapters"), _history)


def _history(reply: Any) -> History | None:
    if not reply or not reply[0]:
        return None
    store_id, number, chapters = reply
    former = [chapter.rpartition(":") for chapter in (chapters or "").split(",") if chapter]
    known = tuple((name, int(count)) for name, _, count in former if _is_number(count))
    return History(store_id, int(number) if _is_number(number) else 0, known)


def trust_store(token: str, store_id: str, fields: Sequence[str]) -> Command[Marker | None]:
    """Mark these servers as trusted, by whoever holds the lock; None when that is somebody else."""
    script = _script("trust_store", False)
    return Command(
        (keys.marker_key(), keys.lock_key()), (token, store_id, *fields), lambda r: _marker(r) if r else None, script
    )


def take_lock(token: str, milliseconds: int) -> Command[bool]:
    """Whether the lock is ours now, for so long: it was free, or ours already."""
    return Command((keys.lock_key(),), (token, milliseconds), lambda reply: bool(reply), _script("take_lock", False))


def drop_lock(token: str) -> Command[bool]:
    """Let go of it, if it still is ours."""
    return Command((keys.lock_key(),), (token,), lambda reply: bool(reply), _script("drop_lock", False))


def use_once(what: str, nonce: str, milliseconds: int) -> Command[bool]:
    """Note that something is used, for so long. False where somebody else has, under another ``nonce``.

    With the same one it may be done again: a reply that was lost is no second use, and the time is the new one.
    """
    key = keys.once_key(what)
    script = _script("take_lock", False)
    return Command((key,), (nonce, milliseconds), lambda reply: bool(reply), script, proves_primary=True)


def drop_use(what: str, nonce: str) -> Command[bool]:
    """It was not used after all."""
    return Command((keys.once_key(what),), (nonce,), lambda reply: bool(reply), _script("drop_lock", False))


def read_refreshes() -> Command[dict[int, int]]:
    """How many refreshes there were, by the hour of the epoch (HGETALL); nothing in Cluster, where nobody counts."""
    key = keys.refreshes_key()

    def parse(reply: Any) -> dict[int, int]:
        found = _mapping(reply).items()
        return {int(hour): int(count) for hour, count in found if _is_number(hour) and _is_number(count)}

    return Command((key,), ("HGETALL", key), parse)


def read_clock() -> Command[int]:
    """Redis' own clock (TIME), in milliseconds."""
    return Command((), ("TIME",), lambda reply: int(reply[0]) * 1000 + int(reply[1]) // 1000)


def _marker(reply: Sequence[str | None]) -> Marker | None:
    """None also for a damaged one: :func:`trust_store` mends it."""
    store_id, *numbers, mending, refused = reply
    born, not_before, revocations = numbers
    if not store_id or born is None or not all(number is None or _is_number(number) for number in numbers):
        return None
    names = frozenset(refused.split(",")) if refused else frozenset()
    return Marker(store_id, int(born), int(not_before or 0), int(revocations or 0), mending is not None, names)


def _is_number(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit()


def read_session(user: str, sid: str) -> Command[UserState]:
    """One session of a user, by its id (HMGET)."""
    key = keys.user_key(user)
    return Command((key,), ("HMGET", key, keys.SESSION + sid), lambda reply: parse_user_state([reply[0], None, None]))


def read_sessions(user: str) -> tuple[Command[dict[str, SessionRecord | EndedSession]], Command[dict[str, str]]]:
    """All of a user's sessions, and the devices and labels beside them (HGETALL twice)."""
    user_key, devices_key = keys.user_key(user), keys.devices_key(user)
    return (
        Command((user_key,), ("HGETALL", user_key), _sessions),
        Command((devices_key,), ("HGETALL", devices_key), _mapping),
    )


def _mapping(reply: Any) -> dict[str, str]:
    # RESP3 replies with a map, RESP2 with a flat list.
    return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))


def _sessions(reply: Any) -> dict[str, SessionRecord | EndedSession]:
    found = {}
    for name, value in _mapping(reply).items():
        if name.startswith(keys.SESSION) and (record := parse_session(value)) is not None:
            found[name.removeprefix(keys.SESSION)] = record
    return found


def seconds_of_session(lifetime: int) -> int:
    """How old a session may become whose first refresh token has that ``lifetime``, both in seconds."""
    max_age = config().session_max_age
    # Not configured: a refresh token that was given a longer life by the project keeps it.
    return int(max_age.total_seconds()) if max_age else max(int(DEFAULT_MAX_AGE.total_seconds()), lifetime)


def open_session(
    user: str, sid: str, *, lifetime: int, nonce: str, fingerprint: str, device: str, place: str = ""
) -> Command[Opened]:
    """A sign-in. ``lifetime``: the refresh token's, in seconds. ``device``: JSON, or "" to keep none. ``place``: from
    :func:`take_place`."""
    seconds = seconds_of_session(lifetime)
    args = (sid, lifetime, seconds, config().max_sessions or 0, nonce, fingerprint, device, place)

    def parse(reply: Any) -> Opened:
        session = parse_session(reply[0])
        if not isinstance(session, SessionRecord):
            raise ValueError("open_session.lua replied with no session")
        return Opened(session, tuple(reply[1]))

    return _on_user("open_session", user, args, parse)


def rotate(
    claims: Claims,
    *,
    lifetime: int,
    nonce: str,
    fingerprints: Sequence[str],
    device: str,
    marker: Marker,
    rotating: bool,
    is_observing: bool = False,
    legacy_end: int = 0,
) -> Command[Rotation]:
    """A refresh token is used. ``lifetime``: its successor's, in seconds. ``rotating``: False leaves the token good.

    ``is_observing``: nothing ends a session, and the outcome tells what would. ``legacy_end``: when a token without a
    session has its end, in seconds of the epoch; it gets one. 0 for all others.
    """
    args = (
        claims.sid or "",
        claims.jti,
        claims.rotation or 0,
        nonce,
        int(config().refresh_grace * 1000),
        lifetime,
        ",".join(fingerprints),
        device,
        marker.not_before_ms,
        marker.born_ms,
        int(rotating),
        legacy_end,
        claims.iat,
        seconds_of_session(lifetime),
        config().max_sessions or 0,
        int(is_observing),
        claims.key,
    )

    def parse(reply: Any) -> Rotation:
        outcome, reason, text, ended, is_adopted, made_room, place = reply
        return Rotation(outcome, reason, parse_session(text), bool(ended), bool(is_adopted), tuple(made_room), place)

    return _on_user("rotate", claims.user, args, parse)


def note_adopted(user: str, sid: str) -> Command[Listed]:
    """A token from before there were sessions was given this one, and will not be given it again: where it is not there
    any more, its tombstone is."""
    return _revoking("note_adopted", user, (sid,), lambda reply: Listed(bool(reply[1]), _written(reply[0])))


def refuse_tokens(tokens: Sequence[tuple[str, int]], *, reason: str) -> Command[ListedTokens]:
    """Refuse tokens, pairs of ``jti`` and ``exp``, whosever they are. In Cluster one at a time."""
    # What comes behind the first two keys is left out there.
    told = [*tokens, *tokens] if len(tokens) == 1 else tokens
    keep, horizon = _policy()[:2]
    each = int(config().strategy == "blacklist")
    return Command(
        keys=(*(keys.token_key(jti) for jti, _ in told), keys.log_key(), keys.marker_key()),
        args=(len(told), keep, horizon, each, reason, *(part for pair in told for part in pair)),
        parse=lambda reply: ListedTokens(int(reply[2]), _written(reply[1])),
        script=_script("refuse_tokens", False),
        logs_for=keys.NOBODY,
        names_store=True,
        proves_primary=True,
        is_revocation=True,
    )


def read_refused(jti: str) -> Command[bool]:
    """Is a token refused, whosever it is (GET)?"""
    key = keys.token_key(jti)
    return Command((key,), ("GET", key), lambda reply: reply is not None)


def take_place(former: str, seconds: int) -> Command[str]:
    """A place in the status lists, ``LIST.INDEX``, that nobody else has or will have: for a session that may last so
    many ``seconds``. ``former``: the one it has, and keeps where that list is not withdrawn; "" for none."""
    wanted = config().status_list
    if wanted is None:
        raise ValueError("STATUS_LIST is None")
    size = wanted.size
    # By lot: a place says nothing of when, and of how many there are. Half of them stay free, so that one of these is.
    lots = [secrets.randbelow(size) for _ in range(_LOTS)]
    kept = seconds + int(longest_access_lifetime()) + int(leeway_seconds()) + MARGIN
    return Command(
        keys=(keys.marker_key(), keys.status_key()),
        args=(former, kept, size, size // 2, secrets.token_urlsafe(6), *lots),
        parse=str,
        script=_script("take_place", False),
        names_store=True,
    )


def set_place(user: str, sid: str, *, former: str, place: str) -> Command[str]:
    """A live session stands there from now on, if it still stands at ``former``, or nowhere by now. Where it stands; ""
    if it is over."""
    return _on_user("set_place", user, (sid, former, place), lambda reply: str(reply[0]))


def read_list(name: str, good_for_ms: int) -> Command[ListRead]:
    """A status list as it was signed last, or what is to be signed now: a signed one is ``good_for_ms``."""

    def parse(reply: Any) -> ListRead:
        now_ms, text, what, *bits = reply
        signed_ms, _, signed = text.partition("|")
        return ListRead(
            int(now_ms),
            signed or None,
            int(signed_ms) if signed else 0,
            bytes.fromhex(bits[0]) if what == "bits" else None,
        )

    return Command(
        keys=(keys.marker_key(), keys.status_list_key(name)),
        args=(name.partition(".")[0], good_for_ms),
        parse=parse,
        script=_script("read_list", False),
        names_store=True,
    )


def keep_list(name: str, token: str, *, signed_ms: int, is_withdrawn: bool, milliseconds: int) -> Command[bool]:
    """Let others serve what was signed of the state at ``signed_ms``, for so long (SET)."""
    key = keys.status_list_key(name) + (":withdrawn" if is_withdrawn else ":signed")
    return Command((key,), ("SET", key, f"{signed_ms}|{token}", "PX", milliseconds), bool)


def end_sessions(user: str, sids: Sequence[str], *, reason: str, unknown_too: bool = False) -> Command[Ended]:
    """End the sessions named. ``unknown_too``: leave a tombstone also where the store knows no such session."""
    return _revoking("end_session", user, (reason, int(unknown_too), *sids), _ended)


def end_other_sessions(user: str, sid: str, *, reason: str, before_ms: int | None = None) -> Command[Ended]:
    """End all of a user's sessions but ``sid``, or of those opened up to a moment."""
    before = "" if before_ms is None else before_ms
    return _revoking("end_other_sessions", user, (reason, sid, before), _ended)


def end_all_sessions(user: str, *, reason: str, before_ms: int | None = None) -> Command[Ended]:
    """End all of a user's sessions; the user's older tokens without a session are refused too.

    ``before_ms``: only those up to that moment, now if None.
    """
    return _revoking("end_all_sessions", user, (reason, "" if before_ms is None else before_ms), _ended)


def blacklist_token(user: str, jti: str, exp: int, *, reason: str, sid: str = "") -> Command[Listed]:
    """Refuse one token until ``exp``. ``sid``: its session, whose place in the status lists is given up; where it is
    not known, all of the user's are."""
    return _revoking(
        "blacklist_token", user, (jti, exp, reason, sid), lambda reply: Listed(bool(reply[1]), _written(reply[0]))
    )


def rebind_sessions(user: str, prints: Sequence[tuple[str, str, str]]) -> Command[int]:
    """Accept a second fingerprint. ``prints``: sid, old fingerprint, new one."""
    return _on_user("rebind_sessions", user, [part for triple in prints for part in triple], lambda r: int(r[0]))


def set_label(user: str, sid: str, label: str) -> Command[bool]:
    """Name a live session, "" to take its name away. Whether there is such a session."""
    return _on_user("set_label", user, (sid, label), lambda reply: bool(reply[0]))


def remember(user: str, field: str, *, seconds: int, at_ms: int | None = None) -> Command[Remembered]:
    """Keep for so many ``seconds`` that something was there, a device or a link that was used, since ``at_ms``.

    What is known from that very moment, now if None, or a later one does not count as known before.
    """

    def parse(reply: Any) -> Remembered:
        return Remembered(int(reply[0]) if reply[0] else None, int(reply[1]))

    args = (field, seconds, "" if at_ms is None else at_ms)
    return Command((keys.known_key(user),), args, parse, _script("remember", False))


def read_known(user: str, field: str) -> Command[int | None]:
    """Since when that is known (HGET), in ms; None if it is not."""
    key = keys.known_key(user)
    return Command((key,), ("HGET", key, field), _since)


def _since(reply: str | None) -> int | None:
    since = (reply or "").partition(".")[0]
    return int(since) if _is_number(since) else None


def prune(user_key: str, *, dry_run: bool, trusted_from: int = 0) -> Command[tuple[int, int, int]]:
    """Drop what has run out under one user's key: how many fields, and how many device fields without a session; and
    how many sessions are alive, of those opened since ``trusted_from`` (ms of the epoch)."""
    return Command(
        keys=(user_key, f"{user_key}:devices"),
        args=(*_policy(), int(dry_run), trusted_from),
        parse=lambda reply: (int(reply[1]), int(reply[2]), int(reply[3])),
        script=_script("prune", True),
        names_store=True,
    )


def revoke_everything(before_ms: int | None, *, reason: str) -> Command[Everything]:
    """Trust nobody from before a moment, now if None; and the moment in force afterwards."""
    args = (_policy()[1], "" if before_ms is None else before_ms, reason)
    return Command(
        keys=(keys.log_key(), keys.marker_key()),
        args=args,
        parse=lambda reply: Everything(int(reply[2]), _written(reply[1])),
        script=_script("revoke_everything", False),
        names_store=True,
        proves_primary=True,
        is_revocation=True,
    )


def refuse_key(kid: str, *, reason: str) -> Command[Listed]:
    """Refuse all that a key has signed, and will sign."""
    return Command(
        keys=(keys.log_key(), keys.marker_key()),
        args=(_policy()[1], kid, reason),
        parse=lambda reply: Listed(bool(reply[2]), _written(reply[1])),
        script=_script("refuse_key", False),
        names_store=True,
        proves_primary=True,
        is_revocation=True,
    )


def append_log(user: str, revocations: Sequence[Sequence[str]]) -> Command[int]:
    """In Cluster, where the log is in another slot: write a script's revocations to it."""
    flat = [part for revocation in revocations for part in revocation]
    args = (_policy()[1], keys.user_tag(user), *flat)
    return Command((keys.log_key(), keys.marker_key()), args, int, _script("append_log", False))
