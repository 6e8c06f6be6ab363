"""A bit that flips in any file of a repository is found within 30 days, named, and told of its points."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.gateway.local import LocalReader, LocalStore
from agents.gateway.store import StoreUnreachable
from agents.gateway.target import Kind, Target
from agents.maintaining.hurt import DATA, FOLDERS, RECORD_DAMAGED, UNREADABLE
from agents.maintaining.reading import DAYS, ReadingPass
from agents.maintaining.record import Record
from agents.maintenance import RECORD
from agents.restic.binary import Binary
from tests.agents.gateway_ground import _template, binary
from tests.agents.maintenance_ground import BEGAN_S, DAY_S, Ground, Patient, flip, make_ground, open_ground

__all__ = ["_template", "binary"]
# Where in a file: its first byte, its middle, its last.
PLACES = (0.0, 0.5, 1.0)


@pytest.fixture(scope="module")
def made(_template: Path, binary: Binary, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """A repository of which all was read, part by part, over the 30 days before `BEGAN_S`."""
    folder = tmp_path_factory.mktemp("rotated")
    shutil.copytree(_template, folder / "repository")
    ground = make_ground(folder / "repository", binary, folder / "source")
    ground.check(at=BEGAN_S - DAYS * DAY_S)
    for day in range(1, DAYS):
        assert read_part(ground, BEGAN_S - (DAYS - day) * DAY_S) == []
    return ground


def read_part(ground: Ground, now: float) -> list[Target | None]:
    """Do one day's reading and return the files that it found damaged."""
    record = Record(ground.place.journals / RECORD)
    with LocalStore(ground.place.path) as store:
        reading = ReadingPass(store, record, tell=ground.told.append, control=Patient())
        reading.run(lambda: now)
    return [each.target for each in reading.findings]


def copy_of(made: Ground, folder: Path) -> Ground:
    for name in ("repository", "repository.journals"):
        shutil.rmtree(folder / name, ignore_errors=True)
        shutil.copytree(made.place.path.with_name(name), folder / name)
    return open_ground(folder / "repository", made.binary, [made.first, made.both, made.last])


def sample(ground: Ground) -> list[Path]:
    """One file of each kind: the config, a key, an index, a record, a pack of folders, one of files."""
    by_kind: dict[tuple[str, bool], Path] = {}
    packs = ground.packs_of_files()
    for file in ground.files():
        by_kind.setdefault((file.relative_to(ground.place.path).parts[0], file in packs), file)
    return list(by_kind.values())


def find(ground: Ground, file: Path) -> tuple[int, dict[str, str]]:
    """Check each day until a damaged file is found; return the day, and which snapshots are hurt."""
    kind = Kind(file.relative_to(ground.place.path).parts[0])
    target = Target(kind, "" if kind is Kind.CONFIG else file.name)
    if kind is Kind.CONFIG:  # not named by its content: opening the repository proves it, each day
        outcome = ground.check(at=BEGAN_S)
        assert [each.target for each in outcome.findings] == [target]
        return 0, outcome.hurt
    for day in range(DAYS):
        found = read_part(ground, BEGAN_S + day * DAY_S)
        assert found in ([], [target])
        if found:
            outcome = ground.check(at=BEGAN_S + day * DAY_S + 60)
            assert target in [each.target for each in outcome.findings]
            return day, outcome.hurt
    raise AssertionError(f"{target} was not found within {DAYS} days")


