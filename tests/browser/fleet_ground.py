"""A small fleet with one of everything that policies, schedules, retention and repositories bring, and the
addresses of all pages that show it."""

from __future__ import annotations

from datetime import time, timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from backupsite.fleet.models import Device, Tag
from backupsite.policies.models import BlockedHours, Override, Pause, Policy, PolicyDevice, Source
from backupsite.recovery.models import RestorePoint, RetentionHold
from backupsite.recovery.retiring_holds import hold
from backupsite.repositories.models import Node, Repository, SpaceSample, Storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import (
    make_device,
    make_point,
    make_policy,
    make_run,
    repository_of,
    source_fields,
)

GB = 1_000_000_000
KEPT = {"keep_last": "0", "keep_hourly": "0", "keep_daily": "0", "keep_weekly": "0", "keep_monthly": "0",
        "keep_yearly": "0", "keep_min": "0", "keep_max": "", "rest": "7 days"}  # fmt: skip
TYPED = {"when": "cron", "cron": "0 0 30 2 *", "at_time": "02:00", "weekday": "6", "time_zone": "Mars",
         "rpo": "soon", "name": "bad", "has_tags": "1", "tags": "-",
         "sources-TOTAL_FORMS": "1", "sources-INITIAL_FORMS": "0",
         **source_fields(path="/srv", excludes="*")}  # fmt: skip
INVENTORY = "web:\n  hosts:\n    web-07: {ansible_host: 10.9.9.9}\n    bad: {ansible_host: 'a b'}\n"

Posted = dict[str, str]


def fill(device: Device) -> None:
    """Given a device with facts, add its policy, its history, its storages, and what goes wrong with them."""
    now = timezone.now()
    site = Tag.objects.create(name="hamburg", is_site=True, most_runs=2)
    away = make_device("laptop-01", is_always_on=False)
    for each in (device, away):
        each.tags.add(site)
    policy = make_policy(
        device, away, paths=("/data/www",), cold_is_enabled=True, rpo_hours=2, rto=timedelta(hours=4)
    )
    policy.tags.add(site)
    Source.objects.create(policy=policy, path="/data/www/cache", mode="out")
    BlockedHours.objects.create(policy=policy, weekdays="01234", begins=time(8), ends=time(17))
    assigned = PolicyDevice.objects.get(policy=policy, device=device)
    Override.objects.create(assignment=assigned, field="rpo", value="4 h", made_by="ada")
    Pause.objects.create(device=away, until=now + timedelta(days=2), reason="<b>moved", made_by="ada")
    _add_history(device, policy)
    _add_storages(device)
    make_run(away, State.FAILED, error_text="No route to host.", error_code="unreachable")


def _add_history(device: Device, policy: Policy) -> None:
    now = timezone.now()
    for age in (1, 1.1, 2, 26, 60, 200, 900):  # two of them are one mark in the picture
        run = make_run(device, State.SUCCEEDED, policy=policy, at=now - timedelta(hours=age))
        make_point(device, policy, run.queued_at, "/data/www", run=run)
    oldest, older, *_ = RestorePoint.objects.order_by("made_at")
    RestorePoint.objects.filter(pk=oldest.pk).update(
        is_protected=True, protected_by="ada", damage="A file is torn."
    )
    rests = {"resting_since": now, "resting_why": "policy", "rests_until": now + timedelta(days=7)}
    RestorePoint.objects.filter(pk=older.pk).update(**rests)
    hold(device, RetentionHold.PERSON, "The auditor looks.", now)


def _add_storages(device: Device) -> None:
    today, repository = timezone.now().date(), repository_of(device)
    far = Node.objects.create(
        slug="cellar", name="Cellar", joined_at=timezone.now(), machine="cellar.example.org"
    )
    objects = Storage.objects.create(
        kind=Storage.S3, node=repository.storage.node, name="far away", path="s3:bucket", marker="m",
        endpoint="https://objects.example.org", bucket="bucket", account="hotfleet", reading_costs=True,
    )  # fmt: skip
    Storage.objects.create(node=far, name="shelf", path="/srv/shelf", marker="n")
    Repository.objects.create(storage=objects, sealed_password=b"", copy_of=repository)
    for age in range(20):
        day = today - timedelta(days=age)
        used = {"used_bytes": (90 - age) * GB, "free_bytes": (10 + age) * GB}
        SpaceSample.objects.create(storage=repository.storage, day=day, **used)


def list_pages(device: Device) -> dict[str, str]:
    """Return the address of each page by its name."""
    point = RestorePoint.objects.filter(resting_since=None).latest("made_at")
    tag, policy = Tag.objects.get(), Policy.objects.get()
    plain = {
        name: reverse(name)
        for name in (
            "fleet", "devices", "device-new", "devices-import", "tags", "policies", "policies-import",
            "policy-new", "retention", "repositories", "nodes", "storage-objects", "kit-sheet",
            "repository-adopt", "runs", "settings-about", "settings-notify",
        )
    }  # fmt: skip
    of_device = ("device", "device-edit", "device-delete", "device-retention", "device-points")
    return plain | {
        **{name: reverse(name, args=[device.slug]) for name in of_device},
        **{
            name: reverse(name, args=[policy.slug])
            for name in ("policy", "policy-delete", "policy-retention")
        },
        **{name: reverse(name, args=[tag.pk]) for name in ("tag", "tag-delete")},
        "override": f"{reverse('device', args=[device.slug])}values/{policy.slug}/rpo/",
        "override-keep": f"{reverse('device', args=[device.slug])}values/{policy.slug}/keep/",
        "pause": f"{reverse('pause')}?fleet=1",
        "template": f"{reverse('policy-new')}?template=web",
        "node-remove": reverse("node-remove", args=["cellar"]),
        "node-again": reverse("node-again", args=["cellar"]),
        "repository": reverse("repository", args=[repository_of(device).uuid]),
        "storage-reading": reverse("storage-reading", args=[Storage.objects.get(name="far away").pk]),
        "point-remove": reverse("point-remove", args=[point.pk]),
        "failed-run": Run.objects.get(state=State.FAILED).get_absolute_url(),
    }


def list_posts() -> dict[str, tuple[str, Posted, int]]:
    """Return what a page answers to what was typed: address, fields, and the status that it must have."""
    refused = 422
    return {
        "bad-policy": (reverse("policy-new"), TYPED, refused),
        "bad-retention": (reverse("policy-retention", args=["hourly"]), KEPT, refused),
        "bad-file": (reverse("policies-import"), {"text": "policies: [!!python/name:os]"}, refused),
        "import-plan": (reverse("devices-import"), {"kind": "ansible", "text": INVENTORY}, 200),
        "bad-import": (reverse("devices-import"), {"kind": "ansible", "text": "a: [b"}, refused),
        "bad-device": (reverse("device-new"), {"reach": "ssh", "name": "", "address": "a b"}, refused),
        "bad-objects": (reverse("storage-objects"), {"name": ""}, refused),
        "bad-adoption": (reverse("repository-adopt"), {}, refused),
        "bad-pause": (reverse("pause"), {"fleet": "1", "until": "never"}, refused),
        "bad-override": (f"{reverse('device', args=['db-01'])}values/hourly/rpo/", {"rpo": "soon"}, refused),
    }


def fetch(client: Client, path: str, typed: Posted | None = None, expected: int = 200) -> bytes:
    """Return a page. Raise AssertionError when it has another status than expected."""
    answer = client.get(path) if typed is None else client.post(path, typed)
    assert answer.status_code == expected, (path, answer.status_code)
    return answer.content
