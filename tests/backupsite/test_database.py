"""Both engines: which one the tests run on, and that the migrations make the tables of the models there."""

from __future__ import annotations

import os
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


def test_the_tests_run_on_the_engine_that_was_asked_for() -> None:
    # Without this a second run "on PostgreSQL" could quietly be a second run on SQLite.
    assert connection.vendor == ("postgresql" if os.environ.get("DATABASE_URL") else "sqlite")


def test_the_migrations_make_what_the_models_say() -> None:
    call_command("makemigrations", check=True, dry_run=True, stdout=StringIO())
    tables = set(connection.introspection.table_names())
    assert set(connection.introspection.django_table_names(only_existing=False)) <= tables
