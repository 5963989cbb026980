"""What a deployment asks of Redis, from what was measured: ``python benchmarks/scale_model.py``.

Every input below is an option: ``python benchmarks/scale_model.py --processes 500 --revocations 5``. It needs Python
alone. Microseconds are of one core of Redis.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, fields

HOUR, DAY = 3600, 86_400


@dataclass(frozen=True)
class Inputs:
    """Who: assumed. What it costs: measured by the suites that are named, on the machine that their tables name."""

    # The deployment.
    sessions: float = 100e6
    active: float = 3e6  # of them, in use at the peak: each refreshes once an access lifetime
    processes: float = 10_000
    threads: float = 4  # of a process; each that asks Redis has a connection
    requests: float = 200_000  # with a token, per second, of all processes
    signins: float = 1_000  # per second
    revocations: float = 50  # per second; 100 million people who sign out every three weeks
    regions: float = 3
    round_trip_ms: float = 80  # between regions
    # Settings.
    access_s: float = 300  # ACCESS_TOKEN_LIFETIME
    leeway_s: float = 0  # LEEWAY
    kept_s: float = 60  # by which the log is kept longer, whatever clocks say
    refresh_days: float = 7  # REFRESH_TOKEN_LIFETIME
    lease_s: float = 1.0
    poll_s: float = 0.25
    max_waiting: float = 200
    from_memory: float = 0.98  # of the checks; suite near_propagation
    # What a command costs Redis; suite near_followers.
    check_us: float = 10
    signin_us: float = 48
    refresh_us: float = 71
    revocation_us: float = 65
    look_us: float = 25
    waited_us: float = 25  # XREAD BLOCK: to begin to wait, and to be woken
    entry_us: float = 1.1  # that a look brings
    # What a beginning costs; suite near_memory.
    entry_begun_us: float = 1.2  # of Redis, an entry
    entry_process_us: float = 6.5  # of the process that begins, an entry
    entry_bytes: float = 75  # of Redis
    remembered_bytes: float = 75  # of the process
    # Suite memory.
    session_bytes: float = 143  # 487 with devices
    # Measured once by hand: SAVE of 400,000 sessions, and a restart with them.
    saved_bytes: float = 81  # a session on disk
    loaded: float = 600_000  # sessions per second
    # On the wire, both directions, with what TCP adds.
    check_wire: float = 400
    look_wire: float = 450
    entry_wire: float = 190
    # Guessed, as they are the project's: a row of the journal with its indexes, and how many of them a process applies.
    row_bytes: float = 600
    rows_applied: float = 3_000  # per second
    # Where a core of Redis is called full. Above, waiting times grow.
    full: float = 0.7
    max_clients: float = 10_000  # Redis' default


class Model:
    """Each figure is one line of arithmetic."""

    def __init__(self, inputs: Inputs) -> None:
        self.i = i = inputs
        self.spacing_s = 0.02
        self.longest_wait_s = min(0.4 * i.lease_s, 0.4)
        # The log, and beginning to read it.
        self.horizon_s = i.access_s + i.leeway_s + i.kept_s
        self.entries = i.revocations * self.horizon_s
        # What does not depend on the near cache: seconds of a core in a second.
        self.refreshes = i.active / i.access_s
        self.writing = (i.signins * i.signin_us + self.refreshes * i.refresh_us + i.revocations * i.revocation_us) / 1e6
        self.checking_all = i.requests * i.check_us / 1e6
        self.checking = self.checking_all * (1 - i.from_memory)
        # Followers: so many wait, the others poll.
        self.waiters = min(i.processes, i.max_waiting)
        self.pollers = i.processes - self.waiters
        self.idle_following = self.following(0.0)
        self.now_following = self.following(i.revocations)

    def polling_each(self, revocations: float, poll_s: float | None = None) -> float:
        """Of one process, in seconds of Redis a second."""
        looks = 1 / (0.9 * (poll_s or self.i.poll_s))
        return (looks * self.i.look_us + revocations * self.i.entry_us) / 1e6

    def waiting_each(self, revocations: float) -> float:
        """The same of one that waits: woken by each revocation, but no oftener than once in the spacing."""
        wakes = max(1 / self.longest_wait_s, min(revocations, 1 / self.spacing_s))
        return (wakes * (self.i.look_us + self.i.waited_us) + revocations * self.i.entry_us) / 1e6

    def following(self, revocations: float) -> float:
        return self.waiters * self.waiting_each(revocations) + self.pollers * self.polling_each(revocations)

    @property
    def with_near_cache(self) -> float:
        return self.writing + self.checking + self.now_following

    @property
    def without(self) -> float:
        return self.writing + self.checking_all

    @property
    def worthwhile(self) -> float:
        """Requests per second and process from which on following costs Redis less than the checks that it saves."""
        return 1e6 * self.polling_each(self.i.revocations) / (self.i.check_us * self.i.from_memory)

    @property
    def most_pollers(self) -> float:
        """Processes that fill a core by polling alone, at these revocations."""
        return self.i.full / self.polling_each(self.i.revocations)

    @property
    def longest_poll(self) -> float:
        """The shortest poll with which all processes' looks, without what they bring, stay below a tenth of a core."""
        return self.i.processes * self.i.look_us / 1e6 / 0.9 / 0.1

    @property
    def most_revocations(self) -> float:
        """Per second, from which on bringing them to all processes fills a core, looks not counted."""
        return self.i.full * 1e6 / (self.i.processes * self.i.entry_us)

    @property
    def connections(self) -> float:
        # One a thread, and the follower's two.
        return self.i.processes * (self.i.threads + 2)

    @property
    def rows(self) -> float:
        return self.i.revocations * (self.i.refresh_days + 1) * DAY


