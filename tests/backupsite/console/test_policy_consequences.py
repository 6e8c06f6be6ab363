"""What saving a policy means is said beside its form, before it is saved."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from backupsite.console.policy_consequences import find_window_conflicts
from backupsite.console.policy_preview import Pace
from backupsite.fleet.models import Device, Tag
from backupsite.policies.blocked import Blocked
from backupsite.policies.models import BlockedHours, Policy, Source
from backupsite.policies.upcoming import Upcoming
from backupsite.recovery.models import RestorePoint
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Node, Storage
from tests.backupsite.console.test_policy_pages import GOOD
from tests.backupsite.making import make_device, make_point, make_policy, make_run, source_fields

pytestmark = pytest.mark.django_db


def preview(operator: Client, policy: Policy | None, *devices: Device, **fields: Any) -> Any:
    slug = {"policy": policy.slug} if policy is not None else {}
    posted = {**GOOD, **slug, "devices": [device.pk for device in devices], **fields}
    return operator.post("/policies/preview/", posted)


def test_an_existing_policy_that_is_only_looked_at_changes_nothing(operator: Client) -> None:
    policy = make_policy(
        make_device(), make_device("db-02"), paths=("/etc", "/srv"), keep_max=timedelta(days=900)
    )
    BlockedHours.objects.create(policy=policy, begins=time(8), ends=time(18))
    page = operator.get(policy.get_absolute_url())
    assert page.context["consequences"].changes == []
    assert "Nothing is changed yet." in page.content.decode()


def test_what_changes_is_said_with_the_devices_and_the_restore_points(operator: Client) -> None:
    device, second = make_device(), make_device("db-02")
    policy = make_policy(device, paths=("/etc", "/srv"), rpo_hours=2)
    for hours in range(3):
        make_point(device, policy, timezone.now() - timedelta(hours=hours), "/etc")
    answer = preview(operator, policy, device, second, rpo="4 h", name="hourly")
    assert answer.context["consequences"].changes == [
        "devices added: db-02",
        "time zone: UTC → Europe/Berlin",
        "target: 2 h → 4 h",
        "source /etc removed: its 3 restore points stay",
        "source /srv, leave out: as usual → *.tmp",
    ]
    assert "What changes for 2 devices" in answer.content.decode()


def test_half_typed_fields_are_left_as_they_were(operator: Client) -> None:
    device = make_device()
    policy = make_policy(device, rpo_hours=3, time_zone="Europe/Berlin")
    policy.sources.update(excludes="*.tmp")
    answer = preview(operator, policy, device, rpo="4 f", when="cron", cron="x", cold_is_enabled="on")
    assert answer.context["consequences"].changes == []


def test_how_much_there_is_and_what_comes_new(operator: Client) -> None:
    first, second = make_device("a"), make_device("b")
    policy = make_policy(first)
    point = make_point(first, policy, timezone.now(), "/srv")
    point.size_bytes = 5_000_000_000
    point.save()
    storage = Storage.objects.get()
    storage.free_bytes = 1_000_000_000
    storage.save()
    answer = preview(operator, None, first, second)
    said = answer.context["consequences"]
    assert (said.sizes.known, said.sizes.asked, said.sizes.total_bytes) == (1, 2, 5_000_000_000)
    assert (said.first.asked, said.first.known, said.first.total_bytes) == (1, 1, 5_000_000_000)
    assert "There may be no room for it." in answer.content.decode()


def test_the_streams_of_one_run_are_counted_together(operator: Client) -> None:
    device, now = make_device(), timezone.now()
    policy = make_policy(device)
    old, new = make_run(device), make_run(device)
    for part, size, run in (("a", 10, new), ("b", 20, new), ("a", 400, old)):
        point = make_point(device, policy, now - timedelta(hours=1 if run == old else 0), "/srv")
        RestorePoint.objects.filter(pk=point.pk).update(size_bytes=size, run=run, part=part)
    said = preview(operator, None, device).context["consequences"]
    assert said.sizes.total_bytes == 30


def test_two_policies_about_the_same_data_are_told(operator: Client) -> None:
    devices = [make_device(f"db-{number}") for number in range(3)]
    make_policy(*devices, name="whole", paths=("/",))
    other = make_policy(devices[0], name="left", paths=())
    Source.objects.create(policy=other, path="/srv", mode=Source.OUT)
    answer = preview(operator, None, *devices[:2])
    assert answer.context["consequences"].conflicts == (
        "“left” leaves out /srv on db-0; this policy takes it all the same.",
        "/srv lies in /, which “whole” takes on db-0 and 1 more: kept twice.",
    )
    assert "“left” leaves out /srv on db-0" in answer.content.decode()


def test_a_path_in_another_one_is_told(operator: Client) -> None:
    fields = {
        **source_fields(0, path="/srv"),
        **source_fields(1, path="/srv/www"),
        "sources-TOTAL_FORMS": "2",
    }
    answer = preview(operator, None, make_device(), **fields)
    (said,) = answer.context["consequences"].conflicts
    assert said.startswith("/srv/www: It lies in /srv, which takes it too")


def make_window(gap: timedelta) -> Pace:
    start = datetime(2026, 11, 23, 3, tzinfo=UTC)
    return Pace("Daily", [Upcoming(start)], timedelta(0), None, gap, None)


def test_a_cold_window_that_is_too_tight_or_too_frequent_is_told() -> None:
    blocked = Blocked((("0123456", time(3, 20), time(18)),), "UTC")
    day, hour = timedelta(days=1), timedelta(hours=1)
    (tight,) = find_window_conflicts(make_window(day), blocked, ["redis"], timedelta(minutes=45))
    assert tight.startswith("20 min after the cold window begins, hours are blocked; runs take 45 min.")
    assert not find_window_conflicts(make_window(day), blocked, ["redis"], timedelta(minutes=20))
    (often,) = find_window_conflicts(make_window(hour), Blocked((), "UTC"), ["redis: stopped for 1 s"], hour)
    assert often == "24 times a day the cold window stops: redis: stopped for 1 s."
    assert not find_window_conflicts(None, blocked, ["redis"], hour)


@pytest.mark.parametrize(
    ("path", "excludes", "sentence"),
    [
        ("/backups/own", "", "Repositories are kept in /backups/own: a backup of them would hold itself."),
        ("/backups", "", "Repositories are kept in /backups/other, inside of this path"),
        ("/backups", "/backups/other", ""),
    ],
)
def test_a_repository_inside_of_a_source_is_refused_at_its_path(
    operator: Client, path: str, excludes: str, sentence: str
) -> None:
    for name in ("own", "other"):
        Storage.objects.create(node=first_node(), name=name, path=f"/backups/{name}", marker=name)
    here = make_device("here", reach=Device.LOCAL, address="")
    fields = source_fields(path=path, excludes=excludes)
    answer = operator.post("/policies/new/", {**GOOD, **fields, "devices": [here.pk]})
    assert answer.status_code == (422 if sentence else 302)
    assert sentence in answer.content.decode()
    elsewhere = make_device("elsewhere")
    free = operator.post("/policies/new/", {**GOOD, **fields, "name": "x", "devices": [elsewhere.pk]})
    assert free.status_code == 302


def test_tags_and_second_copies_are_told(operator: Client) -> None:
    device, tagged = make_device(), make_device("db-02")
    tagged.tags.add(Tag.objects.create(name="web"))
    policy = make_policy(device, rpo_hours=3, time_zone="Europe/Berlin")
    policy.sources.update(excludes="*.tmp")
    storage = Storage.objects.create(node=first_node(), name="vault", path="/mnt/vault", marker="x")
    more = {"has_tags": "1", "tags": "web", "tag_match": "any", "has_copy": "1", "copy_storage": storage.pk}
    answer = preview(operator, policy, device, **more)
    assert answer.context["consequences"].changes == [
        "tags added: web",
        "second copy: none → storage vault, keep as long as the first",
    ]
    assert "What changes for 2 devices" in answer.content.decode()


def test_devices_whose_copy_nobody_can_make_are_counted(operator: Client) -> None:
    device = make_device()
    make_point(device, None, timezone.now())
    cellar = Node.objects.create(slug="cellar", name="cellar")
    far = Storage.objects.create(node=cellar, name="far", path="/srv/far")
    near = Storage.objects.create(node=first_node(), name="near", path="/srv/near")
    typed = {"has_copy": "1", "copy_keep": "", "copy_storage": far.pk}
    text = preview(operator, None, device, **typed).content.decode()
    assert "1 device gets no second copy: far lies on the node cellar" in text
    typed["copy_storage"] = near.pk
    assert "no second copy" not in preview(operator, None, device, **typed).content.decode()
