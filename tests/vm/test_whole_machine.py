"""A machine that is gone comes back on another one with an empty disk, by what docs/whole-machine.md says.

Its blocks of commands are read out of the document and run as they stand: it cannot say what does not work.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from agents.plan import SourceRequest
from agents.restore import Mode
from tests.live.daemons import bring_back, stored_of
from tests.live.flows import Console
from tests.live.ground import Device
from tests.vm.image import find_image
from tests.vm.machine import Vm
from tests.vm.new_machine import UEFI, NewMachine
from tests.vm.traces import wait_until_clean

DOCUMENT = Path(__file__).parents[2] / "docs/whole-machine.md"
_BLOCK = re.compile(r"^( *)```sh ([a-z-]+)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
# What a person writes in place of the examples in the block "names".
NAMES = """
DISK=/dev/vdb
CARD=eth0
OLD_CARD=eth0
APPLICATIONS="postgresql mariadb ledger"
T=/mnt/restored
"""
TARGET = "/mnt/restored"
BEFORE = ("disk", "format")
# As the document orders them, from the files that came to the restart.
AFTERWARDS = (
    *("mounts", "fstab", "old-disks", "network", "hold"),
    *("initramfs", "bios", "uefi", "menu", "check", "leave"),
)
BOOTED = ("unhold", "ready")
LEDGER = "/srv/ext/ledger"
# What is emulated, beside other work, is slow.
LEDGER_SOURCE = SourceRequest(LEDGER, mode="cold", services=("ledger.service",), longest_downtime_s=600)
DATABASE_SOURCE = SourceRequest(application="postgresql", instance="15/main", method="stream")
# Data that have sources of their own.
_OWN_SOURCES = ("/srv/ext/*", "/srv/xfs/*", "/srv/thin/*")

_FURNISH = """
set -e
mkdir -p /opt/lab/deep && cd /opt/lab
echo "this machine and no other" >marker && chown 12345:23456 marker && chmod 0640 marker
touch -d '2019-03-04 05:06:07.123456789' marker
cp /usr/bin/id become && chmod 4755 become
cp /usr/bin/true net && setcap cap_net_raw+ep net
echo shared >acl && setfacl -m u:hotfleet:rw acl
head -c 1M /dev/urandom >deep/one && ln deep/one two
truncate -s 20M sparse && echo end >>sparse
ln -s /nowhere/at/all link && mkfifo pipe && mknod -m 0600 null c 1 3
printf x >"deep/new
line"
runuser -u postgres -- psql -q -c 'CREATE TABLE answers AS SELECT 42 AS answer'
sync
"""
# What has to be the same afterwards, each in a line.
_LOOK = r"""
cd /opt/lab && {
find . -printf '%P %y %m %U %G %T@ %n %l\n' | sort
getcap -r . ; getfacl -n acl ; stat -c '%t %T' null
cksum marker become net deep/one two sparse
[ "$(stat -c %i deep/one)" = "$(stat -c %i two)" ] && echo linked
[ "$(du -k sparse | cut -f1)" -lt 1000 ] && echo sparse
runuser -u hotfleet -- ./become -u
stat -c '%a %U %G %n' / /tmp /var/tmp /root /etc/shadow /usr/bin/sudo /var/lib/postgresql /home/hotfleet/.ssh
getcap -r /usr/bin /usr/lib/x86_64-linux-gnu 2>/dev/null | sort
cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub
}
"""


def read_blocks() -> dict[str, str]:
    """Return the blocks of commands of the document by their names, in its order."""
    found = _BLOCK.findall(DOCUMENT.read_text())
    blocks = {name: textwrap.dedent(body) for _, name, body in found}
    assert len(blocks) == len(found), "two blocks have one name"
    return blocks


BLOCKS = read_blocks()


def run_block(machine: Vm, name: str) -> str:
    """Run a block as the document has it, after the names."""
    script = f"{NAMES}\n{BLOCKS['partitions']}\n{BLOCKS[name]}"
    said = machine.run(f"set -eu\n{script}", timeout_s=1800)
    print(f"--- {name}\n{said}", end="")
    return said


@pytest.fixture
def make_machine(needs_qemu: None, tmp_path: Path) -> Iterator[Callable[[type[Vm]], Vm]]:
    """A function that makes a machine of a kind, switched off."""
    made: list[Vm] = []

    def make(kind: type[Vm]) -> Vm:
        folder = tmp_path / kind.__name__
        folder.mkdir()
        made.append(kind(find_image(), folder))
        return made[-1]

    yield make
    for machine in made:
        machine.close()


def check_copy_only(machine: Vm) -> None:
    """Give what was restored another identity, as the document does, and put the first one back."""
    look = f"cd {TARGET}/etc && cat machine-id ssh/ssh_host_*_key.pub"
    before = machine.run(look).splitlines()
    machine.run(f"cd {TARGET}/etc && tar -cf /run/identity machine-id ssh")
    run_block(machine, "copy-only")
    after = machine.run(look).splitlines()
    assert len(after) == len(before) and not {*after} & {*before}
    machine.run(f"tar -xf /run/identity -C {TARGET}/etc")
    assert machine.run(look).splitlines() == before


def test_every_block_of_the_document_is_run_by_a_test() -> None:
    assert list(BLOCKS) == [
        *("names", "disk", "partitions", "format"),
        *("mounts", "fstab", "old-disks", "network", "copy-only", "hold"),
        *("initramfs", "bios", "uefi", "menu", "check", "leave", "unhold", "ready"),
    ]
    assert {*BEFORE, *AFTERWARDS, *BOOTED, "names", "partitions", "copy-only"} == set(BLOCKS)
    names = re.compile(r"^([A-Z_]+)=", re.MULTILINE)
    assert names.findall(NAMES) == names.findall(BLOCKS["names"])


@pytest.mark.full
def test_a_machine_comes_back_on_an_empty_disk_and_boots_from_it_alone(
    make_machine: Callable[[type[Vm]], Vm], tmp_path: Path
) -> None:
    """Half an hour on two busy cores (22 November 2026), half of it the backup: a Debian is read, written
    and compared by emulated processors, and booted five times."""
    assert UEFI.exists(), "needs the package ovmf"
    old, new = make_machine(Vm), cast(NewMachine, make_machine(NewMachine))
    console = Console(cast(Device, old), tmp_path)
    old.boot()
    old.run(_FURNISH)
    before = old.run(_LOOK)
    system = console.back_up("/", fallback="accept-live", excludes=_OWN_SOURCES)
    ledger = console.back_up(LEDGER_SOURCE)
    database = console.back_up(DATABASE_SOURCE)
    old.power_cut()  # it is gone

    new.boot()
    console.device = cast(Device, new)
    for name in BEFORE:
        run_block(new, name)
    outcome = console.restore(system.points[0].restic_id, "/", TARGET)
    print(outcome)
    assert outcome.is_complete, console.problems
    for name in AFTERWARDS:
        if name == "leave":
            check_copy_only(new)
        run_block(new, name)
    new.switch_off()

    for firmware in ("uefi", "bios"):
        print(f"booted by {firmware}: {new.boot_alone(firmware):.0f} s")
        assert new.run("findmnt -n -o SOURCE /; ls -d /sys/firmware/efi; true").split() == [
            "/dev/vda3",
            *(["/sys/firmware/efi"] if firmware == "uefi" else []),
        ]
        assert new.run(_LOOK) == before
        if firmware == "uefi":
            new.switch_off()

    run_block(new, "unhold")
    console.restore(ledger.points[0].restic_id, LEDGER, None, mode=Mode.EXACT)
    new.run(f"python3 /usr/local/lib/lab/ledger.py check {LEDGER} && systemctl start ledger")
    stored, known = stored_of(database, "postgresql", "15/main")
    bring_back(console, stored, known, longest_start_s=600)
    assert new.run("runuser -u postgres -- psql -At -c 'SELECT answer FROM answers'").strip() == "42"
    run_block(new, "ready")
    wait_until_clean(new, console.id, timeout_s=30)
    new.run("systemctl disable mariadb")  # nobody backed up its data
    new.switch_off()
    new.boot_alone("bios")
    assert new.run("systemctl is-active ledger postgresql@15-main").split() == ["active", "active"]
    assert new.run("runuser -u postgres -- psql -At -c 'SELECT answer FROM answers'").strip() == "42"
