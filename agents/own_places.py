"""Where Hotfleet has directories on a device: the only places that are ours there."""

from __future__ import annotations

# Whichever of these is on a tmpfs holds a directory for each run. The program of `runner/` names them by
# itself: it is constant.
RUNS = ("/run/hotfleet", "/dev/shm/hotfleet")  # noqa: S108 - made there by root, 0700, or not at all
# restic, where a device has none that is new enough.
CACHE = "/var/cache/hotfleet"
# What must outlive a power cut: a directory for each comeback that is not over.
JOURNALS = "/var/lib/hotfleet"
# Never stored, never restored into, never swapped away.
OWN_PLACES = (*RUNS, CACHE, JOURNALS)
# Where streams that need a disk write, and drills restore to: below it each run's own directory. On the
# console's machine a drill may work beside a backup, which must not store what it restored.
SCRATCH_PARENT = "/var/tmp"  # noqa: S108 - root's own directory is made in it, by a name nobody can guess
