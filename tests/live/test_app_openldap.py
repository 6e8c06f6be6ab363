"""OpenLDAP: what slapcat prints while a writer works becomes a directory that slapd starts on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications import applications, read_instances
from agents.errors import ResticFailed
from agents.events import Consistency
from agents.facts import Instance, read_facts
from agents.runner import Runner
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.openldap import Slapd, Writer, request_for


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def slapd(console: Console) -> Iterator[Slapd]:
    slapd = Slapd(console.device.btrfs / "ldap").create()
    slapd.start()
    yield slapd
    slapd.stop()


@pytest.fixture
def writer(slapd: Slapd) -> Iterator[Writer]:
    writer = Writer(slapd)
    writer.start()
    wait_until(lambda: writer.count >= 200, timeout_s=180, what="the first accounts")
    yield writer
    writer.ended.set()
    writer.join()
    assert writer.errors == [], "the application noticed the backup"


@contextlib.contextmanager
def on_device(console: Console) -> Iterator[Runner]:
    with (
        contextlib.closing(console.open_session()) as session,
        Runner(session, console_id=console.id, run_id="look", tell=console.tell) as runner,
    ):
        yield runner


def find_instance(console: Console, slapd: Slapd) -> Instance:
    with on_device(console) as runner:
        facts = read_instances(runner, read_facts(runner), {"openldap"})
    instance = facts.instance("openldap", str(slapd.config))
    assert instance is not None
    return instance


def test_a_running_slapd_is_found_with_its_databases_and_without_its_passwords(
    console: Console, slapd: Slapd
) -> None:
    instance = find_instance(console, slapd)
    assert instance.places == (str(slapd.config), str(slapd.data))
    assert instance.version.startswith("2.")
    assert (instance.is_running, instance.problems) == (True, ())
    assert instance.detail("streams") == "0 config.ldif\n1 1-dc=example,dc=org.ldif"
    with on_device(console) as runner:
        look = applications()["openldap"].look(read_facts(runner))
        assert look is not None
        said = runner.run(look).stdout
    assert b"olcSuffix: dc=example,dc=org" in said
    assert b"hidden" not in said and b"olcRootPW" not in said


def test_streams_under_a_writer_become_a_directory_that_slapd_starts_on(
    console: Console, slapd: Slapd, writer: Writer, tmp_path: Path
) -> None:
    written_before = writer.count
    points = console.back_up(request_for(slapd)).points
    assert [(point.part, point.consistency) for point in points] == [
        ("config.ldif", Consistency.APPLICATION),
        ("1-dc=example,dc=org.ldif", Consistency.APPLICATION),
    ]
    target = Path("/var/lib") / f"restored-{console.id}"
    copy = Slapd(tmp_path / "copy")
    try:
        for point in points:
            console.restore(point.restic_id, "/", target)
            text = (target / point.part).read_text()
            shutil.rmtree(target)
            number = 0 if point.part == "config.ldif" else 1
            copy.add(number, text.replace(str(slapd.data.parent), str(copy.data.parent)))
        copy.start()
        found, broken = copy.count_broken()
        assert found >= written_before and broken == 0
    finally:
        copy.stop()
        shutil.rmtree(target, ignore_errors=True)
    writer.ended.set()
    writer.join()
    slapd.stop()
    assert_device_is_clean(console)


def test_a_snapshot_under_a_writer_is_a_directory_that_slapd_starts_on(
    console: Console, slapd: Slapd, writer: Writer
) -> None:
    written_before = writer.count
    (point,) = console.back_up(request_for(slapd, "snapshot")).points
    assert (point.method, point.consistency) == ("snapshot+btrfs", Consistency.CRASH)
    writer.ended.set()
    writer.join()
    slapd.stop()
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        # restored in place: the configuration names the directory of the data
        shutil.rmtree(slapd.data)
        shutil.rmtree(slapd.config)
        console.restore(point.restic_id, slapd.data, target)
        shutil.move(target, slapd.data)
        console.restore(point.restic_id, slapd.config, target)
        shutil.move(target, slapd.config)
        slapd.start()
        found, broken = slapd.count_broken()
        assert found >= written_before and broken == 0
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_a_slapcat_that_fails_is_no_restore_point(console: Console, slapd: Slapd) -> None:
    """The negative control: its database cannot be read."""
    (slapd.data / "data.mdb").rename(slapd.data / "gone.mdb")
    (slapd.data / "data.mdb").write_bytes(b"\0" * 8192)
    with pytest.raises(ResticFailed):
        console.back_up(request_for(slapd))
    assert console.count_restore_points() <= 1, "at most the configuration, which nobody was told of"