def memory_and_disk(m: Model) -> Iterator[tuple[str, str, str]]:
    i = m.i
    yield "memory of the sessions", size(i.sessions * i.session_bytes), "half as much again while a fork saves"
    yield "snapshot, or base of the AOF", size(i.sessions * i.saved_bytes), ""
    yield "a restart until it answers", duration(i.sessions / i.loaded), "a failover does not wait for it: seconds"
    yield (
        "the log",
        f"{m.entries:,.0f} entries",
        f"{size(m.entries * i.entry_bytes)}; {m.horizon_s:,.0f} s of revocations",
    )
    yield "the near cache of a process", size(m.entries * i.remembered_bytes), "up to a third more before it forgets"
    yield "the journal", f"{m.rows:,.0f} rows", f"{size(m.rows * i.row_bytes)}; {i.revocations * DAY:,.0f} a day"
    yield (
        "applying all of it to a node of a Cluster that was promoted",
        duration(m.rows / i.rows_applied),
        f"at {i.rows_applied:,.0f} rows/s; the node's users get 503 meanwhile",
    )


def load(m: Model) -> Iterator[tuple[str, str, str]]:
    i = m.i
    yield "sign-ins", cores(i.signins * i.signin_us / 1e6), f"{i.signins:,.0f}/s"
    yield "refreshes", cores(m.refreshes * i.refresh_us / 1e6), f"{m.refreshes:,.0f}/s"
    yield "revocations", cores(i.revocations * i.revocation_us / 1e6), f"{i.revocations:,.0f}/s"
    yield "checks, no near cache", cores(m.checking_all), f"{i.requests:,.0f}/s"
    yield "checks that the near cache leaves", cores(m.checking), f"{i.requests * (1 - i.from_memory):,.0f}/s"
    yield (
        "followers, nothing revoked",
        cores(m.idle_following),
        f"{m.waiters:,.0f} wait, {m.pollers:,.0f} poll: {m.pollers / (0.9 * i.poll_s):,.0f} looks/s",
    )
    yield "followers, at these revocations", cores(m.now_following), f"{i.processes * i.revocations:,.0f} entries/s"
    yield "**in all, without a near cache**", cores(m.without), ""
    yield "**in all, with one**", cores(m.with_near_cache), ""
    yield "on the wire: checks, no near cache", bits(i.requests * i.check_wire), ""
    yield (
        "on the wire: followers",
        bits(i.processes * (i.look_wire / (0.9 * i.poll_s) + i.revocations * i.entry_wire)),
        "",
    )
    yield "connections", f"{m.connections:,.0f}", f"{i.threads:.0f} threads a process, and the follower's two"


