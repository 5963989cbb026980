"""``python -m benchmarks``: measure, and print a table in Markdown for each suite.

It judges, but never fails for a target that is missed: on another machine under another load it may be. Only ratios
are compared with targets, and bytes.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import time

import django

from benchmarks import pages, suites


def main() -> None:
    options = _options()
    # A server that is killed leaves its folder; one that is stopped does not.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    os.environ["DJANGO_SETTINGS_MODULE"] = "benchmarks.settings"
    django.setup()
    # That a store is new is worth a warning anywhere but here.
    logging.getLogger("jwt_redis").setLevel(logging.ERROR)
    from benchmarks.machine import machine
    from benchmarks.reports import summary, table

    where = machine()
    names = [options.only] if options.only else suites.names()
    reports = {}
    for name in names:
        began = time.monotonic()
        report = reports[name] = suites.load(name)(options.quick)
        text = table(report, where, is_quick=options.quick)
        print(f"## {name}: {report.title}\n\n{text}\n", flush=True)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        if options.write:
            if page := pages.page_of(name):
                pages.put(page, name, text)
            for chart in report.charts:
                pages.draw(chart)
    # A part of the suites would leave a part of the figures.
    if options.write and not options.only and pages.has_place(pages.README, "summary"):
        pages.put(pages.README, "summary", summary(reports.values(), where))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what this package costs.")
    parser.add_argument("--only", metavar="NAME", choices=suites.names(), help=", ".join(suites.names()))
    parser.add_argument("--quick", action="store_true", help="small sizes: shows that it runs, not what it costs")
    parser.add_argument(
        "--write", action="store_true", help="put tables and charts into docs/, and the headlines into README.md"
    )
    options = parser.parse_args()
    if options.write and options.quick:
        parser.error("--write is for real figures: without --quick")
    if options.write:
        for name in [options.only] if options.only else suites.names():
            if pages.page_of(name) is None:
                parser.error(f"no page in docs/ has a place for {name}: <!-- bench:{name} --> and <!-- /bench -->")
    return options


if __name__ == "__main__":
    main()
