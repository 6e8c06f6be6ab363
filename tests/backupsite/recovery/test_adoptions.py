"""Adopting a repository of stock restic: refused where it must be, and all of it restorable afterwards."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from agents.commands import Secret
from agents.restic import adopting as engine
from agents.restic.fields import Fields
from agents.restic.repository import open_repository as open_engine
from agents.restic.repository import parse_snapshot
from backupsite import vault
from backupsite.engine import console_restic
from backupsite.fleet.models import Device
from backupsite.recovery.adoptions import Adopt, make_point, name_source
from backupsite.recovery.models import RestorePoint
from backupsite.repositories import adopting, kit
from backupsite.repositories.making import ensure_repository, first_node, open_repository, repository_path
from backupsite.repositories.models import Repository, Storage
from backupsite.repositories.storage import prepare_storage
from backupsite.runs.models import Run
from backupsite.runs.states import State
from tests.backupsite.making import make_device
from tests.backupsite.recovery.maintained import Held
from tests.backupsite.repositories.kits import read_password

pytestmark = pytest.mark.django_db
THEIRS = "old password"


def restic(path: Path, *words: str) -> None:
    program = str(Path(sys.executable).parent / "restic")
    environment = {"RESTIC_PASSWORD": THEIRS, "PATH": "/usr/bin:/bin", "HOME": str(path.parent)}
    subprocess.run([program, "-q", "-r", str(path), *words], env=environment, check=True)


@pytest.fixture
def storage(settings: Settings, tmp_path: Path) -> Storage:
    """A storage of a console whose kit is confirmed."""
    tmp_path.chmod(0o700)
    settings.HOTFLEET_HOME = tmp_path
    vault.create_keys()
    tested = prepare_storage(str(tmp_path / "repositories"), tmp_path)
    password = read_password(kit.make_kit().text)
    assert kit.confirm_kit(password[-4:])
    return Storage.objects.create(node=first_node(), name="main", path=str(tested.path), marker=tested.marker)


@pytest.fixture
def old(storage: Storage, tmp_path: Path) -> Path:
    """A repository of stock restic with a snapshot, in the storage."""
    path = Path(storage.path) / "old-backups"
    folder = tmp_path / "letters"
    folder.mkdir()
    restic(path, "init")
    (folder / "letter").write_text("dear diary")
    restic(path, "backup", "--host", "web-7", "--tag", "nightly", str(folder))
    return path


def test_a_repository_is_adopted_and_restorable(
    operator: Client, storage: Storage, old: Path, tmp_path: Path
) -> None:
    device = make_device()
    (tmp_path / "letters" / "letter").write_text("yours truly")
    restic(old, "backup", "--host", "web-7", str(tmp_path / "letters"))
    assert str(old) in operator.get("/repositories/adopt/").content.decode()
    posted = {"device": device.slug, "place": f"{storage.pk}:old-backups", "password": THEIRS}
    assert operator.post("/repositories/adopt/", posted).status_code == 302
    run = Run.objects.get(kind=Run.ADOPT)
    assert THEIRS not in json.dumps(run.request)
    held = Held()
    assert Adopt().work(run, lambda event: None, held).state is State.SUCCEEDED
    for write in held.results:
        write()
    repository = Repository.objects.get(device=device)
    assert not old.exists() and repository_path(repository).is_dir() and repository.is_made
    run.refresh_from_db()
    assert "sealed" not in run.request
    newest, oldest = RestorePoint.objects.order_by("-made_at")
    assert (newest.source, newest.method, newest.consistency) == (
        str(tmp_path / "letters"),
        "adopted",
        "none",
    )
    assert newest.size_bytes == len("yours truly") and newest.file_count == 1 and newest.policy is None
    opened = open_repository(repository)
    with open_engine(opened.path, opened.password, console_restic()) as found:
        content = b"".join(found.dump_file(oldest.restic_id, f"{tmp_path}/letters/letter"))
        found.check(read_data=True)
    assert content == b"dear diary"
    assert engine.opens(opened.path, Secret(THEIRS))


def test_an_adoption_that_was_cut_off_goes_on(storage: Storage, old: Path) -> None:
    repository = adopting.reserve(make_device(), storage)
    adopting.take_over(repository, "old-backups", Secret(THEIRS))
    keys = len(list((repository_path(repository) / "keys").iterdir()))
    adopting.take_over(repository, "old-backups", Secret(THEIRS))
    assert keys == len(list((repository_path(repository) / "keys").iterdir())) == 3


def test_what_may_not_be_adopted_says_why(operator: Client, storage: Storage, old: Path) -> None:
    device = make_device()
    posted = {"device": device.slug, "place": f"{storage.pk}:old-backups", "password": "wrong"}
    answer = operator.post("/repositories/adopt/", posted)
    assert answer.status_code == 422 and "does not open the repository" in answer.content.decode()
    assert "wrong" not in answer.content.decode().replace("wrong password", "")
    (old / "locks" / ("a" * 64)).touch()
    answer = operator.post("/repositories/adopt/", {**posted, "password": THEIRS})
    assert answer.status_code == 422 and "Somebody works on this repository" in answer.content.decode()
    (old / "locks" / ("a" * 64)).unlink()
    (old / ".hotfleet-storage").touch()
    answer = operator.post("/repositories/adopt/", {**posted, "password": THEIRS})
    assert "belongs to another Hotfleet console" in answer.content.decode()
    assert not Run.objects.exists() and old.exists()


def test_a_device_that_has_a_repository_cannot_get_another_one(storage: Storage) -> None:
    device = make_device()
    repository = ensure_repository(device)
    Repository.objects.update(restic_id="a" * 64)
    with pytest.raises(adopting.AdoptRefused, match="has a repository already"):
        adopting.reserve(device, storage)
    Repository.objects.update(restic_id="")
    repository_path(repository).mkdir()
    (repository_path(repository) / "config").touch()
    with pytest.raises(adopting.AdoptRefused, match="has a repository already"):
        adopting.reserve(device, storage)


def test_a_repository_of_a_console_is_known_by_its_key(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "one").write_text(json.dumps({"hostname": "web-7", "username": "root"}))
    assert not engine.is_of_a_console(tmp_path)
    (keys / "two").write_text(json.dumps({"hostname": "hotfleet", "username": "console"}))
    assert engine.is_of_a_console(tmp_path)


def test_a_time_in_the_future_is_not_believed() -> None:
    now = timezone.now()
    record = {
        "id": "a" * 64,
        "tree": "b" * 64,
        "time": (now + timedelta(days=9)).isoformat(),
        "paths": ["/srv"],
    }
    snapshot = parse_snapshot(Fields.parse(json.dumps(record), "restore point"))
    assert make_point(Run(device=Device()), Repository(), snapshot, now).made_at == now


def test_the_source_is_the_folder_of_all_its_paths() -> None:
    assert name_source(["/srv/a", "/srv/b"]) == "/srv"
    assert name_source(["/srv"]) == "/srv"
    assert name_source([]) == name_source(["C:\\Users"]) == "/"


def test_a_stranger_adopts_nothing(stranger: Client, storage: Storage, operator: Client) -> None:
    assert "/login/" in stranger.post("/repositories/adopt/", {})["Location"]