def moments(m: Model) -> Iterator[tuple[str, str, str]]:
    i = m.i
    storm = m.waiters * (i.look_us + i.waited_us + i.entry_us) / 1e6
    unbounded = i.processes * (i.look_us + i.waited_us + i.entry_us) / 1e6
    yield (
        "one revocation wakes those that wait",
        duration(storm),
        f"{duration(unbounded)} if all {i.processes:,.0f} waited",
    )
    yield (
        "a process begins",
        duration(m.entries * i.entry_process_us / 1e6),
        "of its processor; it asks Redis meanwhile",
    )
    yield "all begin at once", duration(i.processes * m.entries * i.entry_begun_us / 1e6), "of one core of Redis"
    million = 1e6 * i.entry_process_us / 1e6
    yield "a process begins, 1,000,000 in the log", duration(million), f"{size(1e6 * i.remembered_bytes)} of its memory"
    yield (
        "1,000,000 users signed out one by one reach all processes",
        duration(1e6 * i.processes * i.entry_us / 1e6),
        "of one core; `revoke_everything` is one entry",
    )


def bounds(m: Model) -> Iterator[tuple[str, str, str]]:
    i = m.i
    yield (
        "polling processes that fill a core",
        f"{m.most_pollers:,.0f}",
        f"poll {i.poll_s:g} s, {i.revocations:,.0f} revocations/s",
    )
    yield "the same, nothing revoked", f"{i.full / m.polling_each(0.0):,.0f}", ""
    yield "revocations/s that fill a core", f"{m.most_revocations:,.1f}", f"{i.processes:,.0f} processes"
    yield (
        "poll for looks at a tenth of a core",
        f"{m.longest_poll:,.2f} s",
        f"so a lease of at least {2 * m.longest_poll:,.1f} s; what is revoked comes on top",
    )
    yield (
        "requests/s of a process from which on the near cache spares Redis work",
        f"{m.worthwhile:,.0f}",
        f"here it has {i.requests / i.processes:,.0f}",
    )
    yield "refreshes/s that fill a core", f"{i.full * 1e6 / i.refresh_us:,.0f}", f"{m.refreshes:,.0f} here"
    yield "direct checks/s that fill a core", f"{i.full * 1e6 / i.check_us:,.0f}", f"{i.requests:,.0f} here"
    yield "nodes for sessions and checks, no near cache", f"{m.without / i.full:,.1f}", "by load; users spread evenly"


def size(value: float) -> str:
    for unit, step in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= step:
            return f"{value / step:,.3g} {unit}"
    return f"{value:,.0f} B"


def bits(bytes_a_second: float) -> str:
    value = 8 * bytes_a_second
    return f"{value / 1e9:,.2f} Gbit/s" if value >= 1e9 else f"{value / 1e6:,.0f} Mbit/s"


def cores(seconds: float) -> str:
    return f"{seconds:.0%} of a core" if seconds < 1 else f"{seconds:,.1f} cores"


def duration(seconds: float) -> str:
    for unit, step in (("h", HOUR), ("min", 60), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= step:
            return f"{seconds / step:,.3g} {unit}"
    return f"{seconds * 1e6:,.0f} µs"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a deployment asks of Redis.")
    for field in fields(Inputs):
        parser.add_argument("--" + field.name.replace("_", "-"), type=float, default=field.default, metavar="NUMBER")
    model = Model(Inputs(**vars(parser.parse_args())))
    for title, rows in (("load", load), ("size", memory_and_disk), ("moments", moments), ("bounds", bounds)):
        print(f"| {title} | | |\n| --- | --- | --- |")
        for cells in rows(model):
            print("| " + " | ".join(cells) + " |")
        print()


if __name__ == "__main__":
    main()
