"""etcd: a snapshot that a member saves while a writer works becomes a member that starts."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications import read_instances
from agents.errors import ResticFailed
from agents.events import Consistency
from agents.facts import Instance, read_facts
from agents.plan import SourceRequest
from agents.runner import Runner
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command, wait_until


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Member:
    """An etcd of one member in the network of a device."""

    def __init__(self, folder: Path, namespace: str, *words: str, scheme: str = "http") -> None:
        self.folder, self.data = folder, folder / "data"
        self._namespace, self._words, self._scheme = namespace, words, scheme
        folder.mkdir(parents=True, exist_ok=True)
        self.url, self._peer = (f"{scheme}://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words: list[str | Path] = ["nsenter", f"--net=/run/netns/{self._namespace}", "etcd"]
        words += ["--name", "m1", "--data-dir", self.data]
        words += ["--listen-client-urls", self.url, f"--advertise-client-urls={self.url}"]
        words += ["--listen-peer-urls", self._peer, "--initial-advertise-peer-urls", self._peer]
        words += ["--initial-cluster", f"m1={self._peer}", *self._words]
        with (self.folder / "log").open("ab") as log:
            environment = {**os.environ, "ETCD_ROOT_PASSWORD": "hidden-in-the-environment"}
            self.process = subprocess.Popen(words, env=environment, stdout=log, stderr=log)
        wait_until(self.answers, timeout_s=30, what="an answer of etcd")

    def answers(self) -> bool:
        return self.client("endpoint", "health", check=False).returncode == 0

    def client(self, *words: str, check: bool = True, text: str = "") -> subprocess.CompletedProcess[str]:
        options = [f"--endpoints={self.url}"]
        if self._scheme == "https":
            options += [f"--cacert={self.folder}/cert.pem", f"--cert={self.folder}/cert.pem"]
            options += [f"--key={self.folder}/key.pem"]
        prefix = ["nsenter", f"--net=/run/netns/{self._namespace}", "etcdctl", *options]
        return subprocess.run(
            [*prefix, *words], input=text, capture_output=True, text=True, check=check, timeout=60,
            env={**os.environ, "ETCDCTL_API": "3"},
        )  # fmt: skip

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(20)
            self.process = None

    def read_pair(self) -> tuple[int, int]:
        """Return both sides of the account: a writer changes them in one transaction, never one alone."""
        said = self.client("get", "side-", "--prefix", "--print-value-only").stdout.split()
        return int(said[0]), int(said[1])


class Writer(threading.Thread):
    """Writes the same number to both sides in one transaction, again and again."""

    def __init__(self, member: Member) -> None:
        super().__init__()
        self._member = member
        self.ended = threading.Event()
        self.count = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.ended.is_set():
            number = self.count + 1
            filler = f"put filler-{number % 100} {'x' * 20000}"
            text = f"\nput side-a {number}\nput side-b {number}\n{filler}\n\n\n"
            try:
                self._member.client("txn", text=text)
            except subprocess.CalledProcessError as error:
                self.errors.append(error.stderr)
                return
            self.count = number


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


def request_for(member: Member, method: str = "") -> SourceRequest:
    return SourceRequest(application="etcd", instance=str(member.data), method=method)


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
