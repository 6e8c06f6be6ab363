"""The volumes in which LVM keeps snapshots of runs: their names, how large they get, how full they are, and
how they go away whatever died."""

from __future__ import annotations

from dataclasses import dataclass

from agents.commands import Command
from agents.errors import ProtocolBroken
from agents.facts import LogicalVolume
from agents.facts.wire import parse_number

# On every volume that a run makes, beside its name. Nothing without it is removed.
TAG = "hotfleet"

# A snapshot has the UUID of its origin. udev points /dev/disk/by-uuid at a thin one instead of at the live
# file system (seen on Debian 12, also with LVM's `activation{udev_rules=0}`), and systemd may
# unmount what hangs on a device that goes away. So a rule, on a tmpfs, hides ours from the first event on. It
# stands between the rules that name a device and those that link it: 10, 11 and 13 of LVM itself, 55, 56 and
# 60 of Debian.
_HIDE = """
set -eu
[ -d /run/udev ] && command -v udevadm >/dev/null || exit 0
mkdir -p /run/udev/rules.d
for place in 12 57; do
  printf '%s, ' 'SUBSYSTEM=="block"' 'ENV{DM_NAME}=="*-hotfleet--*"' \\
    'ENV{DM_UDEV_DISABLE_DISK_RULES_FLAG}="1"' >"/run/udev/rules.d/$place-$1.rules"
  printf '%s\\n' 'ENV{DM_UDEV_DISABLE_OTHER_RULES_FLAG}="1"' >>"/run/udev/rules.d/$place-$1.rules"
done
udevadm control --reload
"""
_SHOW = """
set -- "/run/udev/rules.d/12-$1.rules" "/run/udev/rules.d/57-$1.rules"
[ -e "$1" ] || [ -e "$2" ] || exit 0
rm -f -- "$@" && udevadm control --reload
"""

# A classic snapshot keeps the old content of what is written while it lives, each piece once.
_USUAL_SHARE = 0.10
_LEAST_SHARE = 0.02
_LEAST_BYTES = 16 << 20
# With it (and a table of what lies where) it cannot overflow.
_MOST_SHARE = 1.02
_COVERED_S = 1800.0
_SECTOR = 512

# Given paths with the "major:minor" of each: writes out what is dirty, so that LVM freezes for a short time,
# and prints for each how many sectors were written in how many seconds. dmsetup is run once: to thaw a file
# system that it lies on, it must be in memory.
_LOOK = """
set -eu
dmsetup version >/dev/null
while [ $# -gt 0 ]; do
  sync -f -- "$1" 2>/dev/null || sync
  [ "$(cat "/sys/dev/block/$2/dm/suspended")" = 0 ] || { echo "the volume of $1 is suspended" >&2; exit 1; }
  read -r _ _ _ _ _ _ sectors _ <"/sys/dev/block/$2/stat"
  read -r uptime _ </proc/uptime
  printf '%s\\0%s\\0' "$sectors" "${uptime%.*}"
  shift 2
done
"""

# Given names of device-mapper, prints each with its status, a thin one a second time with that of its pool.
_STATUS = """
for name in "$@"; do
  status=$(dmsetup status --noflush "$name") || exit 1
  printf '%s\\0%s\\0' "$name" "$status"
  case $status in *' thin '*)
    pool=$(dmsetup deps -o devname "$name") || exit 1
    pool=${pool#*\\(}
    status=$(dmsetup status --noflush "${pool%%)*}") || exit 1
    printf '%s\\0%s\\0' "$name" "$status"
  esac
done
"""

_FIND = """
list=$(lvm lvs --noheadings --separator ' ' -o vg_name,lv_name,lv_tags) || exit 1
printf '%s\\n' "$list" | while read -r group name tags; do
  case $name,$tags, in hotfleet-*-*-*-*,hotfleet,* | hotfleet-*-*-*-*,*,hotfleet,*) ;; *) continue ;; esac
  run=${name%-*}
  printf '%s\\0%s\\0' "${run%-*}" "$group/$name"
done
"""