def users_of(ground: Ground, file: Path) -> Iterator[dict[str, str]]:
    """What may be said of the snapshots when this file is damaged."""
    kind = file.relative_to(ground.place.path).parts[0]
    if kind in ("config", "index"):
        yield dict.fromkeys(ground.ids, UNREADABLE)
    elif kind == "keys":  # the console's own, or the kit's
        yield from (dict.fromkeys(ground.ids, UNREADABLE), {})
    elif kind == "snapshots":
        yield {file.name: RECORD_DAMAGED}
    elif file in ground.packs_of_files():  # a is the largest, then b
        order = sorted(ground.packs_of_files(), key=lambda each: -each.stat().st_size)
        users = [(ground.first, ground.both), (ground.both, ground.last), (ground.last,)]
        yield dict.fromkeys(users[order.index(file)], DATA)
    else:  # of one run each: what its snapshot needs, or only a check sum at the end of the pack
        yield from ({each: FOLDERS} for each in ground.ids)
        yield {}


def try_file(made: Ground, folder: Path, name: Path, place: float) -> int:
    ground = copy_of(made, folder)
    file = ground.place.path / name
    allowed = list(users_of(ground, file))
    flip(file, place)
    day, hurt = find(ground, file)
    assert hurt in allowed, (name, place, hurt)
    return day


def test_a_flipped_bit_in_a_file_of_each_kind_is_found(made: Ground, tmp_path: Path) -> None:
    assert len(sample(made)) == 6
    for file in sample(made):
        try_file(made, tmp_path, file.relative_to(made.place.path), 0.5)


@pytest.mark.full
def test_a_flipped_bit_anywhere_in_any_file_is_found(made: Ground, tmp_path: Path) -> None:
    days = [
        try_file(made, tmp_path, file.relative_to(made.place.path), place)
        for file in made.files()
        for place in PLACES
    ]
    assert max(days) < DAYS and len(set(days)) > 1


def test_every_file_is_read_in_thirty_days_whatever_their_sizes(made: Ground, tmp_path: Path) -> None:
    """Nothing is read for the second time before everything was read once."""
    ground = copy_of(made, tmp_path)
    for day in range(DAYS):
        read_part(ground, BEGAN_S + day * DAY_S)
    record = Record(ground.place.journals / RECORD)
    with LocalStore(ground.place.path) as store:
        seen = [
            record.of(Target(kind, name)) for kind in (Kind.DATA, Kind.KEYS) for name, _ in store.list(kind)
        ]
    assert min(each.read_s for each in seen) >= BEGAN_S


class Faraway(LocalStore):
    """A store of which the files named in `silent` do not come."""

    def __init__(self, path: Path, silent: set[Target]) -> None:
        self.silent = silent
        super().__init__(path)

    def open(self, target: Target) -> LocalReader | None:
        if target in self.silent:
            raise StoreUnreachable("the object store does not answer")
        return super().open(target)


def targets_of(ground: Ground) -> list[Target]:
    with LocalStore(ground.place.path) as store:
        return [Target(Kind.DATA, name) for name, _ in store.list(Kind.DATA)]


def test_a_file_that_does_not_come_is_not_damaged_and_is_due_again(made: Ground, tmp_path: Path) -> None:
    ground = copy_of(made, tmp_path)
    silent = targets_of(ground)[0]
    record = Record(tmp_path / "record")
    with Faraway(ground.place.path, {silent}) as store:
        reading = ReadingPass(store, record, tell=ground.told.append, control=Patient())
        report = reading.run(lambda: BEGAN_S)
        assert reading.findings == [] and not report.is_whole
        store.silent.clear()
        assert report.unread_bytes == store.size(silent)
        again = ReadingPass(store, record, tell=ground.told.append, control=Patient()).run(
            lambda: BEGAN_S + DAY_S
        )
    assert again.is_whole and again.unread_bytes == 0
    assert any("does not answer" in str(each) for each in ground.told)


def test_where_nothing_comes_any_more_the_pass_ends(made: Ground, tmp_path: Path) -> None:
    ground = copy_of(made, tmp_path)
    with Faraway(ground.place.path, set(targets_of(ground))) as store:
        reading = ReadingPass(store, Record(tmp_path / "record"), tell=ground.told.append, control=Patient())
        with pytest.raises(StoreUnreachable):
            reading.run(lambda: BEGAN_S)
    assert reading.findings == []
