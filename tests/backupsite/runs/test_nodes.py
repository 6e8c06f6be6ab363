"""Runs go to the node that their repository lies on, and wait for it with a reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from agents.errors import ConnectFailed
from agents.events import Phase, PhaseStarted, Said, Tell
from backupsite.alerts.models import Notice
from backupsite.environment import Joined
from backupsite.fleet.models import Device
from backupsite.recovery.wal.lease import Holding
from backupsite.recovery.wal_models import WalStream
from backupsite.repositories import nodes, space
from backupsite.repositories.default_storage import make_default
from backupsite.repositories.models import Node, Repository, Storage
from backupsite.repositories.nodes import NotThisNode
from backupsite.repositories.storage import StorageMissing, require_storage
from backupsite.runs import breaker, kinds, queue
from backupsite.runs.dispatch import count_ready, list_ready, take_next
from backupsite.runs.execute import execute_next
from backupsite.runs.models import Outage, Run
from backupsite.runs.outages import covers, devices_of, name_of
from backupsite.runs.requests import cancel_run, request_run
from backupsite.runs.standing import read_standing
from backupsite.runs.states import State
from backupsite.runs.waiting import explain_one
from tests.backupsite.making import make_device, make_run, repository_of
from tests.backupsite.runs.grounds import Valkey
from tests.backupsite.runs.scripted import Scripted

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]
Callbacks = Callable[..., AbstractContextManager[list[Any]]]


@pytest.fixture
def cellar() -> Node:
    return Node.objects.create(slug="cellar", name="cellar")


@pytest.fixture
def far(cellar: Node) -> Device:
    """A device whose repository lies on the node."""
    repository = repository_of(make_device("far"))
    storage = Storage.objects.create(node=cellar, name="far", path="/srv/far", marker="far")
    Repository.objects.filter(pk=repository.pk).update(storage=storage)
    return Device.objects.get(name="far")


@pytest.fixture
def near() -> Device:
    device = make_device("near")
    repository_of(device)
    return device


def be(node: Node, settings: Settings) -> None:
    """Have this process be a machine that has just joined as this node."""
    secret, hashed = nodes.make_ticket()
    Node.objects.filter(pk=node.pk).update(ticket=hashed, joined_at=timezone.now())
    settings.HOTFLEET_NODE = node.slug
    settings.HOTFLEET_JOINED = Joined(node=node.slug, ticket=secret.reveal(), is_claimed=True)


def taken() -> Run | None:
    lease = take_next("bulk")
    return None if lease is None else Run.objects.get(pk=lease.run_id)


def words(run: Run) -> str:
    wait = explain_one(run, timezone.now())
    return "" if wait is None else wait.text


def count(node: str) -> int:
    return count_ready("bulk", read_standing(), timezone.now(), node, most=10)


def test_each_node_takes_what_is_its_own(near: Device, far: Device, settings: Settings) -> None:
    first, second = make_run(far, State.QUEUED), make_run(near, State.QUEUED)
    assert (count("console"), count("cellar")) == (1, 1)
    assert taken() == second and taken() is None
    be(Node.objects.get(slug="cellar"), settings)
    assert taken() == first and taken() is None


def test_a_node_that_was_removed_takes_nothing(near: Device, cellar: Node, settings: Settings) -> None:
    make_run(near, State.QUEUED)
    be(cellar, settings)
    cellar.delete()
    assert taken() is None


def test_the_machine_whose_place_another_one_has_takes_nothing(far: Device, settings: Settings) -> None:
    run = make_run(far, State.QUEUED)
    WalStream.objects.create(device=far, instance="15/main", slot="s", wanted_at=timezone.now())
    be(Node.objects.get(slug="cellar"), settings)
    old = settings.HOTFLEET_JOINED
    be(Node.objects.get(slug="cellar"), settings)
    new, settings.HOTFLEET_JOINED = settings.HOTFLEET_JOINED, old
    assert taken() is None and Holding().take(10) == []
    settings.HOTFLEET_JOINED = new
    assert taken() == run and len(Holding().take(10)) == 1


def test_new_devices_belong_to_the_node_of_the_default_storage(far: Device) -> None:
    new, own = make_device("new"), make_device("own", reach=Device.LOCAL)
    assert nodes.find_node_of(new) == "console"
    make_default("ada", Storage.objects.get(name="far"))
    assert nodes.find_node_of(new) == nodes.find_node_of(far) == "cellar"
    assert nodes.find_node_of(own) == "console"  # the console's own machine is no other one's


def test_what_waits_for_a_silent_node_says_so(near: Device, far: Device, cellar: Node) -> None:
    waiting, other = make_run(far, State.QUEUED), make_run(near, State.QUEUED)
    assert words(waiting) == "the node cellar was never started"
    Node.objects.filter(pk=cellar.pk).update(heard_at=timezone.now() - timedelta(minutes=5))
    assert words(waiting) == "the node cellar is silent"
    assert words(other) == "for a free worker"
    Node.objects.filter(pk=cellar.pk).update(heard_at=timezone.now())
    assert words(waiting) == "for a free worker"


def test_wake_ups_go_to_the_queue_of_the_node() -> None:
    assert queue.name_in_redis("bulk") == queue.name_in_redis("bulk", "console") == "bulk"
    assert queue.name_in_redis("bulk", "cellar") == "cellar:bulk"


def test_a_storage_of_another_node_is_not_touched(far: Device, settings: Settings) -> None:
    storage = Storage.objects.get(name="far")
    with pytest.raises(StorageMissing, match="lies on the node cellar"):
        require_storage(storage)
    today = timezone.now().date()
    assert len(space.take_samples(today)) == 1  # of this machine's own, whose disk is not there
    be(Node.objects.get(slug="cellar"), settings)
    (problem,) = space.take_samples(today)
    assert str(problem).startswith("far: ")


def test_a_join_file_is_good_for_one_machine_until_the_node_is_removed(cellar: Node) -> None:
    secret, hashed = nodes.make_ticket()
    Node.objects.filter(pk=cellar.pk).update(ticket=hashed)
    with pytest.raises(NotThisNode, match="does not know this machine"):
        nodes.beat("cellar", secret)  # it has not joined yet
    kept = nodes.claim("cellar", secret)
    with pytest.raises(NotThisNode, match="was used before"):
        nodes.claim("cellar", secret)
    nodes.beat("cellar", kept)
    cellar.refresh_from_db()
    assert nodes.is_heard(cellar, timezone.now())
    cellar.delete()
    with pytest.raises(NotThisNode, match="was removed"):
        nodes.beat("cellar", kept)


def test_a_node_of_another_version_does_not_work(cellar: Node) -> None:
    secret, hashed = nodes.make_ticket()
    Node.objects.filter(pk=cellar.pk).update(ticket=hashed)
    kept = nodes.claim("cellar", secret)
    Node.objects.create(slug="console", name="This machine", version="0.0.0-other")
    with pytest.raises(NotThisNode, match=r"the console is 0\.0\.0-other"):
        nodes.beat("cellar", kept)


def test_logs_are_followed_beside_their_repository(far: Device, settings: Settings) -> None:
    WalStream.objects.create(device=far, instance="15/main", slot="s", wanted_at=timezone.now())
    assert Holding().take(10) == []
    be(Node.objects.get(slug="cellar"), settings)
    assert len(Holding().take(10)) == 1


def put_on(node: Node, devices: list[Device]) -> None:
    for device in devices:  # the console's storage comes first: new devices go there
        repository_of(device)
    storage = Storage.objects.create(node=node, name=f"of {node.slug}", path=f"/srv/{node.slug}", marker="m")
    Repository.objects.filter(device__in=devices).update(storage=storage)


def fail(devices: list[Device]) -> None:
    now = timezone.now()
    for device in devices:
        make_run(
            device, State.FAILED, error_code=ConnectFailed.code, phase="connect", started_at=now, ended_at=now
        )


def test_the_dead_line_of_a_node_holds_up_no_other_one(cellar: Node) -> None:
    behind = [make_device(f"behind-{number}") for number in range(11)]
    put_on(cellar, behind)
    healthy = [make_device(f"healthy-{number}") for number in range(3)]
    fail(behind[:10])
    breaker.look(timezone.now())
    outage = Outage.objects.get()
    assert (outage.scope, outage.node) == (f"node-{cellar.pk}", cellar)
    notice = Notice.objects.get()
    assert notice.title == "What the node cellar backs up does not answer"
    assert notice.text.startswith("11 devices cannot be reached")
    for device in (*healthy, *behind):
        make_run(device, State.QUEUED)
    standing = read_standing()
    assert len(list_ready("bulk", standing, timezone.now(), "console")) == 3
    assert not list_ready("bulk", standing, timezone.now(), "cellar")
    assert covers(behind[10].pk, [outage]) == [outage] and covers(healthy[0].pk, [outage]) == []
    held = Run.objects.get(device=behind[0], state=State.QUEUED)
    Node.objects.filter(pk=cellar.pk).update(heard_at=timezone.now())
    assert words(held) == "what the node cellar backs up does not answer"
    assert words(Run.objects.get(device=healthy[0], state=State.QUEUED)).startswith("for a free worker")


def test_the_dead_line_of_the_console_holds_up_no_node(cellar: Node) -> None:
    put_on(cellar, [make_device("far")])
    fail([make_device(f"near-{number}") for number in range(10)])
    breaker.look(timezone.now())
    outage = Outage.objects.get()
    assert outage.node is not None and outage.node.slug == "console"
    assert name_of(outage) == "what the console itself backs up"
    assert not Run.objects.filter(devices_of([outage]), device__name="far").exists()
    make_run(
        Device.objects.get(name="near-1"), phase="transfer", started_at=outage.since, ended_at=timezone.now()
    )
    breaker.look(timezone.now())
    assert Outage.objects.get().ended_at is not None


def test_a_run_is_handed_over_to_the_node_where_the_rest_lies(
    near: Device, far: Device, settings: Settings, scripted: dict[str, Scripted]
) -> None:
    def restore(run: Run, tell: Tell, control: kinds.Control) -> None:
        tell(PhaseStarted(Phase.TRANSFER))
        tell(Said(f"on {settings.HOTFLEET_NODE}"))
        if "saved" not in run.request:
            raise kinds.HandOver(far, {**run.request, "saved": True})

    scripted["restore"].do = restore
    run = request_run("restore", near, request={"of": far.pk}, requested_by="ada")
    assert execute_next("interactive") == run
    run.refresh_from_db()
    assert (run.state, run.beside, run.request["saved"]) == (State.QUEUED, far, True)
    assert (run.lease_token, run.worker, run.lease_until) == ("", "", None)
    assert words(run) == "the node cellar was never started"
    assert execute_next("interactive") is None, "it is not the console's any more"
    be(Node.objects.get(slug="cellar"), settings)
    assert execute_next("interactive") == run
    run.refresh_from_db()
    assert run.state == State.SUCCEEDED and run.worker.startswith("cellar@")
    assert [line.text for line in run.lines.all()] == ["on console", "on cellar"]
    assert not run.phases.filter(ended_at=None).exists()


def test_a_run_that_is_handed_over_can_be_cancelled(
    near: Device, far: Device, scripted: dict[str, Scripted]
) -> None:
    def restore(run: Run, tell: Tell, control: kinds.Control) -> None:
        cancel_run(run, by="ada")
        raise kinds.HandOver(far, run.request)

    scripted["restore"].do = restore
    request_run("restore", near, request={}, requested_by="ada")
    execute_next("interactive")
    assert Run.objects.get().state == State.CANCELLED


def test_what_a_node_asks_its_own_queue_for_lies_there(
    near: Device,
    far: Device,
    settings: Settings,
    valkey: Valkey,
    django_capture_on_commit_callbacks: Callbacks,
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        request_run("backup", far, request={}, requested_by="ada")
        request_run("restore", near, request={}, requested_by="ada", beside=far)
        request_run("backup", near, request={}, requested_by="ada")
    be(Node.objects.get(slug="cellar"), settings)
    queue.enqueue_afterwork(far.pk)
    queue.enqueue_chore("space")
    queue.enqueue_notices()
    lengths = {key.decode(): valkey.client().llen(key) for key in valkey.client().keys("rq:queue:*")}
    assert lengths == {"rq:queue:cellar:bulk": 2, "rq:queue:cellar:interactive": 3, "rq:queue:bulk": 1}
