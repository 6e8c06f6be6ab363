"""Which binds a source is read through: a missing one would be an empty folder that looks whole."""

from __future__ import annotations

from agents.binds import Bind
from agents.events import Consistency
from agents.plan import Part, PlannedSource, SourceRequest
from agents.snapshots.contract import Taken
from agents.storing import find_binds


def binds_for(path: str, *true_paths: str) -> set[str]:
    parts = (Part(path, "btrfs", Consistency.CRASH, "because", ("0:1",)),)
    source = PlannedSource(SourceRequest(path), "btrfs", Consistency.CRASH, (path,), parts)
    binds = tuple(Bind(f"/snapshot/{number}", each) for number, each in enumerate(true_paths))
    return {bind.true_path for bind in find_binds(source, [Taken("btrfs", Consistency.CRASH, binds)])}


def test_the_subvolumes_below_the_root_are_read_from_their_snapshots_too() -> None:
    assert binds_for("/", "/", "/home", "/var/lib/deep") == {"/", "/home", "/var/lib/deep"}


def test_a_source_takes_what_lies_in_it_and_no_neighbour_of_a_similar_name() -> None:
    assert binds_for("/srv", "/srv", "/srv/nested", "/srv2", "/home") == {"/srv", "/srv/nested"}
