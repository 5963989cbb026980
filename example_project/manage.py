#!/usr/bin/env python
"""Django's command line for the demo."""

from __future__ import annotations

import os
import sys


def main() -> None:
    # Not setdefault: another project's settings in the environment are not for the demo.
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
