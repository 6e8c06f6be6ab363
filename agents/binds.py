"""What covers what while a long program runs on a device."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1024 * 1024
_BYTES_A_FILE = 256


@dataclass(frozen=True, slots=True)
class Volume:
    """A block device that holds a snapshot. It is mounted for one program: a killed run leaves no mount."""

    path: str
    kind: str
    options: str


@dataclass(frozen=True, slots=True)
class Bind:
    """`snapshot_path` is mounted read-only over `true_path`, seen by one program only.

    Both may be the same: then the live files are read, but cannot be written. With a `volume` the snapshot's
    path is the one in the file system of that volume.
    """

    snapshot_path: str
    true_path: str
    volume: Volume | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What a long program may take from a device's applications. None leaves a thing as it is.

    The numbers come from measured runs (tests/bench/impact.py: pgbench at a fixed rate, two cores; the page
    cache: 4 of 400 MiB of an application's files stayed in memory beside restic, 366 with 300 MiB for it).
    """

    # A tenth of what others get when all want the processors. At 19 it is a seventieth: measured on a busy
    # machine, a backup then got 3 % of a core, and its snapshot lived for as long as that takes.
    # What may be paused and is watched reads only as fast as leaves the writes of others nearly as quick, and
    # gets only the processor time that nobody else wants, as long as that is something: beside
    # 1,500 transactions a second the mean latency was 417 ms with a tenth, 7 ms so, 1.1 ms without backup.
    niceness: int | None = 10
    # Best effort, last. A scheduler of disks that knows no priorities ignores it.
    io_priority: int | None = 7
    # Go takes all of them otherwise: nice and ionice alone left 2.4 % of transactions late, this left none.
    processors: int | None = 1
    # Above it reading is slowed. The device raises it when restic's own data come near it, so that no backup
    # fails of it; `for_files` is better, since Go then knows it from the start.
    memory_bytes: int | None = 300 * MIB
    # restic reads two files at once otherwise.
    read_concurrency: int | None = 1
    # The share of time in which something may wait for disks, above that of the minute before. Beyond it the
    # program is paused for a moment. None: never, nor does it wait for a processor until nobody wants it; so
    # for a program that holds a lock of an application.
    pressure_budget: float | None = 0.3
    # What restic sends at most. None: as much as the line takes.
    upload_kib_s: int | None = None
    # In one piece. restic gives up a request that stands still for five minutes.
    longest_pause_s: int = 60

    def __post_init__(self) -> None:
        """Raise ValueError for what no device can do."""
        if self.pressure_budget is not None and not 0 <= self.pressure_budget <= 1:
            raise ValueError("a pressure budget is a share between 0 and 1")
        if self.upload_kib_s is not None and self.upload_kib_s < 1:
            raise ValueError("a limit of nothing would never end")
        if not 1 <= self.longest_pause_s <= 120:
            raise ValueError("a pause lasts between 1 and 120 seconds")
        if self.memory_bytes is not None and self.memory_bytes < 64 * MIB:
            raise ValueError("restic does not start with less than 64 MiB")

    @property
    def environment(self) -> dict[str, str]:
        """Return what restic and its language's runtime must know of these limits."""
        variables: dict[str, str] = {}
        if self.processors is not None:
            variables["GOMAXPROCS"] = str(self.processors)
        if self.memory_bytes is not None:  # the rest is for what it reads
            variables["GOMEMLIMIT"] = str(self.memory_bytes // 3 * 2)
        if self.read_concurrency is not None:
            variables["RESTIC_READ_CONCURRENCY"] = str(self.read_concurrency)
        return variables

    @property
    def unpaused(self) -> Limits:
        """Return them for a program that holds an application, or that a stopped service waits for."""
        return replace(self, pressure_budget=None)

    def for_files(self, count: int) -> Limits:
        """Given how many files a source and its repository hold, return limits with memory for them: restic
        needs about 170 bytes a file (measured to 3 million), half as much again for its garbage."""
        if self.memory_bytes is None:
            return self
        return replace(self, memory_bytes=self.memory_bytes + count * _BYTES_A_FILE)


NO_LIMITS = Limits(None, None, None, None, None, None)
