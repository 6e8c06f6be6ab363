"""What devices share is found, and restored, from each of them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from agents.backup import BackupOutcome
from backupsite.fleet.models import Device, HostKey
from backupsite.recovery.backups import lacks_points
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.sharing import list_newest_of_others, list_points
from backupsite.runs.models import Run
from tests.agents.facts.samples import make_facts
from tests.backupsite.making import make_device, make_point, make_policy, make_run

FACTS = make_facts()
pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def cluster() -> tuple[Device, Device, RestorePoint]:
    """Two devices; the service ran on db-01, and runs on db-02 now."""
    one, two = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, two, paths=("/etc", "/srv"))
    policy.sources.filter(path="/srv").update(is_shared=True)
    now = timezone.now()
    make_point(one, policy, now - 3 * HOUR, "/srv")
    newest = make_point(two, policy, now - HOUR, "/srv")
    for device in (one, two):
        make_point(device, policy, now, "/etc")
    return one, two, newest


def test_a_device_lists_what_others_stored_of_what_it_shares(
    operator: Client, cluster: tuple[Device, Device, RestorePoint]
) -> None:
    one, _, newest = cluster
    assert sorted((point.device.name, point.source) for point in list_points(one)) == [
        ("db-01", "/etc"),
        ("db-01", "/srv"),
        ("db-02", "/srv"),
    ]
    assert list_points(make_device("db-03")).count() == 0
    text = operator.get(f"/devices/{one.slug}/points/").content.decode()
    assert "db-02 · <code>/srv</code>" in text and "db-02 · <code>/etc</code>" not in text
    assert f"/devices/db-02/restore/?point={newest.pk}&amp;to=device&amp;onto=db-01" in text


def test_the_page_of_a_restore_offers_the_newest_of_another_device(
    operator: Client, cluster: tuple[Device, Device, RestorePoint]
) -> None:
    one, two, newest = cluster
    assert list_newest_of_others(one) == [newest]
    assert list_newest_of_others(two) == [], "the newest is its own"
    text = operator.get(f"/devices/{one.slug}/restore/").content.decode()
    assert "Restore onto db-01" in text and "made by db-02" in text
    RestorePoint.objects.filter(pk=newest.pk).update(damage="a pack is broken")
    assert list_newest_of_others(one) == []


def test_a_device_that_stored_nothing_offers_what_the_others_did(operator: Client) -> None:
    one, fresh = make_device("db-01"), make_device("db-02")
    policy = make_policy(one, fresh)
    policy.sources.update(is_shared=True)
    make_point(one, policy, timezone.now())
    text = operator.get(f"/devices/{fresh.slug}/restore/").content.decode()
    assert "Nothing to restore yet" in text and "Restore onto db-02" in text


def test_the_link_leads_to_the_form_with_the_other_device_named(
    operator: Client, cluster: tuple[Device, Device, RestorePoint]
) -> None:
    one, two, newest = cluster
    make_run(one, kind=Run.PROBE, ended_at=timezone.now())
    HostKey.objects.create(
        device=one, key_type="ssh-ed25519", blob=b"x", fingerprint="SHA256:x", state=HostKey.APPROVED
    )
    address = f"/devices/{two.slug}/restore/?point={newest.pk}&to=device&onto={one.name}"
    text = operator.get(address).content.decode()
    assert text.count('value="db-01"') == 2, "in the field, and among the devices to choose from"


def test_the_page_of_a_device_says_who_made_it(
    operator: Client, cluster: tuple[Device, Device, RestorePoint]
) -> None:
    one, two, newest = cluster
    text = operator.get(f"/devices/{one.slug}/").content.decode()
    assert newest.get_absolute_url() in text and "this source is shared" in text
    assert "this source is shared" not in operator.get(f"/devices/{two.slug}/").content.decode()


def test_a_run_that_stores_nothing_is_good_only_where_all_is_with_another_device() -> None:
    assert lacks_points(BackupOutcome((), FACTS))
    assert lacks_points(BackupOutcome((), FACTS, waiting=("/etc",), elsewhere=("/srv",)))
    assert not lacks_points(BackupOutcome((), FACTS, elsewhere=("/srv",)))
