"""The audit trail: append-only, chained, in the caller's transaction."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction

from backupsite.accounts.audit import GENESIS, record, verify_chain
from backupsite.accounts.audit_guard import drop_guard
from backupsite.accounts.models import AuditEvent

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]


def test_each_event_names_the_one_before() -> None:
    record("ada", "device.added", "db-01", {"port": 22})
    record("ada", "device.deleted", "db-01")
    first, second = AuditEvent.objects.all()
    assert first.previous_hash == GENESIS
    assert second.previous_hash == first.hash
    assert verify_chain().count == 2
    assert verify_chain().broken_id is None


def test_an_event_vanishes_with_the_transaction_that_it_tells_of() -> None:
    class Stop(Exception):
        pass

    def add_and_fail() -> None:
        with transaction.atomic():
            record("ada", "device.added", "db-01")
            raise Stop

    with pytest.raises(Stop):
        add_and_fail()
    assert not AuditEvent.objects.exists()


@pytest.mark.parametrize(
    "statement", ["UPDATE accounts_auditevent SET actor = 'eve'", "DELETE FROM accounts_auditevent"]
)
def test_the_database_refuses_to_change_it(statement: str) -> None:
    record("ada", "device.added", "db-01")
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE accounts_auditevent SET actor = 'eve' WHERE id = {second}",
        "UPDATE accounts_auditevent SET detail = '{{\"port\": 23}}' WHERE id = {first}",
        "DELETE FROM accounts_auditevent WHERE id = {second}",
        "DELETE FROM accounts_auditevent WHERE id = {first}",
    ],
)
def test_a_change_past_the_guard_breaks_the_chain(statement: str) -> None:
    for port in (22, 2222, 22222):
        record("ada", "device.changed", "db-01", {"port": port})
    first, second, _ = AuditEvent.objects.values_list("id", flat=True)
    drop_guard(connection)
    with connection.cursor() as cursor:
        cursor.execute(statement.format(first=first, second=second))
    assert verify_chain().broken_id is not None
    with pytest.raises(CommandError, match="does not fit"):
        call_command("verify_audit")


def test_it_stores_what_a_device_may_say() -> None:
    record("ada", "source.found", "a\0b\udcff", {"paths": ["/srv/\udcff\0", "/ö"]})
    event = AuditEvent.objects.get()
    assert event.subject == "a\\0b\\udcff"
    assert event.detail == {"paths": ["/srv/\\udcff\\0", "/ö"]}
    assert verify_chain().broken_id is None


def test_it_refuses_a_float() -> None:
    with pytest.raises(TypeError):
        record("ada", "x", "y", {"share": 0.1})  # type: ignore[dict-item]  # what the test is about
