"""The pages of drills, and the buttons that ask for one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.drilling.evidence import Check, Evidence, FileHash
from backupsite.accounts.models import AuditEvent
from backupsite.alerts.models import Notice
from backupsite.fleet.models import Device
from backupsite.policies.models import Policy
from backupsite.recovery.drill_keeping import keep_evidence, keep_impossible
from backupsite.recovery.drill_models import Drill, DrillRule
from backupsite.recovery.models import RestorePoint
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, make_point, make_policy, make_run
from tests.backupsite.recovery.making import HOSTILE

GOOD = Check("restore", True, "1,000 bytes were restored and read again", 1.5)
BAD = Check("manifest", False, "2 files are there, 3 were stored <script>", 0.5)


def make_evidence(*checks: Check, seconds: float = 42.0, **fields: Any) -> Evidence:
    return Evidence(checks or (GOOD,), 3, 1000, 40.0, 1.0, seconds, **fields)


def make_drill(point: RestorePoint, evidence: Evidence | None = None) -> Drill:
    """Evidence as a worker writes it down."""
    run = make_run(point.device, kind=Run.DRILL)
    keep_evidence(run, [point], evidence or make_evidence())
    return Drill.objects.get(run=run)


@pytest.fixture
def point(db: None) -> RestorePoint:
    device = make_device()
    return make_point(device, make_policy(device), timezone.now() - timedelta(hours=1))


def read(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def test_without_restore_points_it_says_what_comes_first(operator: Client, stranger: Client) -> None:
    assert "Nothing to drill yet" in read(operator, reverse("drills"))
    assert stranger.get(reverse("drills")).status_code == 302


def test_a_device_with_points_was_never_drilled_until_it_was(operator: Client, point: RestorePoint) -> None:
    text = read(operator, reverse("drills"))
    assert reverse("device-drill", args=[point.device.slug]) in text
    keep_impossible(make_run(point.device, kind=Run.DRILL), [point], "no bubblewrap", "apt install it")
    assert "Its restore points were never proven" in read(operator, reverse("drills"))
    make_drill(point)
    text = read(operator, reverse("drills"))
    assert "Every device with restore points was drilled at least once." in text
    assert ": Could not be done, 2 drills" in text


def test_the_evidence_is_shown(operator: Client, stranger: Client, point: RestorePoint) -> None:
    DrillRule.objects.create(policy=Policy.objects.get(), rto=timedelta(seconds=30))
    hashes = (FileHash("/srv/\udcff\u202eevil", 7, "ab" * 32),)
    drill = make_drill(point, make_evidence(hashes=hashes, notes=("nobody looked at the mail",)))
    text = read(operator, drill.get_absolute_url())
    assert "This restore point can be brought back" in text
    assert "Longer than the RTO of 30" in text
    assert "/srv/\\xff[U+202E]evil" in text
    assert "nobody looked at the mail" in text
    assert "ab" * 32 in text
    assert drill.run is not None
    assert reverse("run-log", args=[drill.run.number]) in text
    assert stranger.get(drill.get_absolute_url()).status_code == 302
    assert operator.get(reverse("drill", args=[drill.pk + 1])).status_code == 404
    assert "42\u00a0s" in read(operator, reverse("device-drills", args=[point.device.slug]))


def test_bad_data_marks_the_point_and_tells_people(operator: Client, point: RestorePoint) -> None:
    drill = make_drill(point, make_evidence(GOOD, BAD))
    point.refresh_from_db()
    assert (drill.result, point.drill_state, point.verified_at) == ("failed", "failed", drill.at)
    notice = Notice.objects.get(kind="drill-failed")
    assert notice.url == drill.get_absolute_url()
    assert "manifest: 2 files are there, 3 were stored" in notice.text
    text = read(operator, drill.get_absolute_url())
    assert "1 of 2 checks failed" in text
    assert "<script>" not in text.partition("What was checked")[2].partition("</table>")[0]
    assert "This restore point failed its drill." in read(operator, point.get_absolute_url())
    assert "Failed its drill" in read(operator, reverse("points"))
    make_drill(point)
    point.refresh_from_db()
    assert point.drill_state == RestorePoint.PROVEN
    assert "Proven by a drill" in read(operator, reverse("device-points", args=[point.device.slug]))


def sample(point: RestorePoint, *checks: Check) -> Drill:
    run = make_run(point.device, kind=Run.SAMPLE, request={"points": [str(point.pk)]})
    keep_evidence(run, [point], make_evidence(*checks))
    return Drill.objects.get(run=run)


def test_a_sample_that_passed_is_no_proof(operator: Client, point: RestorePoint) -> None:
    found = sample(point)
    point.refresh_from_db()
    assert (found.is_sample, found.machine, point.drill_state) == (True, "", RestorePoint.SAMPLED)
    assert point.verified_at is None
    text = read(operator, found.get_absolute_url())
    assert "only a drill proves that it can be" in text
    assert "Time to recover" not in text
    assert "Its restore points were never proven" in read(operator, reverse("drills"))
    assert f'href="{found.get_absolute_url()}"' not in read(operator, reverse("drills"))
    assert "Nobody knows yet that it can be restored" in read(operator, point.device.get_absolute_url())
    assert "Sampled, not drilled" in read(operator, point.get_absolute_url())
    assert "Sampled, not drilled" in read(operator, reverse("points"))
    assert found.run is not None
    assert "Sample of a restore point" in read(operator, found.run.get_absolute_url())
    make_drill(point, make_evidence(BAD))
    sample(point)
    point.refresh_from_db()
    assert point.drill_state == RestorePoint.REFUTED, "a sample proves less than the drill before it"
    Drill.objects.filter(is_sample=True).update(at=timezone.now() - timedelta(days=8))
    sample(point)
    assert Drill.objects.filter(is_sample=True).count() == 1, "old ones say nothing more"


def test_a_sample_that_failed_is_told_like_a_drill(operator: Client, point: RestorePoint) -> None:
    found = sample(point, BAD)
    point.refresh_from_db()
    assert (point.drill_state, point.verified_at) == (RestorePoint.REFUTED, found.at)
    notice = Notice.objects.get()
    assert (notice.kind, notice.title) == ("drill-failed", "db-01: a sample failed")
    assert "looked into and is not whole" in notice.text
    text = read(operator, reverse("drills"))
    assert found.get_absolute_url() in text
    assert "It was looked into and is not whole" in read(operator, found.get_absolute_url())
    run = found.run
    assert run is not None
    Run.objects.filter(pk=run.pk).update(state=State.FAILED, error_code="drill-failed")
    assert "The restore point is not whole" in read(operator, run.get_absolute_url())


def test_the_button_of_a_device_may_name_another_machine(operator: Client, point: RestorePoint) -> None:
    address, back = (reverse(name, args=[point.device.slug]) for name in ("device-drill", "device-drills"))
    assert operator.post(address, {"machine": "nobody"})["Location"] == back
    assert not Run.objects.exists()
    assert "There is no device of this name." in read(operator, back)
    box = make_device("drill-box")
    operator.post(address, {"machine": "drill-box"})
    run = Run.objects.get()
    assert run.request == {"points": [str(point.pk)], "machine": box.pk}
    assert AuditEvent.objects.get(verb="device.drill").detail["machine"] == "drill-box"
    Run.objects.all().delete()
    DrillRule.objects.create(policy=Policy.objects.get(), machine=box)
    operator.post(reverse("point-drill", args=[point.pk]))
    assert Run.objects.get().request["machine"] == box.pk, "as the rule says"
    Run.objects.all().delete()
    operator.post(address, {"machine": ""})
    assert "machine" not in Run.objects.get().request, "empty is the console's machine"


def test_what_could_not_be_done_marks_nothing(operator: Client, point: RestorePoint) -> None:
    run = make_run(point.device, State.FAILED, Run.DRILL)
    keep_impossible(run, [point], "bwrap is missing\0", "Install it.")
    drill = Drill.objects.get()
    point.refresh_from_db()
    assert (point.drill_state, point.verified_at) == (RestorePoint.NOT_DRILLED, None)
    assert not Notice.objects.exists()
    text = read(operator, drill.get_absolute_url())
    assert "This drill could not be done" in text
    assert "Install it." in text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_come_back_escaped(operator: Client, point: RestorePoint, name: str) -> None:
    file = FileHash(f"/srv/{name}", 1, "00")
    drill = make_drill(
        point, make_evidence(Check(name, False, f"{name}\0", 0.0), hashes=(file,), notes=(name,))
    )
    text = read(operator, drill.get_absolute_url())
    assert "<script>alert" not in text
    assert not set(text) & {"\u202e", "\x07", "\x1b"}


def test_the_button_of_a_point_asks_for_all_its_streams(
    operator: Client, stranger: Client, point: RestorePoint
) -> None:
    other = make_point(point.device, point.policy, point.made_at, part="extra.tar")
    make_point(point.device, point.policy, point.made_at, source="/etc")
    address = reverse("point-drill", args=[point.pk])
    assert operator.get(address).status_code == 405
    assert stranger.post(address).status_code == 302
    assert not Run.objects.exists()
    answer = operator.post(address)
    run = Run.objects.get()
    assert answer["Location"] == run.get_absolute_url()
    assert (run.kind, run.policy, run.requested_by) == (Run.DRILL, point.policy, "ada")
    assert run.request == {"points": sorted([str(point.pk), str(other.pk)])}
    operator.post(reverse("point-drill", args=[other.pk]))
    assert Run.objects.count() == 1, "a second click asks for the same"
    assert AuditEvent.objects.filter(verb="device.drill").exists()
    assert "for a free worker" in read(operator, run.get_absolute_url())
    assert "Being drilled" in read(operator, reverse("drills"))


def test_the_button_of_a_device_drills_the_newest_of_each_source(
    operator: Client, point: RestorePoint
) -> None:
    make_point(point.device, point.policy, point.made_at - timedelta(days=1))
    etc = make_point(point.device, point.policy, point.made_at - timedelta(days=1), source="/etc")
    address = reverse("device-drill", args=[point.device.slug])
    assert operator.get(address).status_code == 405
    assert operator.post(address)["Location"] == reverse("device-drills", args=[point.device.slug])
    asked = [run.request["points"] for run in Run.objects.order_by("number")]
    assert asked == [[str(etc.pk)], [str(point.pk)]]
    empty = make_device("new")
    assert operator.post(reverse("device-drill", args=["new"]))["Location"] == empty.get_absolute_url()


def test_a_page_of_many_devices_asks_no_more(
    operator: Client, point: RestorePoint, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    make_drill(point)
    for number in range(12):
        device: Device = make_device(f"web-{number}")
        for _ in range(3):
            make_drill(make_point(device, None, timezone.now()))
    with django_assert_max_num_queries(14):
        read(operator, reverse("drills"))


def test_what_was_proven_is_said_where_a_restore_begins(operator: Client, point: RestorePoint) -> None:
    address = reverse("device-restore", args=[point.device.slug])
    assert "proven by a drill" not in read(operator, address)
    device_page = read(operator, point.device.get_absolute_url())
    assert "Nobody knows yet that it can be restored" in device_page
    drill = make_drill(point)
    assert "proven by a drill" in read(operator, address)
    assert drill.get_absolute_url() in read(operator, point.device.get_absolute_url())
    make_drill(point, make_evidence(BAD))
    assert "failed its drill" in read(operator, address)


def test_the_run_leads_to_its_evidence(operator: Client, point: RestorePoint) -> None:
    drill = make_drill(point)
    run = drill.run
    assert run is not None
    Run.objects.filter(pk=run.pk).update(
        state=State.FAILED, error_code="drill-failed", request={"points": [str(point.pk)]}
    )
    text = read(operator, run.get_absolute_url())
    assert "The restore point failed its drill" in text
    assert drill.get_absolute_url() in text
    assert point.get_absolute_url() in text
    Run.objects.filter(pk=run.pk).update(error_code="tool-missing")
    Drill.objects.all().delete()
    text = read(operator, run.get_absolute_url())
    assert "which says nothing about the restore point" in text


def test_a_drill_of_the_second_copy_says_nothing_of_the_first(point: RestorePoint) -> None:
    def drill_copy(evidence: Evidence) -> str:
        run = make_run(point.device, kind=Run.DRILL, request={"from": "copy"})
        keep_evidence(run, [point], evidence)
        point.refresh_from_db()
        return point.drill_state

    assert drill_copy(make_evidence(BAD)) == RestorePoint.NOT_DRILLED, "the first one may be whole"
    assert Notice.objects.get(kind="drill-failed").text.startswith("The second copy of /srv made ")
    make_drill(point, make_evidence(BAD))
    assert drill_copy(make_evidence()) == RestorePoint.REFUTED, "the first one is as bad as it was"
    assert Drill.objects.count() == 3, "what was found is kept"
