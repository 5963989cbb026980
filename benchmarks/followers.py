"""Processes that follow the revocation log, and what they are measured with: for the ``near_*`` suites.

A hundred processes are too many for a small machine. So one of many followers is the product itself, in a process of
its own, and the others are :class:`Crowd`: connections that send the very commands of a follower, waits and pauses
like a follower, two connections each, all in one process. What they spend of Redis is a follower's; what they spend
themselves is not, as they remember nothing.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import multiprocessing
import random
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import hiredis
import redis
from django.conf import settings
from django.core.signals import setting_changed

from benchmarks.stores import connect, use
from jwt_redis import keys, near_cache, recovery
from jwt_redis.conf import config
from jwt_redis.log_reading import PAGE, SPACING, WAITING, clock
from jwt_redis.near_cache.follower import Follower
from jwt_redis.store import client, commands, markers
from jwt_redis.store.commands import Command
from jwt_redis.testing.servers import RedisServer, die_with_parent

__all__ = ["Crowd", "child", "cpu_of", "fill_log", "follow", "load", "near_store", "percentile", "saturate", "words"]

# Forked, so that a child has Django set up. The parent starts no thread before.
_PROCESSES = multiprocessing.get_context("fork")


def percentile(values: Sequence[float], share: float) -> float:
    """The value that ``share`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))]


@contextlib.contextmanager
def near_store(**near: Any) -> Iterator[RedisServer]:
    """A server that the product uses, with a near cache by these settings. Its birth is long ago."""
    before = settings.JWT_REDIS
    with RedisServer() as server:
        use(server)
        _set({**before, "NEAR_CACHE": near})
        try:
            # Any question gives birth to the store.
            recovery.trusted(lambda: client.execute(commands.prove_marker()))
            with connect(server) as store:
                # Tokens of a store that has just been born are none that a near cache speaks for.
                store.hset(keys.marker_key(), "born_ms", 1)
                load(store, commands.read_moment(proves_primary=False))
                load(store, commands.end_sessions("0", "", reason=""))
            yield server
        finally:
            near_cache.stop(1)
            _set(before)


def _set(value: dict[str, Any]) -> None:
    settings.JWT_REDIS = value
    setting_changed.send(sender=None, setting="JWT_REDIS", value=value, enter=True)


# The log --------------------------------------------------------------------------------------------------------

_BATCH: Final = 2_000
# Behind common.lua, whose own `append` writes: so an entry is what a revocation's is.
_FILL: Final = """
local alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
math.randomseed(tonumber(ARGV[FIRST]))
for _ = 1, tonumber(ARGV[FIRST + 1]) do
  local id = {}
  for i = 1, 22 do
    local at = math.random(64)
    id[i] = string.sub(alphabet, at, at)
  end
  revocations = { { 'session', table.concat(id), int(NOW + ACCESS_LIFE), 'logout', '' } }
  append(MARKER, LOG, int(math.random(10000000)))
end
"""


def fill_log(server: RedisServer, count: int) -> None:
    """So many ends of sessions, as the product logs them, of sessions that were nowhere. Slower than they are read."""
    sample = commands.end_sessions("0", ["x"], reason="logout")
    assert sample.script is not None
    own = (sample.script.text.rpartition("return { revocations, ... }")[0]).rpartition("local function reply")[0]
    policy = sample.args[:-3]
    with connect(server) as store:
        script = store.script_load(own + _FILL)
        for first in range(0, count, _BATCH):
            args = ("", *policy, first, min(_BATCH, count - first))
            store.evalsha(script, len(sample.keys), *sample.keys, *args)
        number = int(store.hget(keys.marker_key(), "revocations") or 0)
        (last,) = store.xrevrange(keys.log_key(), count=1)
        assert store.xlen(keys.log_key()) == count and int(last[1]["number"]) == number, "gaps"


# Processes ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def child(target: Callable[..., None], *args: Any) -> Iterator[Connection]:
    """Run ``target(pipe, *args)`` in a process of its own, which ends with the block. The other end of its pipe."""
    ours, theirs = _PROCESSES.Pipe()
    process = _PROCESSES.Process(target=_in_child, args=(target, theirs, *args), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.terminate()
        process.join(2)
        if process.is_alive():  # its threads leave it no time to hear of it
            process.kill()
            process.join()


def _in_child(target: Callable[..., None], *args: Any) -> None:
    die_with_parent()
    target(*args)


def follow(pipe: Connection, *_: Any) -> None:
    """For :func:`child`: a process that follows the log and does nothing else.

    It says when it is ready. Told ("cpu",) it says what it has spent, told ("reach", number) when it has heard so
    many revocations.
    """
    settings_now = config()
    assert settings_now.near_cache is not None
    follower = Follower(settings_now, settings_now.near_cache)
    follower.start()
    while clock() >= follower.believed_until:
        time.sleep(0.005)
    pipe.send(time.monotonic())
    with contextlib.suppress(EOFError):
        while True:
            what, *args = pipe.recv()
            if what == "cpu":
                pipe.send(time.process_time())
                continue
            while len(follower.memory) < args[0]:
                time.sleep(0.002)
            pipe.send(time.monotonic())


# What Redis spends ----------------------------------------------------------------------------------------------


def cpu_of(store: redis.Redis) -> float:
    """Seconds that the server has spent so far."""
    info = store.info("cpu")
    return float(info["used_cpu_user"] + info["used_cpu_sys"])


def load(store: redis.Redis, command: Command[Any]) -> None:
    """For :func:`words`, which does not send a script's text."""
    assert command.script is not None
    store.script_load(command.script.text)


def words(command: Command[Any]) -> tuple[str | int | float, ...]:
    """A command as it goes over the wire, its script being loaded."""
    if command.script is None:
        return command.args
    named = (markers.store_id(),) if command.names_store else ()
    return ("EVALSHA", command.script.sha, len(command.keys), *command.keys, *named, *command.args)


def saturate(
    server: RedisServer, sent: Sequence[tuple[Command[Any], ...]], *, connections: int, seconds: float
) -> float:
    """Seconds of Redis for one question of one command or several, many connections asking at once.

    They wait for each other, so that Redis finds many commands whenever it looks, as a busy one does.
    """
    packed = [b"".join(hiredis.pack_command(words(command)) for command in question) for question in sent]
    with contextlib.ExitStack() as stack, connect(server) as store:
        wires = [_Wire(server.port) for _ in range(connections)]
        for wire in wires:
            stack.callback(wire.sock.close)
        calls, before, until = 0, cpu_of(store), time.monotonic() + seconds
        while time.monotonic() < until:
            for number, wire in enumerate(wires):
                wire.sock.sendall(packed[(calls + number) % len(packed)])
            for wire in wires:
                replies: list[Any] = []
                while len(replies) < len(sent[0]):
                    replies += wire.read()
                assert not any(isinstance(reply, Exception) for reply in replies), replies
            calls += connections
        return (cpu_of(store) - before) / calls


# A crowd --------------------------------------------------------------------------------------------------------


# Where in a command the id of the last entry belongs.
_AFTER: Final = "id"


class Crowd:
    """Light followers in one process, for :func:`child`: ``child(Crowd.run, port, size, waits)``.

    It says when it is ready; told ("reach", number) it says when all of them have heard so many revocations, told
    ("looks",) how often they have asked for entries.
    """

    @classmethod
    def run(cls, pipe: Connection, port: int, size: int, waits: bool) -> None:
        cls(pipe, port, size, waits)._serve()

    def __init__(self, pipe: Connection, port: int, size: int, waits: bool) -> None:
        near = config().near_cache
        assert near is not None
        self.waits = waits
        self.poll = near.poll
        self.wait_ms = int(WAITING * near.lease * 1000)
        self.looks = 0
        self._pipe = pipe
        self._target: int | None = None
        self._timers: list[tuple[float, int]] = []
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ, None)
        # Made once, as a crowd is to be a burden to Redis, not to itself.
        self.moment = hiredis.pack_command(words(commands.read_moment(proves_primary=False)))
        self.entries = commands.read_log(_AFTER, PAGE).args
        self.log = keys.log_key()
        self._lights = [_Light(self, port) for _ in range(size)]
        for number, light in enumerate(self._lights):
            self._selector.register(light.asking.sock, selectors.EVENT_READ, (light, light.asking))
            self._selector.register(light.waiting.sock, selectors.EVENT_READ, (light, light.waiting))
            # Not all at once.
            heapq.heappush(self._timers, (time.monotonic() + random.uniform(0, self.poll), number))
            light.at = number

    def later(self, light: _Light, seconds: float) -> None:
        heapq.heappush(self._timers, (time.monotonic() + seconds, light.at))

    def _serve(self) -> None:
        self._pipe.send(time.monotonic())
        while True:
            pause = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            for key, _ in self._selector.select(pause):
                if key.data is None:
                    try:
                        what, *args = self._pipe.recv()
                    except EOFError:
                        return
                    if what == "looks":
                        self._pipe.send(self.looks)
                    else:
                        self._target = args[0]
                else:
                    light, line = key.data
                    for reply in line.read():
                        light.heard(line, reply)
            while self._timers and self._timers[0][0] <= time.monotonic():
                self._lights[heapq.heappop(self._timers)[1]].go_on()
            if self._target is not None and all(light.number >= self._target for light in self._lights):
                self._target = None
                self._pipe.send(time.monotonic())


class _Wire:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader(encoding="utf-8")

    def send(self, *args: str | int | float) -> None:
        self.sock.sendall(hiredis.pack_command(args))

    def read(self) -> Iterator[Any]:
        self._reader.feed(self.sock.recv(1 << 20))
        while (reply := self._reader.gets()) is not False:
            yield reply


class _Light:
    """One follower, as Redis sees it. Compare ``Follower._wait`` and ``_look``."""

    def __init__(self, crowd: Crowd, port: int) -> None:
        self._crowd = crowd
        self.asking, self.waiting = _Wire(port), _Wire(port)
        self._last = "0"
        self.number = 0
        self.at = 0
        self._asked_at = 0.0
        self._has_moment = False
        self._is_pausing = False

    def go_on(self) -> None:
        """A pause is over."""
        if self._is_pausing and self._crowd.waits:
            self._wait()
        else:
            self._ask()

    def _ask(self) -> None:
        self._crowd.looks += 1
        self._asked_at = time.monotonic()
        after = "(" + self._last
        words = (after if word == f"({_AFTER}" else word for word in self._crowd.entries)
        self._has_moment = False
        self.asking.sock.sendall(self._crowd.moment + hiredis.pack_command(tuple(words)))

    def _wait(self) -> None:
        self._is_pausing = False
        crowd = self._crowd
        self.waiting.send("XREAD", "COUNT", 1, "BLOCK", crowd.wait_ms, "STREAMS", crowd.log, self._last)

    def heard(self, line: _Wire, reply: Any) -> None:
        if line is self.waiting:
            self._ask()
            return
        assert not isinstance(reply, Exception), reply
        if not self._has_moment:
            self._has_moment = True  # and then the entries
            return
        pause = 0.0
        if reply:
            self._last, fields = reply[-1]
            self.number = int(fields[fields.index("number") + 1])
            if len(reply) == PAGE:
                self._ask()
                return
            pause = max(0.0, SPACING - (time.monotonic() - self._asked_at))
        if self._crowd.waits and not pause:
            self._wait()
        else:
            self._is_pausing = True
            poll = 0.0 if self._crowd.waits else self._crowd.poll * random.uniform(0.8, 1.0)
            self._crowd.later(self, pause + poll)
