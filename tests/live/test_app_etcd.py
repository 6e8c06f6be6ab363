"""etcd: a snapshot that a member saves while a writer works becomes a member that starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications import read_instances
from agents.errors import ResticFailed
from agents.events import Consistency
from agents.facts import Instance, read_facts
from agents.runner import Runner
from tests.live.etcd import Member, Writer, request_for
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command, wait_until


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def member(console: Console) -> Iterator[Member]:
    member = Member(console.device.btrfs / "etcd", console.device.namespace)
    member.start()
    yield member
    member.stop()


@pytest.fixture
def writer(member: Member) -> Iterator[Writer]:
    writer = Writer(member)
    writer.start()
    wait_until(lambda: writer.count >= 20 or bool(writer.errors), timeout_s=60, what="the first transactions")
    assert writer.errors == []
    yield writer
    writer.ended.set()
    writer.join()
    assert writer.errors == [], "the application noticed the backup"


def find_instance(console: Console, member: Member) -> Instance:
    with (
        contextlib.closing(console.open_session()) as session,
        Runner(session, console_id=console.id, run_id="look", tell=console.tell) as runner,
    ):
        facts = read_instances(runner, read_facts(runner), {"etcd"})
    instance = facts.instance("etcd", str(member.data))
    assert instance is not None
    return instance


def test_a_running_member_is_found_with_its_data_and_its_address(console: Console, member: Member) -> None:
    instance = find_instance(console, member)
    assert (instance.label, instance.places, instance.problems) == ("etcd m1", (str(member.data),), ())
    assert instance.version.startswith("3.")
    assert instance.detail("options").split("\n")[0] == f"--endpoints={member.url}"
    assert "hidden" not in repr(instance)


def test_a_stream_under_a_writer_becomes_a_member_that_starts(
    console: Console, member: Member, writer: Writer, tmp_path: Path
) -> None:
    written_before = writer.count
    (point,) = console.back_up(request_for(member)).points
    assert (point.part, point.method) == ("etcd.snapshot", "stream")
    assert point.consistency is Consistency.APPLICATION
    target = Path("/var/lib") / f"restored-{console.id}"
    copy = Member(tmp_path / "copy", console.device.namespace)
    try:
        console.restore(point.restic_id, "/", target)
        command("etcdctl", "snapshot", "restore", target / "etcd.snapshot", "--data-dir", copy.data)
        copy.start()
        first, second = copy.read_pair()
        assert first >= written_before and first == second
    finally:
        copy.stop()
        shutil.rmtree(target, ignore_errors=True)
    writer.ended.set()
    writer.join()
    member.stop()
    assert_device_is_clean(console)
    assert not list(Path("/var/tmp").glob(f".hotfleet-{console.id}-*"))


def test_a_snapshot_of_its_directory_under_a_writer_becomes_a_member_that_starts(
    console: Console, member: Member, writer: Writer, tmp_path: Path
) -> None:
    written_before = writer.count
    (point,) = console.back_up(request_for(member, "snapshot")).points
    assert (point.method, point.consistency) == ("snapshot+btrfs", Consistency.CRASH)
    writer.ended.set()
    writer.join()
    member.stop()
    target = Path("/var/lib") / f"restored-{console.id}"
    try:
        console.restore(point.restic_id, member.data, target)
        shutil.rmtree(member.data)
        shutil.move(target, member.data)
        member.start()
        first, second = member.read_pair()
        assert first >= written_before and first == second
    finally:
        shutil.rmtree(target, ignore_errors=True)


def test_a_member_that_dies_meanwhile_is_no_restore_point(console: Console, member: Member) -> None:
    instance = find_instance(console, member)
    assert instance.detail("client")
    assert member.process is not None
    member.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ResticFailed):
            console.back_up(request_for(member))
    finally:
        member.process.send_signal(signal.SIGCONT)
    assert console.count_restore_points() == 0
    member.stop()
    assert_device_is_clean(console)


def test_a_member_that_wants_certificates_is_asked_with_its_own(console: Console) -> None:
    folder = console.device.btrfs / "tls"
    folder.mkdir()
    command(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=m1",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem",
    )  # fmt: skip
    words = ["--client-cert-auth", f"--cert-file={folder}/cert.pem", "--key-file", f"{folder}/key.pem"]
    words += [f"--trusted-ca-file={folder}/cert.pem"]
    member = Member(folder, console.device.namespace, *words, scheme="https")
    member.start()
    try:
        member.client("put", "key", "value")
        (point,) = console.back_up(request_for(member)).points
        assert point.size_bytes > 10_000
    finally:
        member.stop()


def test_somebody_who_calls_a_program_etcd_shows_us_nothing_that_is_not_his(
    console: Console, tmp_path: Path
) -> None:
    """A look reads a configuration as the user whose process names it."""
    secret = console.device.btrfs / "secret"
    secret.write_text("data-dir: hidden-from-everybody\n")
    secret.chmod(0o600)
    program = Path(f"/var/tmp/{console.id}")
    program.mkdir(mode=0o755)
    try:
        (program / "etcd").write_text("#!/bin/sh\nsleep 60 & wait\n")
        (program / "etcd").chmod(0o755)
        words: list[str | Path] = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            program / "etcd",
        ]
        own = program / "default.etcd"
        own.mkdir()
        os.chown(own, 65534, 65534)
        process = subprocess.Popen([*words, "--config-file", secret], start_new_session=True, cwd=program)
        try:
            wait_until(lambda: Path(f"/proc/{process.pid}/comm").read_text() == "etcd\n", what="its start")
            with (
                contextlib.closing(console.open_session()) as session,
                Runner(session, console_id=console.id, run_id="look", tell=console.tell) as runner,
            ):
                facts = read_instances(runner, read_facts(runner), {"etcd"})
            assert facts.instance("etcd", str(own)) is not None, "it was looked at"
            assert "hidden" not in repr(facts.instances)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    finally:
        shutil.rmtree(program)
