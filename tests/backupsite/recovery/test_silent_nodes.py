"""Maintenance of the others goes on while a node is silent."""

from __future__ import annotations

import pytest
from django.utils import timezone

from backupsite.recovery import maintenance_due
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_run, repository_of


@pytest.mark.django_db
def test_what_waits_for_a_silent_node_keeps_no_maintenance_waiting() -> None:
    now = timezone.now()
    far, near = make_device("far"), make_device("near")
    cellar = Node.objects.create(slug="cellar", name="cellar")
    storage = Storage.objects.create(node=cellar, name="far", path="/srv/far", marker="far")
    for device in (far, near):
        repository_of(device)
    Repository.objects.update(restic_id="a" * 64)
    Repository.objects.filter(device=far).update(storage=storage)
    for number in range(maintenance_due.MOST_WAITING):
        waiting = make_run(far, State.QUEUED, kind=Run.CHECK)
        Run.objects.filter(pk=waiting.pk).update(number=1000 + number)
    assert maintenance_due.start_checks(now) == 1
    assert Run.objects.exclude(device=far).get().device == near
    Run.objects.all().delete()
    assert maintenance_due.start_checks(now) == 1, "nothing is asked of a silent node"
    Run.objects.all().delete()
    Node.objects.filter(slug="cellar").update(heard_at=now)
    assert maintenance_due.start_checks(now) == 2
