"""Policies to and from a file, by page and by command."""

from __future__ import annotations

import io
import re
from datetime import time
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from backupsite.accounts.models import AuditEvent
from backupsite.fleet.devices import Actor
from backupsite.fleet.models import Device, Tag
from backupsite.policies.effective import TARGET, VALUES
from backupsite.policies.models import BlockedHours, Override, Policy, PolicyDevice
from backupsite.policies.overriding import set_override
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Storage
from tests.backupsite.hostile import MARKUP
from tests.backupsite.making import make_device, make_policy

pytestmark = pytest.mark.django_db
FILE = """\
policies:
- name: nightly
  daily: 02:30
  devices: [db-01]
  tags: [web]
  blocked hours:
  - {days: [Monday, Friday], from: 8:00, to: 18:00}
  sources:
  - path: /etc
  - path: /srv
    optional: true
"""


def send(operator: Client, text: str) -> Any:
    return operator.post(
        "/policies/import/", {"file": SimpleUploadedFile("p.yaml", text.encode()), "text": ""}
    )


def carried_of(answer: Any) -> str:
    found = re.search(r'name="carried" value="([^"]+)"', answer.content.decode())
    assert found is not None
    return found[1]


def snapshot() -> list[Any]:
    tables = (Policy, PolicyDevice, BlockedHours, Override, Tag, Device, AuditEvent)
    rows = [list(table._default_manager.order_by("pk").values()) for table in tables]
    return [
        *rows,
        list(Policy.tags.through.objects.values()),
        [list(p.sources.values()) for p in Policy.objects.all()],
    ]


def test_a_file_is_shown_then_applied_and_the_second_time_changes_nothing(operator: Client) -> None:
    make_device("db-01")
    shown = send(operator, FILE)
    assert shown.status_code == 200
    assert "is new, for 1 device." in shown.content.decode()
    assert not Policy.objects.exists()
    applied = operator.post("/policies/import/", {"carried": carried_of(shown)})
    assert (applied.status_code, applied["Location"]) == (302, "/policies/")
    policy = Policy.objects.get()
    assert (policy.schedule, policy.at_time) == ("daily", time(2, 30))
    assert [(each.weekdays, each.begins) for each in policy.blocked_hours.all()] == [("04", time(8))]
    assert list(policy.tags.values_list("name", flat=True)) == ["web"]
    assert [(s.path, s.is_optional) for s in policy.sources.all()] == [("/etc", False), ("/srv", True)]
    assert policy.assignments.get(device__name="db-01").next_due is not None
    before = snapshot()
    again = send(operator, FILE)
    assert "Nothing changes" in again.content.decode()
    operator.post("/policies/import/", {"carried": carried_of(again)})
    export = operator.get("/policies/export/")
    assert export["Content-Disposition"].startswith("attachment")
    call_command("policies", "import", write(export.content), stdout=io.StringIO())
    assert snapshot() == before


_files: list[Path] = []


@pytest.fixture(autouse=True)
def _place(tmp_path: Path) -> None:
    _files[:] = [tmp_path]


def write(content: str | bytes) -> str:
    path = _files[0] / "policies.yaml"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def test_a_tag_is_the_same_whatever_its_capitals_are(operator: Client) -> None:
    make_device("db-01")
    tagged = make_device("web-1")
    tagged.tags.add(Tag.objects.create(name="WEB"))
    shown = send(operator, FILE.replace("[web]", "[web, Web]"))
    assert "for 2 devices." in shown.content.decode()
    operator.post("/policies/import/", {"carried": carried_of(shown)})
    policy = Policy.objects.get()
    assert list(policy.tags.values_list("name", flat=True)) == ["WEB"]
    assert dict(policy.assignments.values_list("device__name", "is_by_name")) == {
        "db-01": True,
        "web-1": False,
    }
    assert "Nothing changes" in send(operator, FILE).content.decode()


def test_a_wrong_line_changes_nothing_at_all(operator: Client) -> None:
    make_device("db-01")
    before = snapshot()
    answer = send(
        operator, FILE + "- name: other\n  every: 1 h\n  devices: [db-99]\n  sources: [{path: /x}]\n"
    )
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "Line 14" in text
    assert "There is no device “db-99”." in text
    assert 'name="carried"' not in text
    assert snapshot() == before


def test_what_somebody_changed_meanwhile_is_shown_again(operator: Client) -> None:
    make_device("db-01")
    carried = carried_of(send(operator, FILE))
    make_policy(name="nightly")
    answer = operator.post("/policies/import/", {"carried": carried})
    assert answer.status_code == 200
    assert "changed by somebody meanwhile" in answer.content.decode()
    assert Policy.objects.get().schedule == Policy.EVERY
    operator.post("/policies/import/", {"carried": carried_of(answer)})
    assert Policy.objects.get().schedule == Policy.DAILY


