"""A restored tree that wants to run something: in a drill nothing of it does. About a minute.

Each hook makes a file whose name begins with `marker`, wherever it can: beside the restored files in the
cage, and on the machine. That the hooks work is shown before."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import drill as flow
from agents.applications.stored import Stored
from agents.applications.trials import Question, Step, Trial
from agents.commands import Command
from agents.errors import PlanRefused
from agents.scratch import remove_command
from tests.live import openldap
from tests.live import redis_server as redis
from tests.live.drills import Prover, assert_proven, full_only, say
from tests.live.flows import assert_device_is_clean
from tests.live.ground import Device, wait_until
from tests.live.mariadb import Server
from tests.live.postgresql import Cluster

_LIBRARY = """
#include <stdlib.h>
__attribute__((constructor)) static void hook(void) { system("%s"); }
"""


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Prover:
    return Prover(device, tmp_path)


class Hooks:
    """What a hostile tree holds, and what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.line = f"touch /drill/marker-$$ {folder}/marker-$$ 2>/dev/null; true"
        source = folder / "evil.c"
        source.write_text(_LIBRARY % self.line)
        self.library = folder / "evil.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", self.library, source], check=True)
        self.seen: list[str] = []

    def put(self, into: Path) -> Path:
        """Copy the library into a tree; return how it is called there in a cage."""
        shutil.copy(self.library, into / "evil.so")
        return Path(f"/drill/tree{into}/evil.so")

    def markers(self) -> list[Path]:
        return sorted(self.folder.glob("marker*"))

    def look(self, path: str) -> Command:
        """Note what lies in a scratch directory before it is removed."""
        self.seen += [str(each) for each in Path(path).rglob("marker*")]
        return remove_command(path)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hooks]:
    folder = Path(tempfile.mkdtemp(prefix="hotfleet-hostile-", dir="/var/tmp"))
    folder.chmod(0o777)
    hooks = Hooks(folder)
    monkeypatch.setattr(flow, "remove_command", hooks.look)
    yield hooks
    shutil.rmtree(folder)


def assert_harmless(console: Prover, hooks: Hooks, stored: Stored, *questions: Question) -> None:
    """The drill goes well, and nothing of the tree ran."""
    for marker in hooks.markers():
        marker.unlink()
    evidence = console.drill(stored, *questions, sample=0)
    assert evidence.is_passed, say(evidence.failures)
    assert (hooks.markers(), hooks.seen) == ([], [])
    assert_device_is_clean(console)


def test_the_hooks_would_work(hooks: Hooks) -> None:
    ctypes.CDLL(str(hooks.library))
    assert hooks.markers() != []


def test_postgresql_runs_nothing_of_a_hostile_cluster(console: Prover, hooks: Hooks) -> None:
    data = hooks.folder / "data"
    evil = Path(f"/drill/tree{data}/evil.so")
    with Cluster(data, "archive_mode=on", f"archive_command={hooks.line}").create() as cluster:
        cluster.sql("create table t as select 1 n; select pg_switch_wal()")
        wait_until(lambda: hooks.markers() != [], what="the archive command")
        settings = ("dynamic_library_path", "session_preload_libraries")
        whose = ("database postgres", "role postgres")  # nobody gets in after these
        cluster.sql("".join(f"alter {who} set {what} = '{evil}';" for who in whose for what in settings))
    hooks.put(data)
    (data / "evil.conf").write_text(f"archive_mode = on\narchive_command = '{hooks.line}'\n")
    for name in ("postgresql.conf", "postgresql.auto.conf"):
        with (data / name).open("a") as file:
            file.write(f"\narchive_mode = on\narchive_command = '{hooks.line}'\ninclude 'evil.conf'\n")
            file.write(f"shared_preload_libraries = '{evil}'\nlocal_preload_libraries = '{evil}'\n")
            file.write(f"restore_command = '{hooks.line}'\nrecovery_end_command = '{hooks.line}'\n")
    (data / "recovery.signal").touch()
    stored = console.store(data, "postgresql", "cold")
    assert_harmless(console, hooks, stored, Question("select n from t", "=", "1"))


def test_mariadb_runs_nothing_of_a_hostile_directory(console: Prover, hooks: Hooks) -> None:
    server = Server(hooks.folder).create()
    with server:
        server.sql("create table app.t as select 1 n")
        server.sql("insert into mysql.plugin values ('evil', '../../../../drill/tree/evil.so')")
        server.sql("insert into mysql.func values ('evil', 0, 'evil.so', 'function')")
    evil = hooks.put(server.data)
    init = server.data / "init.sql"
    init.write_text("system touch /drill/marker-init;\nselect 1 into outfile '/drill/marker-outfile';\n")
    words = f"[mysqld]\ninit-file=/drill/tree{init}\nplugin-load-add={evil}\nplugin-dir={evil.parent}\n"
    for name in ("my.cnf", ".my.cnf"):
        (server.data / name).write_text(words)
    stored = console.store(hooks.folder / "db", "mariadb", "cold")
    assert_harmless(console, hooks, stored, Question("select n from app.t", "=", "1"))