# Given "group/name" of a snapshot, and its origin's name in device-mapper and "group/name" (or nothing).
# 1. An lvcreate or lvremove that was killed between freeze and thaw leaves the origin suspended: writers wait
#    for ever (seen with kill -9). Listing waits for the lock of whoever works on the group right now; who is
#    suspended before and after it is nobody's. Its half-made table is dropped, the one that it had goes on.
# 2. The snapshot goes when it has our name and our tag; nothing to do when it is gone. It may be busy for
#    moments: a program that read it is dying, udev looks at it.
#    An lvcreate that was killed after the kernel made a thin snapshot and before its pool counted it leaves
#    a pool in which LVM can do nothing any more ("already contain thin device", seen with kill -9): it would
#    make the snapshot again. So it is counted, as lvcreate was about to do.
# 3. A killed lvcreate may leave "-real" behind, which belongs to an origin only while it has snapshots.
_REMOVE = """
place=$1 mapped=${2-} origin=${3-}
case $place in */hotfleet-*-*-*-*) ;; *) echo "$place is no snapshot of a run" >&2; exit 1 ;; esac
is_suspended() { [ "$(dmsetup info -c --noheadings -o suspended "$1" 2>/dev/null)" = Suspended ]; }
list() { lvm lvs --noheadings --separator ' ' -o "$2" -S "vg_name=\\"${1%/*}\\" && lv_name=\\"${1#*/}\\""; }
count_made() {
  set -- $(list "$place" vg_name,pool_lv,transaction_id)
  [ $# = 3 ] || return 0
  pool=$(printf %s "$1" | sed 's/-/--/g')-$(printf %s "$2" | sed 's/-/--/g')-tpool made=$3
  set -- "$(list "$1/$2" transaction_id)" $(dmsetup status --noflush "$pool")
  [ "${4-} ${5-} ${1##* }" = "thin-pool $made $((made + 1))" ] || return 0
  dmsetup message "$pool" 0 "set_transaction_id $made $((made + 1))"
}
if [ -n "$mapped" ] && is_suspended "$mapped"; then
  list "$origin" lv_name >/dev/null
  sleep 1
  if is_suspended "$mapped"; then
    dmsetup clear "$mapped"
    dmsetup resume "$mapped" || exit 1
  fi
fi
tries=0
while :; do
  found=$(list "$place" lv_name,lv_tags) || exit 1
  [ -n "$found" ] || break
  set -- $found
  case ,${2-}, in *,hotfleet,*) ;; *) echo "$place is not tagged as ours" >&2; exit 1 ;; esac
  lvm lvremove -q -f -y -A n "$place" >/dev/null && continue
  tries=$((tries + 1))
  [ "$tries" -lt 3 ] || exit 1
  count_made
  sleep 1
done
if [ -n "$mapped" ] && dmsetup info "$mapped-real" >/dev/null 2>&1; then
  case $(list "$origin" lv_attr) in *[!\\ ]*) ;; *) exit 0 ;; esac
  case $(list "$origin" lv_attr) in *\\ [oO]*) ;; *) dmsetup remove --retry "$mapped-real" ;; esac
fi
"""


@dataclass(frozen=True, slots=True)
class Fill:
    """How full the space of a snapshot is (0 to 1). `trouble`: why it is no snapshot any more."""

    name: str
    is_pool: bool
    share: float
    trouble: str = ""


def name_volume(run: str, number: int, at: int) -> str:
    """Given a run's name and two numbers, return the name of a volume. `find_command` takes it apart."""
    return f"{run}-{number}-{at}"


def mapper_name(full_name: str) -> str:
    """Given "group/name", return the name that device-mapper knows it by."""
    return "-".join(word.replace("-", "--") for word in full_name.split("/"))


def hide_command(run: str, number: int) -> Command:
    """Given a run's name and a number, return the command that hides the volumes of runs from udev."""
    return Command.of("/bin/sh", "-c", _HIDE, "hotfleet", f"{run}-{number}")


def show_command(run: str, number: int) -> Command:
    """Return the idempotent command that takes back what `hide_command` did."""
    return Command.of("/bin/sh", "-c", _SHOW, "hotfleet", f"{run}-{number}")


