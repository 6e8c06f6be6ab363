"""libvirt: the disks of a virtual machine, by a snapshot below them or by the hypervisor's own backup.

Written against libvirt's documentation: not exercised against a hypervisor (docs/operate.md says so)."""

from __future__ import annotations

from dataclasses import replace

from agents.applications.contract import Application
from agents.applications.processes import FUNCTIONS
from agents.applications.recipes import SNAPSHOT, STREAM, Ground, Offer, Patience, Quiesce, Recipe, Stream
from agents.commands import Command, quote
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import parse_number, split_fields

_ASK = (
    FUNCTIONS
    + r"""
command -v virsh >/dev/null || exit 0
ask() { bounded 5 virsh -q -c qemu:///system "$@" </dev/null 2>/dev/null; }
ask list --all --uuid | head -n 200 | while read -r uuid; do
  [ -n "$uuid" ] && ! is_late || continue
  state=$(ask domstate "$uuid") && disks=$(ask domblklist --details "$uuid") || continue
  name=$(ask domname "$uuid") || continue
  agent=no size=0
  if [ "$state" = running ]; then
    ping='{"execute":"guest-ping"}'
    ! ask qemu-agent-command "$uuid" --timeout 3 "$ping" >/dev/null || agent=yes
    size=$(ask domblkinfo "$uuid" --all | awk '$2 ~ /^[0-9]+$/ { sum += $2 } END { printf "%.0f", sum }')
  fi
  version=$(ask version | sed -n 's/^Using library: libvirt //p')
  say "$name" "$uuid" "$state" "$agent" "$size" "$version" "$disks"
done
"""
)
_VIRSH = "virsh -q -c qemu:///system"
# A frozen guest stays frozen whoever asked for it: $hold/frozen is there before it is.
_FREEZE = f"""
: >"$hold/frozen" || return 1
{_VIRSH} domfsfreeze {{uuid}} >/dev/null </dev/null
"""
# A machine that is off, or gone, is not frozen any more.
_THAW = f"""
[ -e "$hold/frozen" ] || return 0
if ! {_VIRSH} domfsthaw {{uuid}} >/dev/null </dev/null; then
  {_VIRSH} version >/dev/null </dev/null || return 1
  case $({_VIRSH} domstate {{uuid}} 2>/dev/null </dev/null) in
    'shut off' | crashed | '') ;;
    *) return 1 ;;
  esac
fi
rm -f -- "$hold/frozen"
"""
# The words: scratch, machine, is there an agent, seconds of a freeze, disks. The hypervisor copies on write
# into the scratch; a thaw of its own stands ready before the guest is frozen, whatever this program becomes.
_BACKUP = rf"""
set -u
scratch=$1 uuid=$2 agent=$3 seconds=$4
shift 4
virsh() {{ command {_VIRSH} "$@" </dev/null; }}
began=no watcher=''
finish() {{
  [ "$agent" = no ] || virsh domfsthaw "$uuid" >/dev/null 2>&1
  [ "$began" = no ] || virsh domjobabort "$uuid" >/dev/null 2>&1
  [ -z "$watcher" ] || kill -s KILL -- "-$watcher" 2>/dev/null
  rm -f -- "$scratch"/*.qcow2 "$scratch"/*.xml
}}
trap finish EXIT
trap 'exit 143' TERM INT HUP
chmod 0711 -- "$scratch" || exit 1 # the hypervisor's user must reach its files, and cannot list them
virsh dumpxml --inactive --security-info "$uuid" >"$scratch/domain.xml" || exit 1
{{
  echo '<domainbackup mode="push"><disks>'
  for disk; do
    echo "<disk name='$disk' type='file'><target file='$scratch/$disk.qcow2'/><driver type='qcow2'/></disk>"
  done
  echo '</disks></domainbackup>'
}} >"$scratch/backup.xml" || exit 1
if [ "$agent" = yes ]; then
  setsid sh -c 'sleep "$1"; {_VIRSH} domfsthaw "$2"' thaw "$seconds" "$uuid" </dev/null >/dev/null 2>&1 &
  watcher=$!
  virsh domfsfreeze "$uuid" >&2 || exit 1
fi
virsh backup-begin "$uuid" "$scratch/backup.xml" >&2 || exit 1
began=yes
[ "$agent" = no ] || virsh domfsthaw "$uuid" >&2 || exit 1
while virsh domjobinfo "$uuid" | grep -q '^Job type: *[UB]'; do sleep 2; done
virsh domjobinfo --completed "$uuid" | grep -q '^Job type: *Completed' || exit 1
began=no
rm -f -- "$scratch/backup.xml"
tar -C "$scratch" -cSf - .
"""
_SPARE_BYTES = 64 * 1024 * 1024