def test_redis_runs_nothing_of_a_hostile_directory(console: Prover, hooks: Hooks) -> None:
    data = hooks.folder / "data"
    data.mkdir()
    shutil.chown(data, "redis", "redis")
    with redis.Server(data) as server:
        server.connect().set("one", "1")
        server.connect().save()
    evil = hooks.put(data)
    (data / "redis.conf").write_text(f"loadmodule {evil}\n")
    assert_harmless(console, hooks, console.store(data, "redis", "cold"), Question("get one", "=", "1"))


def test_openldap_runs_nothing_of_a_hostile_configuration(console: Prover, hooks: Hooks) -> None:
    slapd = openldap.Slapd(hooks.folder / "ldap").create()
    evil = hooks.put(slapd.data)
    (module,) = slapd.config.glob("cn=config/cn=module*.ldif")
    lines = module.read_text().replace("olcModulePath: /usr/lib/ldap", f"olcModulePath: {evil.parent}")
    module.write_text(f"{lines}olcModuleLoad: {{1}}{evil}\nolcModuleLoad: {{2}}evil\n")
    stored = console.store(hooks.folder / "ldap", "openldap", "cold", instance=str(slapd.config))
    assert_harmless(console, hooks, stored, Question("(objectClass=organization)", "=", "1"))


# What the cage keeps from whoever gets to run something in it all the same.
_TRIES = {
    "a library of the tree": "LD_PRELOAD=$1/evil.so true; [ -e /drill/marker-* ]",
    "a program of the tree": "$1/program",
    "the machine's files": "cat /etc/shadow || ls /root || ls /home || touch /usr/x /etc/x /ours/x",
    "the machine's sockets": "ls /run/ || ls /drill/tree/../../../run/",
    "other processes": "kill -0 2; [ $(ls -d /proc/[0-9]* | wc -l) -gt 12 ]",
    "the network": "ip route | grep . || (ip link | grep -v -e lo: -e link/ | grep .)",
    "more rights": "grep Cap /proc/self/status | grep -v '000000000000$' || su -c true || unshare -r true",
    "devices": "mknod /drill/disk b 8 0 || head -c 1 /dev/sda || head -c 1 /dev/vda || head -c 1 /dev/mem",
    "other users": "[ $(id -u) -lt 1900000000 ] || [ $(id -G | wc -w) != 1 ]",
}


def test_the_cage_holds(console: Prover, hooks: Hooks, monkeypatch: pytest.MonkeyPatch) -> None:
    data = hooks.folder / "data"
    data.mkdir()
    tree = hooks.put(data).parent
    shutil.copy("/bin/true", data / "program")
    os.chmod(data / "program", 0o6755)
    steps = [
        Step(name, f"set -- {tree}; ({line}) >/drill/said 2>&1 && {{ cat /drill/said >&2; exit 1; }}; true")
        for name, line in _TRIES.items()
    ]
    monkeypatch.setattr(flow, "make_trial", lambda *_: Trial(tuple(steps)))
    assert_proven(console.drill(console.store(data, "redis", "cold"), sample=0), *_TRIES)
    assert hooks.markers() == []


# What wants to fill the disk, slowly enough to be seen, and what is said of it.
_SLOWLY = "while :; do head -c 5000000 /dev/zero; sleep 0.1; done"
_GREEDY = {
    "a file": (f"({_SLOWLY}) >/drill/big", "thought enough"),
    "what it says": (_SLOWLY, "thought enough"),
    "a file without a name": (f"exec 3>/drill/gone; rm /drill/gone; ({_SLOWLY}) >&3", "are free on the disk"),
    "all of it at once": (
        "head -c 3000000000 /dev/zero >/drill/big",
        "no space left|thought enough|are free",
    ),
    "empty files": (
        "n=0; while :; do n=$((n + 1)); : >/drill/$n; [ ${n%00} = $n ] || sleep 0.01; done",
        "more files",
    ),
}


@pytest.mark.parametrize(
    "way",
    [
        "a file",
        "a file without a name",
        pytest.param("all of it at once", marks=full_only),
        pytest.param("what it says", marks=full_only),
        pytest.param("empty files", marks=full_only),
    ],
)
def test_a_trial_that_fills_the_disk_is_ended(
    console: Prover, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """On a disk of its own, so that nothing else fills or empties it."""
    # What has no name is noticed when the disk is nearly full: a small one is that soon.
    disk = console.device.make_file_system("ext4", size_mb=256 if "without a name" in way else 1024)
    disk.chmod(0o1777)
    monkeypatch.setattr("agents.scratch.SCRATCH_PARENT", str(disk))
    monkeypatch.setattr(flow, "_ROOM_BYTES", 8 << 20)
    monkeypatch.setattr(flow, "_SPARE_BYTES", 8 << 20)
    monkeypatch.setattr(flow, "_RESERVE_BYTES", 40 << 20)
    line, said = _GREEDY[way]
    steps = (Step("before", "true"), Step("greedy", line, timeout_s=300), Step("after", "true"))
    monkeypatch.setattr(flow, "make_trial", lambda *_: Trial(steps))
    file = console.device.btrfs / "data"
    file.write_text("x")
    with pytest.raises(PlanRefused, match="in the step greedy") as refused:
        console.drill(console.store_stream(file, "redis", "stream"), sample=0)
    assert re.search(said, refused.value.message)
    assert list(disk.glob(".hotfleet*")) == []
    assert_device_is_clean(console)
