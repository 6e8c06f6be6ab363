"""What the repository holds of a source: the words between a backup that was made and whoever brings it
back."""

from __future__ import annotations

from dataclasses import dataclass

from agents.errors import PlanRefused


@dataclass(frozen=True, slots=True)
class StoredPart:
    """One restore point of a source. `part` is the name of its stream ("base.tar"), "" when it holds files;
    `paths` are what restic recorded, `size_bytes` what it needs when it is restored."""

    restic_id: str
    part: str
    paths: tuple[str, ...]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stored:
    """A source as one run stored it. `application` "" is a source of files, its `instance` is "" then.

    `method` is that of the restore point ("stream", "snapshot+btrfs"), `parts` are all of one run, `paths`
    the places of the instance (or of the files) on the device that they came from, `databases` the names of
    those that one dump holds together, as far as the backup saw them."""

    application: str
    instance: str
    method: str
    parts: tuple[StoredPart, ...]
    paths: tuple[str, ...] = ()
    databases: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """How the catalogue names the source, "postgresql:15/main"."""
        return f"{self.application}:{self.instance}" if self.application else (self.paths or ("",))[0]

    @property
    def way(self) -> str:
        """The method without what took the snapshot: "snapshot", "stream", "copy", "dump", "cold"..."""
        return self.method.partition("+")[0]

    @property
    def is_files(self) -> bool:
        """Whether it holds the files of the application as they lay on the device, not streams of it."""
        return not any(each.part for each in self.parts)

    @property
    def size_bytes(self) -> int:
        return sum(each.size_bytes for each in self.parts)

    def part(self, name: str) -> StoredPart:
        """Given the name of a stream ("" for the files), return it. Raise PlanRefused when it is not one."""
        found = [each for each in self.parts if each.part == name]
        if len(found) != 1:
            raise PlanRefused(
                f"{self.key} has {len(found)} restore points of {name or 'its files'}, and one is needed",
                remedy="Pick all restore points of one run, and each once.",
            )
        return found[0]
