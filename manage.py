#!/usr/bin/env python3
"""Hotfleet's command line: `manage.py serve` starts everything."""

import os
import sys

from django.core.management import execute_from_command_line

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backupsite.settings")
    execute_from_command_line(sys.argv)