class Libvirt(Application):
    """An instance is a virtual machine; its name is the machine's."""

    name = "libvirt"
    label = "libvirt"

    def look(self, facts: DeviceFacts) -> Command | None:
        return Command.of("/bin/sh", "-c", _ASK)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return tuple(_make_instance(row) for row in split_fields(output, 7))

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running:
            return ()
        has_agent = instance.detail("agent") == "yes"
        consistency = Consistency.FILE_SYSTEM if has_agent else Consistency.CRASH
        how = "the guest's file systems are frozen by its agent" if has_agent else "the guest is not asked"
        freeze = "the guest's writers wait, a second or two" if has_agent else "nothing is held"
        missing = "" if has_agent else "Install qemu-guest-agent in the guest for a frozen file system."
        offers = []
        if ground.is_atomic and instance.places and not instance.problems:
            reason = f"{ground.reason}; {how}"
            offers.append(Offer(SNAPSHOT, consistency, reason, freeze, missing=missing))
        if instance.detail("disks"):
            reason = f"the hypervisor copies each disk as it was at one moment; {how}"
            cost = f"up to {parse_number(instance.detail('size'), 'the size'):,} bytes of disk meanwhile"
            offers.append(Offer(STREAM, consistency, reason, freeze, cost, missing))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        has_agent = instance.detail("agent") == "yes"
        consistency = Consistency.FILE_SYSTEM if has_agent else Consistency.CRASH
        if method == SNAPSHOT and not instance.problems:
            quiesce = _freeze_around(instance) if has_agent else None
            return Recipe(
                SNAPSHOT, consistency, paths=instance.places, quiesce=quiesce, notes=_notes(instance)
            )
        if method != STREAM or not instance.detail("disks"):
            raise PlanRefused(f"the machine {instance.name} is not backed up by {method!r}")
        seconds = str(max(1, patience.freeze_ms // 1000))
        words = (scratch, instance.detail("uuid"), instance.detail("agent"), seconds)
        command = Command(("/bin/sh", "-c", _BACKUP, "backup", *words, *instance.detail("disks").split(" ")))
        size = parse_number(instance.detail("size"), "the size of the disks") + _SPARE_BYTES
        return Recipe(STREAM, consistency, streams=(Stream("machine.tar", command),), scratch_bytes=size)

    def cold(self, instance: Instance, facts: DeviceFacts) -> Recipe:
        """Raise PlanRefused also for a machine with a disk that is no file: its content would be missing."""
        if instance.problems:
            raise PlanRefused(
                f"{instance.label} cannot be copied from its files: {'; '.join(instance.problems)}",
                remedy="Back it up hot, while it runs.",
            )
        return replace(super().cold(instance, facts), notes=_notes(instance))


def _notes(instance: Instance) -> tuple[str, ...]:
    return (
        f"its definition is not part of it: add /etc/libvirt/qemu/{instance.name}.xml to the policy",
        "nor is the file that a disk is an overlay of (qemu-img info --backing-chain): add that too",
    )


def _freeze_around(instance: Instance) -> Quiesce:
    uuid = quote(instance.detail("uuid"))
    thaw = _THAW.format(uuid=uuid)
    # an undo is no function: return needs one
    undo = f"libvirt_thaw() {{\n{thaw}\n}}\nlibvirt_thaw"
    return Quiesce(label=instance.label, hold=_FREEZE.format(uuid=uuid), release=thaw, undo=undo)


def _make_instance(row: tuple[str, ...]) -> Instance:
    name, uuid, state, agent, size, version, disks = row
    is_uuid = len(uuid) == 36 and all(letter in "0123456789abcdef-" for letter in uuid)
    if not name or not is_uuid or agent not in ("yes", "no"):
        raise ProtocolBroken("virsh described a machine in unknown words", detail=repr(row)[:300])
    parse_number(size, "the size of the disks")
    targets, places, problems = _read_disks(disks)
    is_running = state not in ("shut off", "crashed")
    details = (
        Detail("uuid", uuid),
        Detail("agent", agent),
        Detail("size", size),
        Detail("disks", " ".join(targets) if state == "running" else ""),
    )
    return Instance(
        "libvirt", name, f"Machine {name}", version, places, "", is_running, details, tuple(problems)
    )


def _read_disks(text: str) -> tuple[list[str], tuple[str, ...], list[str]]:
    """Given `virsh -q domblklist --details`, return targets, files, and which disks are no files of here."""
    targets, places, problems = [], [], []
    for line in text.splitlines():
        words = line.split(None, 3)
        if len(words) < 3 or not words[2].isalnum():
            raise ProtocolBroken("virsh described a disk in unknown words", detail=line[:300])
        kind, device, target, source = (*words, "-")[:4]
        if device != "disk" or source == "-":
            continue
        targets.append(target)
        if kind in ("file", "block") and source.startswith("/"):
            places.append(source)
        if kind != "file":
            problems.append(f"its disk {target} is no file but {kind}: only the hypervisor's backup holds it")
    return targets, tuple(places), problems
