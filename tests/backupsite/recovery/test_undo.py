"""The undo of a restore: when it is offered, what it asks for, and what its run says."""

from __future__ import annotations

import uuid

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from agents.errors import Cancelled
from agents.events import Event, Said
from agents.facts.device import to_json
from agents.restore import Conflict, Mode, RestoreOutcome
from backupsite.accounts.models import AuditEvent
from backupsite.recovery.folders import encode_path
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.restores import NOTHING_REPLACED, Restore, ask_restore, list_safety_points
from backupsite.recovery.undoing import find_subvolumes, open_up
from backupsite.recovery.wishes import Wish, make_undo
from backupsite.runs.models import Run, RunLine
from backupsite.runs.states import State
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.making import make_device, make_point, make_run
from tests.backupsite.recovery.making import make_node


def make_wish(point: RestorePoint, mode: Mode = Mode.MERGE) -> dict[str, object]:
    return {**Wish(point, "/srv", (), None, Conflict.REPLACE, mode).to_json(), "safety": True}


def test_the_undo_of_a_restore(operator: Client, stranger: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    wish = Wish(point, "/srv", (), None, Conflict.REPLACE, Mode.MERGE)
    run = ask_restore(wish, has_safety=True, token="1", requested_by="ada")
    Run.objects.update(state=State.SUCCEEDED, ended_at=timezone.now())
    url = reverse("restore-undo", args=[run.number])
    assert operator.get(url).status_code == 404
    saved = make_point(point.device, None, timezone.now(), run=run, paths=[encode_path("/srv")])
    assert list_safety_points(run) == [saved]
    assert url in operator.get(run.get_absolute_url()).content.decode()
    assert stranger.get(url).status_code == 302
    page = operator.get(url).content.decode()
    assert "comes back as it was when it was saved, before the restore began" in page
    assert f"{timezone.localtime(saved.made_at):%b %Y, %H:%M}" in page
    assert "is in no restore point: it does not come back" in page
    assert "exactly" not in page
    token = str(uuid.uuid4())
    assert operator.post(url, {"typed": "web-01", "token": token}).status_code == 422
    assert Run.objects.count() == 1
    for _ in range(2):
        answer = operator.post(url, {"typed": "db-01", "token": token})
    undo = Run.objects.exclude(pk=run.pk).get()
    assert answer["Location"] == undo.get_absolute_url()
    assert AuditEvent.objects.filter(verb="device.restore.undo").count() == 1
    assert undo.request == {"undo": str(run.pk), "number": run.number, "safety": True, "form": token}
    assert f"Undo of run #{run.number}" in operator.get(undo.get_absolute_url()).content.decode()
    assert f"Being undone by run #{undo.number}" in operator.get(run.get_absolute_url()).content.decode()
    undone = make_undo(saved)
    assert (undone.folder, undone.target, undone.mode) == ("/srv", None, Mode.EXACT)


@pytest.mark.parametrize("state", list(State))
def test_only_an_undo_that_succeeded_says_undone(operator: Client, state: State) -> None:
    point = make_point(make_device(), None, timezone.now())
    run = make_run(point.device, State.SUCCEEDED, Run.RESTORE, request=make_wish(point))
    make_point(point.device, None, timezone.now(), run=run)
    request = {"undo": str(run.pk), "number": run.number, "safety": True}
    undo = make_run(point.device, state, Run.RESTORE, request=request)
    text = operator.get(run.get_absolute_url()).content.decode()
    assert (f"Undone by run #{undo.number}" in text) is (state == State.SUCCEEDED)
    assert (f"Being undone by run #{undo.number}" in text) is not state.is_final
    is_left = state.is_final and state != State.SUCCEEDED
    assert (reverse("restore-undo", args=[run.number]) in text) is is_left


@pytest.mark.parametrize("mode", list(Mode))
def test_a_restore_that_was_cancelled_before_it_replaced_anything(
    operator: Client, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    point = make_point(make_device(), None, timezone.now())
    request = {**make_wish(point, mode), "safety": False}
    run = make_run(point.device, State.CANCELLED, Run.RESTORE, request=request)
    saved = make_point(point.device, None, timezone.now(), run=run)

    def be_cancelled(*args: object, **kwargs: object) -> None:
        raise Cancelled("The run was cancelled.")

    monkeypatch.setattr("backupsite.recovery.restores._restore", be_cancelled)
    said: list[Event] = []
    with pytest.raises(Cancelled):
        Restore().work(run, said.append, None)  # type: ignore[arg-type]  # nothing asks for its control
    is_untouched = mode is not Mode.DIRECT
    assert (Said(NOTHING_REPLACED) in said) is is_untouched
    for number, each in enumerate(said):
        assert isinstance(each, Said)
        RunLine.objects.create(run=run, sequence=number, at=timezone.now(), text=each.text)
    url, text = (
        reverse("restore-undo", args=[run.number]),
        operator.get(run.get_absolute_url()).content.decode(),
    )
    assert (url in text) is not is_untouched
    assert ("it can be undone" in text) is not is_untouched
    assert saved.get_absolute_url() in text
    assert operator.get(url).status_code == (404 if is_untouched else 200)


def test_an_undo_that_was_cancelled_in_its_second_half_can_be_undone(
    db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = make_device()
    restored = make_run(device, State.SUCCEEDED, Run.RESTORE)
    for source in ("/srv/a", "/srv/b"):
        make_point(device, None, timezone.now(), source, run=restored)
    request = {"undo": str(restored.pk), "number": restored.number, "safety": False}
    undo = make_run(device, State.RUNNING, Run.RESTORE, request=request)
    outcomes = [RestoreOutcome(1, 1, 1, 0, 0, 0, 0, is_complete=True)]

    def be_cancelled_later(*args: object) -> RestoreOutcome:
        if not outcomes:
            raise Cancelled("The run was cancelled.")
        return outcomes.pop()

    monkeypatch.setattr("backupsite.recovery.restores._restore", be_cancelled_later)
    said: list[Event] = []
    with pytest.raises(Cancelled):
        Restore().work(undo, said.append, None)  # type: ignore[arg-type]  # nothing asks for its control
    assert not outcomes
    assert Said(NOTHING_REPLACED) not in said


def test_only_a_restore_that_is_over_is_undone(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    backup = make_run(point.device)
    make_point(point.device, None, timezone.now(), run=backup)
    assert operator.get(reverse("restore-undo", args=[backup.number])).status_code == 404
    working = make_run(
        point.device, State.RUNNING, Run.RESTORE, request={"undo": str(backup.pk), "number": 1}
    )
    make_point(point.device, None, timezone.now(), run=working)
    assert operator.post(reverse("restore-undo", args=[working.number])).status_code == 302
    assert Run.objects.count() == 2


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("state", [state for state in State if state.is_final and not state.is_good])
def test_what_a_restore_that_was_cut_left_is_said(operator: Client, state: State, mode: Mode) -> None:
    point = make_point(make_device(), None, timezone.now())
    wish = Wish(point, "/srv", (), None, Conflict.REPLACE, mode)
    run = ask_restore(wish, has_safety=True, token="1", requested_by="ada")
    Run.objects.update(state=state, started_at=timezone.now(), ended_at=timezone.now())
    make_point(point.device, None, timezone.now(), run=run)
    text = operator.get(run.get_absolute_url()).content.decode()
    assert "it can be undone" in text
    assert ("never half" in text) is (mode is not Mode.DIRECT)
    assert ("may have been removed already" in text) is (mode is Mode.DIRECT)


@pytest.mark.parametrize(
    ("mount", "mode"), [("/srv", Mode.MERGE), ("/srv/deep", Mode.MERGE), ("/", Mode.EXACT)]
)
def test_where_something_is_mounted_no_folder_is_exchanged(db: None, mount: str, mode: Mode) -> None:
    point = make_point(make_device(), None, timezone.now(), paths=[encode_path("/srv")])
    undo = make_undo(point, [make_mount(mount, "xfs", "8:17")])
    assert (undo.mode, undo.conflict) == (mode, Conflict.REPLACE)


def test_subvolumes_are_opened_and_stay() -> None:
    facts = make_facts()
    assert "/data/nested" in find_subvolumes("/data", facts)
    assert find_subvolumes("/data/nested", facts) == ["/data/nested"]
    assert find_subvolumes("/data/other", facts) == find_subvolumes("/srv", facts) == []


def test_the_undo_at_a_subvolume_exchanges_what_is_in_it(db: None) -> None:
    point = make_point(make_device(), None, timezone.now(), "/data/x", paths=[encode_path("/data/x")])
    held = {
        "/data/x": [make_node("deep", "dir"), make_node("a"), make_node("other", "dir"), make_node("away")],
        "/data/x/deep": [make_node("inner", "dir"), make_node("\udcff")],
        "/data/x/deep/inner": [make_node("b"), make_node("link", "symlink")],
    }
    subvolumes = ["/data/x/deep/inner", "/data/x/away"]
    undo = open_up(make_undo(point), subvolumes, lambda folder: held[folder])
    names = ("deep/inner/b", "deep/inner/link", "deep/\udcff", "a", "other", "away")
    assert (undo.mode, undo.names) == (Mode.EXACT, names)
    assert open_up(make_undo(point), ["/data/x"], lambda folder: []).names == ()


@pytest.mark.parametrize(
    ("folder", "said"), [("/data/nested", "subvolume of btrfs"), ("/run/x/y", ""), ("/data", "mounted there")]
)
def test_the_page_says_where_what_came_stays(operator: Client, folder: str, said: str) -> None:
    device = make_device(facts=to_json(make_facts()), facts_at=timezone.now())
    point = make_point(device, None, timezone.now())
    run = make_run(device, State.SUCCEEDED, Run.RESTORE, request=make_wish(point))
    make_point(device, None, timezone.now(), folder, run=run, paths=[encode_path(folder)])
    text = operator.get(reverse("restore-undo", args=[run.number])).content.decode()
    assert ("what came with the restore" in text) is bool(said)
    assert said in text


def test_the_queries_of_the_list_and_of_the_question_do_not_grow(
    operator: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    point = make_point(make_device(), None, timezone.now(), "/srv")
    for number in range(6):
        run = make_run(point.device, kind=Run.RESTORE, request=make_wish(point))
        for saved in range(number):
            make_point(point.device, None, timezone.now(), f"/srv/{saved}", run=run)
    with django_assert_num_queries(4):  # session, user, count, page
        operator.get(reverse("restores"))
    with django_assert_num_queries(6):  # session, user, run, what it saved twice, what it restored
        text = operator.get(reverse("restore-undo", args=[run.number])).content.decode()
    assert text.count("/srv/") >= 5
