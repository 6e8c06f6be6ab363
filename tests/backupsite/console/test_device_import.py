"""Devices by the hundred, on the page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from agents.ssh.keys import make_key_pair
from backupsite import vault
from backupsite.accounts.models import AuditEvent
from backupsite.fleet.models import Device, HostKey, Tag
from backupsite.runs.models import Run
from tests.backupsite.hostile import MARKUP
from tests.backupsite.making import make_device, make_policy

pytestmark = pytest.mark.django_db
INVENTORY = """\
[web]
web-1 ansible_host=10.0.0.1
web-2 ansible_host=10.0.0.2 ansible_port=2222 ansible_user=deploy
[db]
db-1 ansible_host=10.0.0.3 ansible_ssh_common_args="-J jump@gate.example.org"
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, settings: Settings) -> None:
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()


def public_key() -> str:
    return " ".join(make_key_pair("x").public_line.split()[:2])


def send(operator: Client, text: str = INVENTORY, known: str = "", kind: str = "ansible") -> Any:
    return operator.post("/devices/import/", {"kind": kind, "text": text, "known_hosts": known})


def carried_of(answer: Any) -> str:
    found = re.search(r'name="carried" value="([^"]+)"', answer.content.decode())
    assert found is not None
    return found[1]


def apply(operator: Client, answer: Any, which: str = "all") -> Any:
    return operator.post("/devices/import/", {"carried": carried_of(answer), "which": which})


def test_an_inventory_becomes_devices(operator: Client) -> None:
    key, gate = public_key(), public_key()
    known = f"10.0.0.1 {key}\n[10.0.0.2]:2222 {key}\n10.0.0.3 {key}\ngate.example.org {gate}\n"
    shown = send(operator, known=known)
    assert shown.status_code == 200
    assert "<strong>3 new</strong>. The host keys of 3 are known" in shown.content.decode()
    assert not Device.objects.exists()
    answer = apply(operator, shown)
    assert (answer.status_code, answer["Location"]) == (302, "/devices/")
    found = Device.objects.get(name="web-2")
    assert (found.address, found.port, found.user) == ("10.0.0.2", 2222, "deploy")
    assert list(found.tags.values_list("name", flat=True)) == ["web"]
    behind = Device.objects.get(name="db-1")
    assert str(behind.jump_host) == "jump@gate.example.org"
    states = HostKey.objects.values_list("state", "decided_by")
    assert list(states) == [("approved", "ada")] * 4
    assert set(Run.objects.values_list("kind", flat=True)) == {Run.PROBE}
    verbs = list(AuditEvent.objects.order_by("id").values_list("verb", flat=True))
    assert (verbs.count("device.add"), verbs.count("hostkey.approve"), verbs[-1]) == (3, 4, "device.import")


def test_an_imported_device_joins_the_policies_of_its_tags(operator: Client) -> None:
    policy = make_policy(name="web-servers")
    policy.tags.add(Tag.objects.create(name="web"))
    apply(operator, send(operator))
    joined = policy.assignments.values_list("device__name", "is_by_name").order_by("device__name")
    assert list(joined) == [("web-1", False), ("web-2", False)]


def test_without_its_key_a_device_waits_for_a_person(operator: Client) -> None:
    apply(operator, send(operator, known=f"10.0.0.1 {public_key()}\n"))
    assert HostKey.objects.get().device == Device.objects.get(name="web-1")
    kinds = dict(Run.objects.values_list("device__name", "kind"))
    assert kinds == {"web-1": Run.PROBE, "web-2": Run.SCAN, "db-1": Run.SCAN}


def test_a_key_that_a_person_compared_is_not_replaced_by_a_file(operator: Client) -> None:
    apply(operator, send(operator, known=f"gate.example.org {public_key()}\n"))
    before = list(HostKey.objects.values())
    more = INVENTORY.replace("db-1 ansible_host=10.0.0.3", "db-2 ansible_host=10.0.0.4")
    apply(operator, send(operator, more, known=f"gate.example.org {public_key()}\n"))
    assert Device.objects.count() == 4
    assert list(HostKey.objects.values()) == before


def test_the_same_file_twice_adds_nothing(operator: Client) -> None:
    apply(operator, send(operator))
    events = AuditEvent.objects.count()
    again = send(operator)
    assert "<strong>3 there already</strong>" in again.content.decode()
    assert "Nothing is added." in again.content.decode()
    assert AuditEvent.objects.count() == events


def test_all_or_nothing_or_only_the_good_ones(operator: Client) -> None:
    make_device("web-1", address="192.0.2.1")
    shown = send(operator)
    text = shown.content.decode()
    assert "Another device has this name; it is reached at 192.0.2.1:22." in text
    assert 'value="all"' not in text
    answer = apply(operator, shown, "all")
    assert answer["Location"] == "/devices/import/"
    assert Device.objects.count() == 1
    apply(operator, shown, "good")
    assert set(Device.objects.values_list("name", flat=True)) == {"web-1", "web-2", "db-1"}


def test_what_changed_meanwhile_is_shown_again(operator: Client) -> None:
    shown = send(operator)
    make_device("web-1", address="192.0.2.1")
    answer = apply(operator, shown)
    assert "changed by somebody meanwhile" in answer.content.decode()
    assert Device.objects.count() == 1
    apply(operator, answer, "good")
    assert Device.objects.count() == 3


@pytest.mark.parametrize(
    ("kind", "text", "line", "sentence"),
    [
        ("ansible", "[web\n", 1, "This is no name of a group."),
        ("csv", "a,b\n", 1, "The first line names the columns"),
        ("ssh_config", "\n", 1, "There is no device in this file."),
        ("ssh_config", "".join(f"Host h{n}\n" for n in range(501)), 1, "More than 500 devices."),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(
    operator: Client, kind: str, text: str, line: int, sentence: str
) -> None:
    answer = send(operator, text, kind=kind)
    assert answer.status_code == 422
    assert f"Line {line}" in answer.content.decode()
    assert sentence in answer.content.decode()


def test_only_some_first_checks_are_started(operator: Client) -> None:
    rows = "".join(f"h{number},10.1.0.{number}\n" for number in range(1, 61))
    apply(operator, send(operator, f"name,address\n{rows}", kind="csv"))
    assert (Device.objects.count(), Run.objects.count()) == (60, 50)


def test_what_a_file_says_is_escaped(operator: Client) -> None:
    for text in MARKUP:
        for kind, file in (
            ("csv", f'name,address,tags\n"{text}","{text}","{text}"\n'),
            ("ssh_config", f"Host {text}\n"),
        ):
            answer = send(operator, file.replace('"">', '""">'), known=f"{text} {text} {text}", kind=kind)
            assert "<script>alert" not in answer.content.decode()
            assert "<img src=x" not in answer.content.decode()


def test_an_empty_form_and_an_old_page_say_so(operator: Client) -> None:
    answer = operator.post("/devices/import/", {"kind": "csv", "text": ""})
    assert (answer.status_code, "Choose a file" in answer.content.decode()) == (422, True)
    old = operator.post("/devices/import/", {"carried": "x"}, follow=True)
    assert "too old" in old.content.decode()


def test_strangers_see_nothing(stranger: Client) -> None:
    assert stranger.get("/devices/import/").status_code == 302
    assert send(stranger).status_code == 302
    assert not Device.objects.exists()
