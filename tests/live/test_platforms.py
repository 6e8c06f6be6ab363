"""Devices that are not as one would like them: noexec, read-only, old. Each works, or says what to do."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from agents.commands import Command
from agents.errors import AgentError, PlatformRefused
from agents.events import Checked, CheckState
from agents.restic.binary import Binary, find_binary
from agents.runner import Bind, Runner
from tests.live.caged import CagedDevice, OldDevice
from tests.live.flows import VENV_BIN, Console, picture_of
from tests.live.ground import Device
from tests.live.hearing import read_all

HERE = Path("/var/cache/hotfleet")
# The machine's own shipped programs, if there are any, are out of sight under these.
NO_EXEC_CACHE = "mount -t tmpfs -o noexec tmpfs /var/cache"
READ_ONLY_CACHE = "mount -t tmpfs -o ro tmpfs /var/cache"
FULL_CACHE = "mount -t tmpfs -o size=1m tmpfs /var/cache"
READ_ONLY_ROOT = (
    "mkdir $directory/empty; mount --bind $directory/empty /var/cache; mount -o remount,bind,ro /var/cache; "
    "mount --bind $directory $directory; mount -o remount,bind,ro /"
)


@pytest.fixture
def cage(live_ground: None) -> Iterator[Callable[[str], Device]]:
    """Make devices on which a script was run first; all of them are gone after the test."""
    with ExitStack() as stack:
        yield lambda setup: stack.enter_context(CagedDevice(setup))


@pytest.fixture
def old(live_ground: None) -> Iterator[OldDevice]:
    device = OldDevice()
    try:
        yield device
    finally:
        device.close()


def ticks_of(console: Console) -> dict[str, Checked]:
    console.probe()
    return {event.name: event for event in console.events if isinstance(event, Checked)}


def refused_tick(console: Console) -> Checked:
    tick = ticks_of(console)["restic"]
    assert tick.state is CheckState.BAD and tick.remedy
    return tick


def test_noexec_tmp_and_run_do_not_matter(cage: Callable[[str], Device], tmp_path: Path) -> None:
    setup = "mount -t tmpfs -o noexec,nosuid,nodev tmpfs /run; mkdir /run/sshd; "
    setup += "mount -t tmpfs -o noexec tmpfs /dev/shm; mount -t tmpfs tmpfs /var/cache; "
    device = cage(setup + "mount -t tmpfs -o noexec tmpfs /tmp")
    console = Console(device, tmp_path)
    tick = ticks_of(console)["restic"]
    assert tick.state is CheckState.GOOD and "ours, sent" in tick.text
    restore_all(console, device)


def restore_all(console: Console, device: Device) -> None:
    """A whole backup and a whole restore."""
    source = device.directory / "data"
    source.mkdir()
    (source / "file").write_bytes(os.urandom(3_000_000))
    point = console.back_up(source, fallback="accept-live").points[0]
    restored = device.directory / "restored"
    console.restore(point.restic_id, source, restored)
    assert picture_of(restored) == picture_of(source)


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        (
            NO_EXEC_CACHE,
            "No program may start in /var/cache/hotfleet on the device: /var/cache is mounted noexec",
        ),
        (READ_ONLY_CACHE, "/var/cache/hotfleet lies on a read-only file system"),
        (READ_ONLY_ROOT, "/var/cache/hotfleet lies on a read-only file system"),
        (FULL_CACHE, "There is no room for restic on the device"),
    ],
)
def test_a_device_without_a_place_for_restic_says_which_and_why(
    cage: Callable[[str], Device], tmp_path: Path, setup: str, words: str
) -> None:
    console = Console(cage(setup), tmp_path)
    tick = refused_tick(console)
    assert words in tick.text and "symbolic link or a bind mount" in tick.remedy
    with pytest.raises(AgentError) as refusal:
        console.back_up("/etc/skel", fallback="accept-live")
    assert words in refusal.value.message
    assert not list(console.place.path.glob("snapshots/*"))


def test_another_folder_under_the_same_name_is_the_remedy(
    cage: Callable[[str], Device], tmp_path: Path
) -> None:
    setup = f"{NO_EXEC_CACHE}; mkdir $directory/programs; ln -s $directory/programs {HERE}"
    tick = ticks_of(Console(cage(setup), tmp_path))["restic"]
    assert tick.state is CheckState.GOOD and "ours, sent" in tick.text


def test_a_devices_own_restic_is_used_and_nothing_is_sent(
    cage: Callable[[str], Device], tmp_path: Path
) -> None:
    setup = "mount -t tmpfs tmpfs /usr/local/sbin; cp {} /usr/local/sbin/restic; {}"
    device = cage(setup.format(find_binary([VENV_BIN]).path, READ_ONLY_ROOT))
    tick = ticks_of(Console(device, tmp_path))["restic"]
    assert tick.state is CheckState.GOOD and "already there" in tick.text


def test_an_old_restic_of_the_device_is_named(cage: Callable[[str], Device], tmp_path: Path) -> None:
    script = "mount -t tmpfs tmpfs /usr/local/sbin; printf '#!/bin/sh\\necho restic 0.14.0 compiled\\n' "
    script += f"> /usr/local/sbin/restic; chmod 755 /usr/local/sbin/restic; {NO_EXEC_CACHE}"
    tick = refused_tick(Console(cage(script), tmp_path))
    assert "its own restic 0.14.0 is too old" in tick.text


def test_a_loader_that_the_device_has_not_is_told(cage: Callable[[str], Device], tmp_path: Path) -> None:
    """What a program for glibc meets on musl: it is there, and the shell says that it is not."""
    console = Console(cage("mount -t tmpfs tmpfs /var/cache"), tmp_path)
    content = console.binary.path.read_bytes()
    foreign = tmp_path / "foreign"
    foreign.write_bytes(content.replace(b"/ld-linux-x86-64.so.2\0", b"/ld-nobody-x86-64.so\0", 1))
    assert foreign.read_bytes() != content
    console.binary = Binary(foreign, console.binary.version, sha256_of(foreign), console.binary.machine)
    tick = refused_tick(console)
    assert "needs another C library" in tick.text and "static" in tick.remedy


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_enforcing_selinux_is_told_with_what_it_means(cage: Callable[[str], Device], tmp_path: Path) -> None:
    """This kernel has none: a file in its place, read by the real commands."""
    setup = "mount -t tmpfs tmpfs /sys/fs; mkdir /sys/fs/selinux; printf 1 > /sys/fs/selinux/enforce"
    tick = ticks_of(Console(cage(setup), tmp_path))["selinux"]
    assert tick.state is CheckState.WARNING and "enforcing" in tick.text and "restorecon" in tick.remedy


def test_debian_11_is_told_about_its_c_library(old: OldDevice, tmp_path: Path) -> None:
    console = Console(old, tmp_path)
    ticks = ticks_of(console)
    assert "Debian GNU/Linux 11" in ticks["system"].text and ticks["system"].state is CheckState.GOOD
    tick = ticks["restic"]
    assert tick.state is CheckState.BAD and "static program" in tick.remedy
    needs = "The restic that Hotfleet ships needs a newer C library (glibc 2.34; this device has 2.31)"
    assert needs in tick.text
    bad = [name for name, each in ticks.items() if each.state is CheckState.BAD]
    assert ticks["selinux"].state is CheckState.GOOD
    assert bad == ["restic"], "everything else works there"
    assert not (old.root / "var/cache/hotfleet").exists(), "nothing was sent in vain"
    (old.root / "srv" / "file").write_text("kept")
    with pytest.raises(AgentError) as refusal:
        console.back_up("/srv", fallback="accept-live")
    assert needs in refusal.value.message


def test_the_program_really_does_not_start_on_debian_11(old: OldDevice, tmp_path: Path) -> None:
    """The control: what was foretold from its header happens."""
    console = Console(old, tmp_path)
    session = old.connect()
    program = console.binary.path.read_bytes()
    session.run(Command.of("sh", "-c", "cat > /restic; chmod 755 /restic", stdin=program), timeout_s=60)
    result = session.run(Command.of("/restic", "version"), timeout_s=60)
    session.close()
    assert not result.is_success and "GLIBC_2.34" in result.tail


def test_the_runner_works_on_debian_11(old: OldDevice, tmp_path: Path) -> None:
    (old.root / "srv" / "file").write_text("live")
    snapshot = old.root / "snapshot"
    snapshot.mkdir()
    (snapshot / "file").write_text("frozen")
    session = old.connect()
    with Runner(session, console_id=f"o{os.getpid()}", run_id="r1", tell=lambda event: None) as runner:
        look = "cat /srv/file; touch /srv/no || echo kept"
        program = runner.start(
            Command.of("sh", "-c", look), environment={}, binds=[Bind("/snapshot", "/srv")]
        )
        assert program.wait(timeout_s=60) == 0
        assert read_all(program) == b"frozenkept\n"
        assert runner.run(Command.of("cat", "/srv/file")).stdout == b"live"
    session.close()


NOTHING_IS_PRIVATE = """
mount --make-rshared /
fake=$directory/fake
mkdir $fake
cp /usr/bin/mount $fake/real-mount
cp /usr/bin/unshare $fake/real-unshare
printf '#!/bin/sh\\necho "$*" >>%s\\n' $directory/mounts >$fake/mount
printf '[ "$1" != --make-rprivate ] || exit 0\\nexec %s "$@"\\n' $fake/real-mount >>$fake/mount
printf '#!/bin/sh\\nexec %s --propagation unchanged "$@"\\n' $fake/real-unshare >$fake/unshare
chmod 755 $fake/mount $fake/unshare
mount --bind $fake/unshare /usr/bin/unshare
mount --bind $fake/mount /usr/bin/mount
"""


def test_where_mounts_cannot_be_made_private_nothing_is_bound(cage: Callable[[str], Device]) -> None:
    """Old util-linux and some sandboxes: a snapshot would cover the live files for everybody."""
    device = cage(NOTHING_IS_PRIVATE)
    session = device.connect()
    snapshot = device.directory / "snapshot"
    snapshot.mkdir()

    def mounts() -> set[str]:
        return set(session.run(Command.of("cat", "/proc/self/mountinfo"), timeout_s=60).text.splitlines())

    before = mounts()
    assert before and all(" shared:" in line for line in before)
    with Runner(session, console_id=f"o{os.getpid()}", run_id="r1", tell=lambda event: None) as runner:
        with pytest.raises(PlatformRefused, match="hide a snapshot") as refusal:
            runner.start(
                Command.of("true"),
                environment={},
                binds=[Bind(str(snapshot), str(device.directory / "keys"))],
            )
        assert refusal.value.remedy
        assert mounts() <= before, "others' may go meanwhile, none may come"
    session.close()
    assert (device.directory / "mounts").read_text() == "--make-rprivate /\n"
