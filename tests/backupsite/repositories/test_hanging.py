"""A disk that does not answer holds up nobody but who needs it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from backupsite.alerts.models import Notice
from backupsite.console import nodes_heard, space_chore
from backupsite.repositories.hanging import StorageHangs, ask_disk
from backupsite.repositories.making import first_node
from backupsite.repositories.models import SpaceSample, Storage
from backupsite.repositories.storage import MARKER


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Path]:
    """A directory whose marker hangs whoever reads it, as a file of a dead server does: a pipe without an
    end to write to."""
    path = tmp_path / "hanging"
    path.mkdir()
    os.mkfifo(path / MARKER)
    yield path
    # Opened for both it does not wait; who reads hears the end when it is closed.
    for thread in threading.enumerate():
        if thread.name == f"disk {path}":
            while thread.is_alive():
                os.close(os.open(path / MARKER, os.O_RDWR | os.O_NONBLOCK))
                thread.join(0.05)


def read(path: Path) -> str:
    return (path / MARKER).read_text()


def test_who_asks_is_told_in_time_and_asks_no_second_time_meanwhile(hanging: Path) -> None:
    with pytest.raises(StorageHangs, match="does not answer"):
        ask_disk(str(hanging), lambda: read(hanging), within_s=0.05)
    count = threading.active_count()
    with pytest.raises(StorageHangs):
        ask_disk(str(hanging), lambda: read(hanging))  # at once: this would wait for half a minute
    assert threading.active_count() <= count


def test_what_the_disk_says_comes_through(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text("here")
    assert ask_disk(str(tmp_path), lambda: read(tmp_path)) == "here"
    with pytest.raises(FileNotFoundError):
        ask_disk(str(tmp_path), lambda: read(tmp_path / "gone"))


@pytest.mark.django_db
def test_one_that_hangs_is_told_and_the_others_are_measured(hanging: Path, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    (good / MARKER).write_text("good")
    node = first_node()
    Storage.objects.create(node=node, name="attic", path=str(hanging), marker="attic")
    Storage.objects.create(node=node, name="good", path=str(good), marker="good")
    with pytest.raises(StorageHangs):
        ask_disk(str(hanging), lambda: read(hanging), within_s=0.05)
    space_chore.measure()
    space_chore.measure()
    sample = SpaceSample.objects.get(day=timezone.now().date(), repository=None)
    assert sample.storage.name == "good"
    notice = Notice.objects.get(kind="storage-hangs")
    assert notice.title == "attic: the place for backups does not answer"
    Notice.objects.all().delete()
    space_chore.look_at_disks()
    assert Notice.objects.get().title.startswith("attic: "), "also where nothing is left to be measured today"


def test_a_node_says_that_it_is_there_while_its_disk_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(space_chore, "measure", answers.wait)
    monkeypatch.setattr(space_chore, "look_at_disks", answers.wait)
    measuring = nodes_heard.Measuring()
    assert measuring.begin()  # and comes back
    assert not measuring.begin()
    answers.set()
