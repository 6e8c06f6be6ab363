"""What a restore replaces, what is asked before, and its undo: the pages and the requests that they make."""

from __future__ import annotations

import re
import uuid

import pytest
from django.test import Client
from django.utils import timezone

from agents.errors import PlanRefused
from agents.facts.device import to_json
from agents.restore import Conflict, Mode
from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device, HostKey
from backupsite.recovery.folders import encode_path
from backupsite.recovery.forecasts import FRESH_FOR, find_forecast
from backupsite.recovery.models import RestoreForecast, RestorePoint
from backupsite.recovery.restores import ask_restore
from backupsite.recovery.wishes import MOST_SAVED, Wish, read_wish, why_not_saved
from backupsite.runs.models import Counter, Run
from backupsite.runs.states import State
from tests.agents.facts.samples import make_facts, make_mount
from tests.backupsite.making import make_device, make_point, make_run
from tests.backupsite.recovery.making import make_read_point
from tests.backupsite.recovery.test_restore_pages import make_answer, page_of


def replace_answer(point: RestorePoint, **fields: object) -> dict[str, object]:
    return make_answer(point, **{"to": "original", "conflict": "replace", "typed": "db-01", **fields})


def test_the_original_place_is_proposed_and_keeps_both(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    text = operator.get(page_of(point.device)).content.decode()
    assert re.search(r'value="original"[^>]* checked', text)
    assert re.search(r'value="keep-both"[^>]* checked', text)
    operator.post(page_of(point.device), make_answer(point, to="original", conflict="keep-both", target=""))
    wish = read_wish(Run.objects.get())
    assert (wish.target, wish.conflict, wish.mode) == (None, Conflict.KEEP_BOTH, Mode.MERGE)
    assert wish.places == ["/srv"]
    assert not Run.objects.get().request["safety"]


@pytest.mark.parametrize(
    "fields",
    [{"conflict": "replace"}, {"conflict": "skip", "exact": "on"}, {"conflict": "skip", "direct": "on"}],
)
@pytest.mark.parametrize("typed", ["", "db-1", "DB-01", "<b>"])
def test_whoever_replaces_types_the_name(operator: Client, fields: dict[str, str], typed: str) -> None:
    point = make_point(make_device(), None, timezone.now())
    answer = operator.post(page_of(point.device), replace_answer(point, **fields, typed=typed, safety="on"))
    assert answer.status_code == 422
    text = answer.content.decode()
    assert 'id="id_typed_error"' in text
    assert "<b>" not in text
    assert 'name="safety" id="id_safety" checked' in text
    assert not Run.objects.exists()


def test_what_is_replaced_is_saved_first_unless_somebody_says_no(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    operator.post(page_of(point.device), replace_answer(point, safety="on"))
    operator.post(page_of(point.device), replace_answer(point, exact="on", token=uuid.uuid4()))
    operator.post(page_of(point.device), replace_answer(point, exact="on", direct="on", token=uuid.uuid4()))
    assert [run.request["safety"] for run in Run.objects.order_by("number")] == [True, False, False]
    assert [run.request["mode"] for run in Run.objects.order_by("number")] == ["merge", "exact", "direct"]
    assert AuditEvent.objects.filter(verb="device.restore", detail__safety=True).count() == 1


def test_what_no_undo_brings_back_is_said_before(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    url = f"{page_of(point.device)}?part=outcome"
    lost = "What is written there after that backup, until the files are put into place, is lost."
    assert lost in operator.post(url, replace_answer(point, safety="on")).content.decode()
    assert lost not in operator.post(url, replace_answer(point)).content.decode()


def test_a_form_is_one_restore_even_after_it_ended(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    first = operator.post(page_of(point.device), replace_answer(point))
    Run.objects.update(state=State.SUCCEEDED)
    assert operator.post(page_of(point.device), replace_answer(point))["Location"] == first["Location"]
    assert AuditEvent.objects.filter(verb="device.restore").count() == 1
    operator.post(page_of(point.device), replace_answer(point, token=uuid.uuid4()))
    assert Run.objects.count() == 2


@pytest.mark.parametrize(
    "other", [{"conflict": "skip"}, {"safety": "on"}, {"to": "folder", "target": "/srv/x"}]
)
def test_a_form_that_now_asks_for_something_else_says_so(operator: Client, other: dict[str, str]) -> None:
    point = make_point(make_device(), None, timezone.now())
    operator.post(page_of(point.device), replace_answer(point))
    run = Run.objects.get()
    answer = operator.post(page_of(point.device), replace_answer(point, **other))
    assert answer.status_code == 422
    assert f"sent already, and run #{run.number}" in answer.content.decode()
    assert list(Run.objects.all()) == [run]
    assert AuditEvent.objects.filter(verb="device.restore").count() == 1


def test_a_size_that_was_learnt_between_two_clicks_is_no_other_wish(db: None) -> None:
    point = make_point(make_device(), None, timezone.now())
    runs = [
        ask_restore(
            Wish(point, "/srv", (), None, Conflict.SKIP, Mode.MERGE, size_bytes=size),
            has_safety=False, token="1", requested_by="ada",
        )
        for size in (0, 7)
    ]  # fmt: skip
    assert runs[0] == runs[1]


@pytest.mark.parametrize("token", ["", "nonsense", "<script>"])
def test_without_its_token_a_form_is_refused(operator: Client, token: str) -> None:
    point = make_point(make_device(), None, timezone.now())
    assert operator.post(page_of(point.device), replace_answer(point, token=token)).status_code == 422
    assert not Run.objects.exists()


def test_an_application_does_not_go_below_a_server_that_runs(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now(), source="postgresql:15/main", part="base.tar")
    assert "Original place" not in operator.get(page_of(point.device)).content.decode()
    assert operator.post(page_of(point.device), replace_answer(point)).status_code == 422
    assert not Run.objects.exists()


def test_everything_does_not_go_to_the_root(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now(), source="/", paths=[encode_path("/")])
    answer = operator.post(page_of(point.device), replace_answer(point))
    assert answer.status_code == 422
    assert "pick the folders" in answer.content.decode()


def test_what_cannot_be_saved_is_said_before(db: None) -> None:
    point = make_point(make_device(), None, timezone.now())
    wish = Wish(point, "/srv", ("a", "b"), None, Conflict.REPLACE, Mode.MERGE)
    assert why_not_saved(wish) == ""
    many = tuple(f"{number:03}" for number in range(MOST_SAVED + 1))
    assert "At most" in why_not_saved(Wish(point, "/srv", many, None, Conflict.REPLACE, Mode.MERGE))
    odd = Wish(point, "/srv", ("\udcff.txt",), None, Conflict.REPLACE, Mode.MERGE)
    assert "no text" in why_not_saved(odd)


def test_places_are_counted_once(db: None) -> None:
    point = make_point(make_device(), None, timezone.now())
    wish = Wish(point, "/srv", ("www/a", "www", "www-2", "b"), None, Conflict.REPLACE, Mode.MERGE)
    assert sorted(wish.places) == ["/srv/b", "/srv/www", "/srv/www-2"]
    elsewhere = Wish(point, "/srv", ("www/a",), "/var/x", Conflict.REPLACE, Mode.MERGE)
    assert elsewhere.places == ["/var/x/www/a"]


@pytest.mark.parametrize(("folder", "names"), [("/srv", ()), ("/", ("srv",))])
def test_a_folder_above_what_was_backed_up_is_never_exchanged(
    db: None, folder: str, names: tuple[str, ...]
) -> None:
    recorded = [encode_path("/srv/a"), encode_path("/srv/b/c")]
    point = make_point(make_device(), None, timezone.now(), source="/srv", paths=recorded)
    wish = Wish(point, folder, names, None, Conflict.REPLACE, Mode.EXACT)
    assert wish.places == ["/srv/a", "/srv/b/c"]
    inside = Wish(point, "/srv", ("b",), None, Conflict.REPLACE, Mode.EXACT)
    assert inside.places == ["/srv/b/c"]
    deeper = Wish(point, "/srv/a", ("x",), None, Conflict.REPLACE, Mode.EXACT)
    assert deeper.places == ["/srv/a/x"]
    elsewhere = Wish(point, "/srv", (), "/var/x", Conflict.REPLACE, Mode.EXACT)
    assert elsewhere.places == ["/var/x"]


def test_a_wish_survives_its_run(db: None) -> None:
    point = make_point(make_device(), None, timezone.now())
    wish = Wish(point, "/srv", ("\udcff.txt", "a b"), None, Conflict.SKIP, Mode.EXACT, True, 7)
    run = make_run(point.device, kind=Run.RESTORE, request={**wish.to_json(), "safety": False})
    assert read_wish(run) == wish
    foreign = make_run(make_device("web-01"), kind=Run.RESTORE, request=wish.to_json())
    with pytest.raises(PlanRefused):
        read_wish(foreign)


def test_a_safety_point_is_not_what_is_proposed(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    run = make_run(point.device, kind=Run.RESTORE)
    saved = make_point(point.device, None, timezone.now(), "/etc/hosts", run=run)
    text = operator.get(page_of(point.device)).content.decode()
    assert f'value="{point.pk}"' in text
    assert str(saved.pk) not in text
    assert operator.get(page_of(point.device), {"point": str(saved.pk)}).status_code == 200


def test_a_look_is_asked_for_and_shown(operator: Client) -> None:
    point = make_read_point()
    names = [encode_path("a.txt"), encode_path("b.txt")]
    fields = replace_answer(point, folder=encode_path("/srv"), name=names, safety="on", typed="")
    url = f"{page_of(point.device)}?part="
    text = operator.post(f"{url}outcome", fields, headers={"HX-Request": "true"}).content.decode()
    assert "Replace what is there on db-01" in text
    assert "?part=forecast" in text
    assert not Run.objects.exists()
    for _ in range(2):
        text = operator.post(f"{url}forecast", fields, headers={"HX-Request": "true"}).content.decode()
    run = Run.objects.get()
    assert run.kind == Run.FORECAST
    assert 'hx-trigger="load delay:1s"' in text
    said = {"files": 2, "bytes": 20, "existing": 2, "newer": 1, "newest_at": timezone.now().isoformat(),
            "newest_path": encode_path("/srv/<b>.txt"), "free_bytes": 5_000_000, "refusal": "", "remedy": "",
            "seconds": 3.0}  # fmt: skip
    RestoreForecast.objects.create(run=run, said=said)
    Run.objects.update(state=State.SUCCEEDED, ended_at=timezone.now())
    text = operator.post(f"{url}outcome", fields, headers={"HX-Request": "true"}).content.decode()
    assert "1 changed after that moment" in text
    assert "Replace 2 files on db-01" in text
    assert "/srv/&lt;b&gt;.txt" in text
    assert 'hx-trigger="load' not in text
    # What is done about what is in the way changes nothing about what is there.
    skipping = operator.post(f"{url}outcome", {**fields, "conflict": "skip"}).content.decode()
    assert "1 changed after that moment" in skipping
    RestoreForecast.objects.update(said={**said, "refusal": "<i>too small", "remedy": "Free some space."})
    text = operator.post(f"{url}outcome", fields).content.decode()
    assert "It would be refused: &lt;i&gt;too small" in text


def test_an_old_look_is_none(db: None) -> None:
    point = make_point(make_device(), None, timezone.now())
    wish = Wish(point, "/srv", (), None, Conflict.SKIP, Mode.MERGE)
    request = Wish(point, "/srv", (), None, Conflict.KEEP_BOTH, Mode.MERGE).to_json()
    run = make_run(point.device, kind=Run.FORECAST, request=request, ended_at=timezone.now())
    seen = find_forecast(wish)
    assert seen is not None
    assert seen.run == run
    Run.objects.update(ended_at=timezone.now() - 2 * FRESH_FOR)
    assert find_forecast(wish) is None


def test_a_look_is_never_made_by_reading_a_page(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    assert operator.get(f"{page_of(point.device)}?part=forecast").status_code == 200
    assert not Run.objects.exists()


def test_without_scripts_the_look_answers_with_the_page(operator: Client) -> None:
    point = make_point(make_device(), None, timezone.now())
    answer = operator.post(f"{page_of(point.device)}?part=forecast", replace_answer(point, typed=""))
    assert "<html" in answer.content.decode()
    assert Run.objects.get().kind == Run.FORECAST


def make_target(name: str = "web-01", state: State = State.SUCCEEDED, *, approved: bool = True) -> Device:
    """Another device, and its newest check."""
    device = make_device(name)
    if approved:
        HostKey.objects.create(
            device=device, key_type="x", blob=b"", fingerprint=name, state=HostKey.APPROVED
        )
    make_run(device, State.SUCCEEDED, Run.PROBE, ended_at=timezone.now())
    make_run(device, state, Run.PROBE, ended_at=timezone.now())
    Counter.objects.update_or_create(name="run", defaults={"value": 1000})
    return device


def test_another_device_gets_it(operator: Client) -> None:
    point, target = make_point(make_device(), None, timezone.now()), make_target()
    assert 'value="web-01"' in operator.get(page_of(point.device)).content.decode()
    fields = replace_answer(point, to="device", onto="web-01", target="/srv/x", typed="db-01", safety="on")
    text = operator.post(f"{page_of(point.device)}?part=outcome", fields).content.decode()
    assert "web-01 can read every restore point of db-01" in text
    # Whose files are replaced is whose name is typed.
    assert operator.post(page_of(point.device), fields).status_code == 422
    assert operator.post(page_of(point.device), {**fields, "typed": "web-01"}).status_code == 302
    run = Run.objects.get(kind=Run.RESTORE)
    wish = read_wish(run)
    assert (run.device, wish.device, wish.point, wish.target) == (target, target, point, "/srv/x")
    assert operator.get(run.get_absolute_url()).status_code == 200


@pytest.mark.parametrize("name", ["", "db-01", "failed-01", "pending-01", "new-01", "<b>"])
def test_only_a_checked_and_approved_device_gets_it(operator: Client, name: str) -> None:
    point = make_point(make_device(), None, timezone.now())
    make_target()
    make_target("failed-01", State.FAILED)
    make_target("pending-01", approved=False)
    make_device("new-01")
    fields = replace_answer(point, to="device", onto=name, target="/srv/x", typed=name)
    answer = operator.post(page_of(point.device), fields)
    assert answer.status_code == 422
    assert "Name another device, whose host key is approved" in answer.content.decode()
    assert not Run.objects.filter(kind=Run.RESTORE).exists()


@pytest.mark.parametrize(
    ("kind", "says"), [("btrfs", True), ("zfs", True), ("overlay", True), ("ext4", False)]
)
def test_where_removing_first_makes_no_room_the_page_says_so(operator: Client, kind: str, says: bool) -> None:
    facts = make_facts(make_mount("/srv", kind, "0:40"), make_mount("/", "ext4", "8:1"))
    point = make_point(make_device(facts=to_json(facts)), None, timezone.now())
    url = page_of(point.device)
    assert "on btrfs and ZFS" in operator.get(url).content.decode(), "before anybody chooses it"
    for mode in ("exact", "direct"):
        text = operator.post(f"{url}?part=outcome", replace_answer(point, **{mode: "on"})).content.decode()
        assert ("makes no room" in text and f"It is on {kind}" in text) is (says and mode == "direct")


def test_a_moment_that_was_saved_before_a_restore_says_so(operator: Client) -> None:
    device, now = make_device(), timezone.now()
    make_point(device, None, now)
    assert "saved before a restore" not in operator.get(page_of(device)).content.decode()
    make_point(device, None, now, run=make_run(device, kind=Run.RESTORE))
    assert operator.get(page_of(device)).content.decode().count("saved before a restore") == 1