def test_a_page_that_was_not_ours_is_refused(operator: Client) -> None:
    answer = operator.post("/policies/import/", {"carried": "eyJ0ZXh0IjoiIn0:x:y"}, follow=True)
    assert "too old" in answer.content.decode()
    assert not Policy.objects.exists()


def test_an_empty_form_says_so(operator: Client) -> None:
    answer = operator.post("/policies/import/", {"text": ""})
    assert answer.status_code == 422
    assert "Choose a file, or paste its text." in answer.content.decode()


def test_what_a_file_says_is_escaped(operator: Client) -> None:
    for text in MARKUP:
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        answer = send(operator, f'policies:\n- name: "{quoted}"\n  "{quoted}": 1\n')
        assert answer.status_code == 422
        assert "<script>alert" not in answer.content.decode()


def test_strangers_see_neither_page(stranger: Client) -> None:
    for url in ("/policies/import/", "/policies/export/"):
        assert stranger.get(url).status_code == 302
    assert stranger.post("/policies/import/", {"text": FILE}).status_code == 302


def test_export_is_not_posted_to(operator: Client) -> None:
    assert operator.post("/policies/export/").status_code == 405


def test_the_command_exports_what_it_imports(db: None) -> None:
    make_policy(make_device("db-01"), name="web", paths=("/etc", "/srv"))
    out = io.StringIO()
    call_command("policies", "export", stdout=out)
    changed = out.getvalue().replace("target: 10 h", "target: 12 h")
    dry = io.StringIO()
    with pytest.raises(CommandError) as stopped:
        call_command("policies", "import", write(changed), "--dry-run", stdout=dry)
    assert stopped.value.returncode == 3
    assert "target: 10 h → 12 h" in dry.getvalue()
    assert Policy.objects.get().rpo.total_seconds() == 10 * 3600
    call_command("policies", "import", write(changed), stdout=io.StringIO())
    assert Policy.objects.get().rpo.total_seconds() == 12 * 3600
    call_command("policies", "import", write(changed), "--dry-run", stdout=io.StringIO())
    assert [event.actor for event in AuditEvent.objects.filter(verb="policy.change")] == ["shell"]


def test_the_command_refuses_with_lines(db: None) -> None:
    with pytest.raises(CommandError, match=r"line 2: A policy needs its “name”\.") as stopped:
        call_command("policies", "import", write("policies:\n- every: 1 h\n  sources: [{path: /etc}]\n"))
    assert stopped.value.returncode == 1
    with pytest.raises(CommandError, match="cannot be read"):
        call_command("policies", "import", str(_files[0] / "missing.yaml"))


def test_a_repository_inside_of_a_source_is_refused_with_its_line(operator: Client) -> None:
    make_device("db-01", reach=Device.LOCAL, address="")
    Storage.objects.create(node=first_node(), name="main", path="/srv/backups", marker="x")
    answer = send(operator, FILE.replace("path: /srv", "path: /srv/backups/x"))
    assert answer.status_code == 422
    assert "Line 8" in answer.content.decode()
    assert (
        "Repositories are kept in /srv/backups: a backup of them would hold itself."
        in answer.content.decode()
    )


def test_own_values_of_devices_are_in_the_file_and_the_second_time_changes_nothing(operator: Client) -> None:
    first, second = make_device("db-01"), make_device("db-02")
    policy = make_policy(first, second, name="nightly", schedule="daily", at_time=time(2))
    target = VALUES[TARGET]
    set_override(Actor("ada"), policy.assignments.get(device=second), target, "9 h", timezone.now())
    exported = operator.get("/policies/export/").content.decode()
    assert "own values:\n  - device: db-02\n    target: 9 h\n" in exported
    before = snapshot()
    call_command("policies", "import", write(exported), stdout=io.StringIO())
    assert snapshot() == before
    changed = exported.replace(
        "device: db-02\n    target: 9 h", "device: db-01\n    target: 7 h\n    every: 2 h"
    )
    shown = send(operator, changed)
    assert "own values added: device db-01, target 7 h, every 2 h" in shown.content.decode()
    operator.post("/policies/import/", {"carried": carried_of(shown)})
    assert dict(Override.objects.values_list("field", "value")) == {
        "rpo": "7 h",
        "schedule": {"every": "2 h"},
    }
    assert set(Override.objects.values_list("assignment__device__name", flat=True)) == {"db-01"}
    verbs = list(AuditEvent.objects.order_by("pk").values_list("verb", flat=True))
    assert verbs.count("device.override") == 3 and verbs.count("device.override-end") == 1
    assert "policy.change" not in verbs, "the policy itself is what it was"
    before = snapshot()
    call_command("policies", "import", write(changed), stdout=io.StringIO())
    assert snapshot() == before
