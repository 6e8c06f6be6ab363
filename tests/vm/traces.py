"""What runs of a console left in the machine."""

from __future__ import annotations

from tests.live.ground import wait_until
from tests.vm.machine import Vm

# The name is put together in the guest, or the processes that look for it would find themselves.
_LOOK = """
pattern="hotfleet""-{console_id}-"
ls -d /run/hotfleet/"$pattern"* /dev/shm/hotfleet/"$pattern"* /var/lib/hotfleet/"$pattern"* 2>/dev/null
systemctl list-units --all --plain --no-legend "$pattern*"
printf %s "$pattern" | grep -Ff - /proc/self/mountinfo
printf %s "$pattern" | grep -laFf - /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null
lvs --noheadings -o vg_name,lv_name,lv_tags | grep -e hotfleet
true
"""


def find_traces(vm: Vm, console_id: str) -> list[str]:
    """Given a console's id, return directories, units, mounts, processes and logical volumes of its runs."""
    return vm.run(_LOOK.format(console_id=console_id)).splitlines()


def wait_until_clean(vm: Vm, console_id: str, *, timeout_s: float) -> None:
    """Return when nothing of the console's runs is there. Raise AssertionError with what is."""
    seen: list[str] = []

    def is_clean() -> bool:
        seen[:] = find_traces(vm, console_id)
        return not seen

    try:
        wait_until(is_clean, timeout_s=timeout_s, what="a clean machine")
    except AssertionError as error:
        raise AssertionError(f"{error}: {seen}") from None
