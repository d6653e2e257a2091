#!/usr/bin/env python
from __future__ import annotations

import os
import sys

from example_project import garbage


def main() -> None:
    garbage.collect_rarely()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "example_project.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
