"""A node's worker in a process of its own: it is woken through its own queue, and takes what is its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backupsite.runs.grounds import Ground

pytestmark = [pytest.mark.slow, pytest.mark.postgresql]

# A node with a storage, a device whose repository lies there, and what its machine is told.
ADD = """
from dataclasses import asdict
from pathlib import Path
from django.utils import timezone
from backupsite.environment import Joined
from backupsite.fleet.models import Device
from backupsite.repositories import nodes
from backupsite.repositories.making import first_node
from backupsite.repositories.models import Node, Repository, Storage
Storage.objects.create(node=first_node(), name="near", path="/srv/near", marker="near")
ticket, hashed = nodes.make_ticket()
node = Node.objects.create(slug="cellar", name="cellar", ticket=hashed, joined_at=timezone.now())
storage = Storage.objects.create(node=node, name="far", path="/srv/far", marker="far")
far = Device.objects.create(name="far", slug="far")
Repository.objects.create(device=far, storage=storage, sealed_password=b"")
told = Joined(node="cellar", ticket=ticket.reveal(), is_claimed=True)
Path({path!r}).write_text(json.dumps(asdict(told)))
"""


@pytest.fixture
def node(ground: Ground) -> Iterator[Ground]:
    """A second home, with the database and the Valkey of the console."""
    home = ground.home / "node"
    home.mkdir(mode=0o700)
    ground.python(ADD.format(path=str(home / "node.json")))
    url = ground.environment.get("DATABASE_URL") or f"sqlite://{ground.home}/hotfleet.sqlite3"
    made = Ground(Path(home), url)
    made.valkey, made.environment["REDIS_URL"] = ground.valkey, ground.valkey.url
    yield made
    for process in made.processes:
        process.kill()
        process.wait()


def test_a_worker_of_a_node_is_woken_for_its_own_devices_alone(ground: Ground, node: Ground) -> None:
    node.start_worker()
    near = ground.request("backup", {}, device="near")
    far = ground.request("backup", {}, device="far")
    row = ground.wait_for(far, "succeeded")
    assert row["worker"].startswith("cellar@")
    assert ground.look(near)["state"] == "queued"
    assert "Traceback" not in node.log(), node.log()