def look_command(paths_with_devices: list[tuple[str, str]]) -> Command:
    """Given paths and the "major:minor" of their file systems, return the command for `write_rate`."""
    words = [word for pair in paths_with_devices for word in pair]
    return Command.of("/bin/sh", "-c", _LOOK, "hotfleet", *words)


def write_rate(sectors: str, uptime_s: str) -> float:
    """Given what /sys counts and the uptime, return the mean of what was written, in bytes a second.

    The mean since the start of the device: a rough guess, and `status_command` sees what it misses."""
    seconds = max(1, parse_number(uptime_s, "the uptime"))
    return parse_number(sectors, "a number of sectors") * _SECTOR / seconds


def status_command(full_names: list[str]) -> Command:
    """Given volumes, return the command that `parse_fill` understands. It reads no disk and takes no lock."""
    return Command.of("/bin/sh", "-c", _STATUS, "hotfleet", *map(mapper_name, full_names))


def find_command() -> Command:
    """Return the command that prints the run's name and "group/name" of each run's volume, NUL-ended."""
    return Command.of("/bin/sh", "-c", _FIND, "hotfleet")


def remove_command(full_name: str, origin: str = "") -> Command:
    """Given a run's volume and what it is a snapshot of, return the idempotent command that removes it.

    With an origin it also lets that go on when it was left suspended."""
    words = (mapper_name(origin), origin) if origin else ()
    return Command.of("/bin/sh", "-c", _REMOVE, "hotfleet", full_name, *words)


def least_bytes(origin: LogicalVolume) -> int:
    """Given the origin of a classic snapshot, return the space below which none is tried."""
    return max(_LEAST_BYTES, int(origin.size_bytes * _LEAST_SHARE))


def wanted_bytes(origin: LogicalVolume, bytes_a_second: float) -> int:
    """Given an origin and how much is written to it, return the space that its snapshot should have."""
    usual = max(origin.size_bytes * _USUAL_SHARE, bytes_a_second * _COVERED_S, _LEAST_BYTES)
    return int(min(usual, origin.size_bytes * _MOST_SHARE + _LEAST_BYTES))


def share_extents(wanted: list[int], least: list[int], free_bytes: int, extent_bytes: int) -> list[int]:
    """Given what the snapshots of one group want and need, return the extents that each gets.

    All of it when it is there; else each its least, and of the rest by what it wants. Empty when not even the
    least is there."""
    free = free_bytes // extent_bytes
    wants = [-(-each // extent_bytes) for each in wanted]
    needs = [min(want, -(-each // extent_bytes)) for want, each in zip(wants, least, strict=True)]
    if sum(wants) <= free:
        return wants
    rest, asked = free - sum(needs), sum(wants) - sum(needs)
    if rest < 0:
        return []
    return [need + rest * (want - need) // asked for want, need in zip(wants, needs, strict=True)]


def parse_fill(name: str, status: str) -> Fill:
    """Given a row of `status_command`, return how full it is. Raise ProtocolBroken when it is none.

    The words are those of the kernel's documents (device-mapper/snapshot.rst, thin-provisioning.rst)."""
    words = status.split()
    kind = words[2] if len(words) > 3 else ""
    if kind == "snapshot":
        if "/" not in words[3]:
            return Fill(name, False, 1.0, "it overflowed")
        return Fill(name, False, _parse_ratio(words[3]))
    if kind == "thin":
        return Fill(name, False, 0.0, "its pool failed" if words[3] == "Fail" else "")
    if kind == "thin-pool":
        if words[3] in ("Fail", "Error") or len(words) < 8:
            return Fill(name, True, 1.0, "its pool failed")
        share = max(_parse_ratio(words[4]), _parse_ratio(words[5]))
        trouble = "" if words[7] == "rw" else f"its pool is {words[7][:40]}"
        return Fill(name, True, share, trouble)
    raise ProtocolBroken("dmsetup tells a status that nobody knows", detail=repr(status[:300]))


def _parse_ratio(text: str) -> float:
    used, _, total = text.partition("/")
    return parse_number(used, "a fill") / max(1, parse_number(total, "a size"))
