"""OpenLDAP: what slapcat prints while a writer works becomes a directory that slapd starts on."""

from __future__ import annotations

import atexit
import contextlib
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from agents.applications import applications, read_instances
from agents.errors import ResticFailed
from agents.events import Consistency
from agents.facts import Instance, read_facts
from agents.plan import SourceRequest
from agents.runner import Runner
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, wait_until

_ME = "gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth"
_CONFIG = """dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {pid}
olcSizeLimit: unlimited

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcRootPW: hidden-in-the-configuration

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: dc=example,dc=org
olcDbDirectory: {data}
olcDbMaxSize: 268435456
olcAccess: to * by dn.exact={me} manage by * none
"""
_TREE = """dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

"""


class Slapd:
    """A slapd on directories of its own, below a path that needs no permission of anybody else."""

    def __init__(self, folder: Path) -> None:
        self.config, self.data = folder / "slapd.d", folder / "data"
        # The path of a socket has 107 bytes at most; pytest's own folders are longer.
        short = Path(tempfile.mkdtemp(prefix="hotfleet-ldap-", dir="/tmp"))
        atexit.register(shutil.rmtree, short, ignore_errors=True)
        self.socket, self._pid_file = short / "ldapi", folder / "slapd.pid"
        for path in (self.config, self.data):
            path.mkdir(parents=True)

    def create(self) -> Slapd:
        text = _CONFIG.format(pid=self._pid_file, data=self.data, me=_ME)
        self.add(0, text)
        self.add(1, _TREE)
        return self

    def add(self, number: int, ldif: str) -> None:
        words = ["slapadd", "-q", "-F", str(self.config), "-n", str(number)]
        subprocess.run(words, input=ldif.encode("utf-8", "surrogateescape"), check=True, timeout=120)

    def start(self) -> None:
        url = f"ldapi://{quote(str(self.socket), safe='')}"
        # In the foreground, so that it is our child and ends with us.
        words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "--",
            "slapd",
            "-d",
            "0",
            "-F",
            str(self.config),
            "-h",
            url,
        ]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._process.poll() is not None or self._answers(), timeout_s=60, what="slapd")
        assert self._process.poll() is None, "slapd ended"

    def _answers(self) -> bool:
        try:
            return bool(self.client("ldapwhoami"))
        except subprocess.CalledProcessError:
            return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        self._process.wait(60)
        self._pid_file.unlink(missing_ok=True)

    def client(self, program: str, *words: str, ldif: str = "") -> str:
        url = f"ldapi://{quote(str(self.socket), safe='')}"
        done = subprocess.run(
            [program, "-Q", "-Y", "EXTERNAL", "-H", url, *words],
            input=ldif, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def count_broken(self) -> tuple[int, int]:
        """Return how many accounts there are, and how many of them break the invariant: the account that the
        writer made after another one says its name, so each but the first must find the one before it."""
        words = ("-LLL", "-o", "ldif-wrap=no", "-b", "dc=example,dc=org", "cn=*", "cn", "sn")
        said = self.client("ldapsearch", *words)
        pairs = {}
        for block in said.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "cn" in lines:
                pairs[lines["cn"]] = lines["sn"]
        return len(pairs), sum(before not in pairs for name, before in pairs.items() if name != "0")


class Writer(threading.Thread):
    """Adds accounts one after the other until it is told to end; each names the one before it."""

    def __init__(self, slapd: Slapd) -> None:
        super().__init__()
        self._slapd = slapd
        self.ended = threading.Event()
        self.count = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.ended.is_set():
            entries = []
            for number in range(self.count, self.count + 50):
                name, before = str(number), str(max(number - 1, 0))
                entries.append(
                    f"dn: cn={name},dc=example,dc=org\nobjectClass: person\ncn: {name}\nsn: {before}\n"
                    f"description: {'x' * 500}\n"
                )
            try:
                self._slapd.client("ldapadd", ldif="\n".join(entries))
            except subprocess.CalledProcessError as error:
                self.errors.append(error.stderr)
                return
            self.count += 50


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


def request_for(slapd: Slapd, method: str = "") -> SourceRequest:
    return SourceRequest(application="openldap", instance=str(slapd.config), method=method)


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
