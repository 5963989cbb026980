#!/usr/bin/env python
"""Commands of the issuer while run.py runs, which says how."""

from __future__ import annotations

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    if "EXAMPLES_VAR" not in os.environ:
        sys.exit("EXAMPLES_VAR is not set: run.py prints this command in full.")
    os.environ["DJANGO_SETTINGS_MODULE"] = "issuer.settings"
    execute_from_command_line(sys.argv)
