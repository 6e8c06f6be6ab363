"""Nodes: added by one line, joined once, removed after a question; a silent one is told."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.commands import Secret
from agents.errors import AgentError, PlanRefused
from backupsite import environment, vault
from backupsite.accounts.models import AuditEvent
from backupsite.alerts.models import Notice
from backupsite.console import nodes, nodes_heard, nodes_joining
from backupsite.fleet.models import Device
from backupsite.recovery.downloads import Fetch
from backupsite.repositories import nodes as repository_nodes
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.repositories.nodes import NotThisNode
from backupsite.runs.models import Run
from backupsite.runs.requests import request_run
from backupsite.runs.states import State
from tests.backupsite.making import make_device, repository_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(settings: Settings, tmp_path: Path) -> Path:
    """An own home with keys for the console."""
    settings.HOTFLEET_HOME = tmp_path / "console"
    settings.HOTFLEET_HOME.mkdir(mode=0o700)
    vault.create_keys()
    return Path(settings.HOTFLEET_HOME)


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    path = tmp_path / "cellar"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def cellar() -> Node:
    return Node.objects.create(slug="cellar", name="<b>cellar")


def test_a_database_of_this_machine_alone_is_refused_with_the_remedy(home: Path, settings: Settings) -> None:
    if connection.vendor == "sqlite":
        with pytest.raises(CommandError, match=r"needs PostgreSQL: set DATABASE_URL.*--same-machine"):
            call_command("node", "add", "cellar")
    assert not Node.objects.filter(slug="cellar").exists()
    assert nodes.add("cellar", actor="shell", same_machine=True)


def test_what_a_machine_is_told_makes_it_the_node(home: Path, empty: Path, settings: Settings) -> None:
    told = nodes.add("Cellar", actor="shell", same_machine=True)
    assert AuditEvent.objects.get(verb="node.added").subject == "cellar"
    ticket = json.loads(told)["joined"]["ticket"]
    assert ticket not in Node.objects.get(slug="cellar").ticket
    key = (home / "keys" / "workers").read_text()
    settings.HOTFLEET_HOME = empty
    assert nodes_joining.join(told, empty) == "cellar"
    assert (empty / "keys" / "workers").read_text() == key
    assert (empty / "console-id").read_text() == settings.CONSOLE_ID
    assert {path.stat().st_mode & 0o777 for path in empty.rglob("*") if path.is_file()} <= {0o600}
    joined = environment.joined(empty)
    assert (joined.node, joined.is_claimed) == ("cellar", False)
    with pytest.raises(PlanRefused, match="already"):
        nodes_joining.join(told, empty)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"joined": {"evil": 1}, "keys": [], "console": ""}'])
def test_what_is_no_join_text_is_refused(empty: Path, settings: Settings, text: str) -> None:
    settings.HOTFLEET_HOME = empty
    with pytest.raises(PlanRefused, match="not what"):
        nodes_joining.join(text, empty)
    assert list(empty.iterdir()) == []


def test_a_node_takes_its_place_once_and_adds_its_storage(
    home: Path, empty: Path, settings: Settings
) -> None:
    told = nodes.add("cellar", actor="shell", same_machine=True)
    settings.HOTFLEET_HOME, settings.HOTFLEET_NODE = empty, "cellar"
    nodes_joining.join(told, empty)
    settings.HOTFLEET_JOINED = first = environment.joined(empty)
    nodes_joining.claim([str(empty / "repositories")])
    settings.HOTFLEET_JOINED = environment.joined(empty)
    assert settings.HOTFLEET_JOINED.is_claimed and settings.HOTFLEET_JOINED.ticket != first.ticket
    nodes_joining.claim([str(empty / "repositories")])  # a second start adds nothing
    storage = Storage.objects.get(node__slug="cellar")
    assert (empty / "repositories" / ".hotfleet-storage").is_file()
    assert storage.name == "cellar: repositories"
    settings.HOTFLEET_JOINED = first
    with pytest.raises(NotThisNode, match="used before"):
        nodes_joining.claim([])


def test_a_silent_node_is_told_once(cellar: Node) -> None:
    now = timezone.now()
    nodes_heard.look(now)
    assert not Notice.objects.exists()  # it never worked: somebody is adding it
    Node.objects.filter(pk=cellar.pk).update(heard_at=now - timedelta(minutes=6))
    nodes_heard.look(now)
    nodes_heard.look(now + timedelta(hours=1))
    (notice,) = Notice.objects.all()
    assert notice.title.endswith("the node is silent") and "those of other nodes go on" in notice.text


def test_the_page_shows_nodes_and_why_none_can_be_added(operator: Client, cellar: Node) -> None:
    text = operator.get("/repositories/nodes/").content.decode()
    assert "&lt;b&gt;cellar" in text and "<b>cellar" not in text and "Not joined yet" in text
    assert "Not on another machine yet." in text and "--join" in text


def test_strangers_see_no_nodes(stranger: Client, cellar: Node) -> None:
    assert stranger.get("/repositories/nodes/").status_code == 302
    assert stranger.post("/repositories/nodes/cellar/remove/").status_code == 302
    assert Node.objects.filter(pk=cellar.pk).exists()


def test_a_node_with_repositories_stays(operator: Client, cellar: Node) -> None:
    made = repository_of(make_device("web-1"))
    storage = Storage.objects.create(node=cellar, name="far", path="/srv/far")
    Repository.objects.filter(pk=made.pk).update(storage=storage)
    assert "/srv/far" in operator.get("/repositories/").content.decode()
    answer = operator.post("/repositories/nodes/cellar/remove/")
    assert answer.status_code == 422 and "1 repository lies" in answer.content.decode()
    Repository.objects.filter(pk=made.pk).update(storage=Storage.objects.get(name="main"))
    assert operator.get("/repositories/nodes/cellar/remove/").status_code == 200
    assert operator.post("/repositories/nodes/cellar/remove/").status_code == 302
    assert not Node.objects.filter(slug="cellar").exists() and not Storage.objects.filter(name="far").exists()
    assert operator.post("/repositories/nodes/console/remove/").status_code == 404


def test_what_a_browser_fetches_is_not_prepared_on_a_node(settings: Settings) -> None:
    settings.HOTFLEET_NODE = "cellar"
    with pytest.raises(PlanRefused, match="browsers fetch from the console"):
        Fetch().work(Run(), print, None)  # type: ignore[arg-type]  # it is refused before control is used


def join_as(told: str, home: Path, settings: Settings, *storages: str) -> environment.Joined:
    """Be the machine that was told this, in an empty home; return what it keeps."""
    home.mkdir(mode=0o700, exist_ok=True)
    settings.HOTFLEET_HOME, settings.HOTFLEET_NODE = home, "cellar"
    nodes_joining.join(told, home)
    settings.HOTFLEET_JOINED = environment.joined(home)
    nodes_joining.claim(storages)
    settings.HOTFLEET_JOINED = environment.joined(home)
    return environment.joined(home)


def working(device: Device, worker: str) -> Run:
    run = request_run("backup", device, request={}, requested_by="ada")
    Run.objects.filter(pk=run.pk).update(state=State.RUNNING, lease_token=worker, worker=worker)
    return run


def be_console(home: Path, settings: Settings) -> None:
    settings.HOTFLEET_HOME, settings.HOTFLEET_NODE = home, "console"
    settings.HOTFLEET_JOINED = environment.Joined()


def test_another_machine_takes_the_place_of_one_that_was_lost(
    home: Path, empty: Path, settings: Settings, tmp_path: Path
) -> None:
    disk = empty / "repositories"
    old = join_as(nodes.add("cellar", actor="shell", same_machine=True), empty, settings, str(disk))
    device = make_device("far")
    Repository.objects.filter(pk=repository_of(device).pk).update(storage=Storage.objects.get(path=str(disk)))
    works, other = working(device, "cellar@7"), working(make_device("near"), "cellars@7")
    be_console(home, settings)
    with pytest.raises(PlanRefused, match="is a node called cellar already"):
        nodes.add("cellar", actor="shell", same_machine=True)
    told = nodes.add_again(Node.objects.get(slug="cellar"), actor="shell", same_machine=True)
    assert AuditEvent.objects.get(verb="node.locked-out").subject == "cellar"
    states = dict(Run.objects.filter(ended_at__isnull=False).values_list("pk", "state"))
    assert states == {works.pk: State.LOST}
    other.refresh_from_db()
    assert other.state == State.RUNNING
    with pytest.raises(NotThisNode, match=r"given its place"):
        repository_nodes.beat("cellar", Secret(old.ticket))
    new = join_as(told, tmp_path / "new", settings, str(disk))  # the old disk, in the new machine
    repository_nodes.beat("cellar", Secret(new.ticket))
    assert Storage.objects.filter(node__slug="cellar").count() == 1
    with pytest.raises(NotThisNode, match="does not know this machine"):
        repository_nodes.beat("cellar", Secret(old.ticket))


def test_a_new_disk_in_the_place_of_the_old_one_is_refused(
    home: Path, empty: Path, settings: Settings, tmp_path: Path
) -> None:
    disk = empty / "repositories"
    join_as(nodes.add("cellar", actor="shell", same_machine=True), empty, settings, str(disk))
    be_console(home, settings)
    told = nodes.add_again(Node.objects.get(slug="cellar"), actor="shell", same_machine=True)
    shutil.rmtree(disk)
    with pytest.raises(AgentError, match="is not there") as refused:
        join_as(told, tmp_path / "new", settings, str(disk))
    assert "name another directory" in refused.value.remedy


def test_a_machine_is_locked_out_in_the_browser_after_a_question(
    operator: Client, cellar: Node, home: Path
) -> None:
    secret, hashed = repository_nodes.make_ticket()
    Node.objects.update(ticket=hashed, joined_at=timezone.now(), machine="<i>old")
    assert "/repositories/nodes/cellar/again/" in operator.get("/repositories/nodes/").content.decode()
    asked = operator.get("/repositories/nodes/cellar/again/").content.decode()
    assert "ends as lost" in asked and "&lt;i&gt;old" in asked and "--join" not in asked
    repository_nodes.beat("cellar", secret)
    Storage.objects.create(node=cellar, name="far", path="/srv/old disk", marker="far")
    done = operator.post("/repositories/nodes/cellar/again/", follow=True)
    text = html.unescape(done.content.decode())
    assert "script/node --add cellar --again | ssh root@MACHINE " in text
    (line,) = [line for line in text.splitlines() if "--again | ssh" in line]
    sent = shlex.split(re.sub("<[^>]*>", "", line).partition("ssh root@MACHINE ")[2])
    assert shlex.split(" ".join(sent))[-2:] == ["--storage", "/srv/old disk"]
    with pytest.raises(NotThisNode):
        repository_nodes.beat("cellar", secret)
    assert operator.post("/repositories/nodes/console/again/").status_code == 404


def test_a_stranger_locks_no_machine_out(stranger: Client, cellar: Node) -> None:
    Node.objects.update(joined_at=timezone.now())
    assert stranger.post("/repositories/nodes/cellar/again/").status_code == 302
    assert Node.objects.get(slug="cellar").joined_at is not None
