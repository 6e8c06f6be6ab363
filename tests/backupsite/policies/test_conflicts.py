"""Sources that get in each other's way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backupsite.policies.conflicts import (
    Rival,
    Source,
    find_nested,
    find_repository_problem,
    find_rivals,
    leaves_out,
    leaves_out_all,
)


def files(path: str, excludes: str = "", mode: str = "hot") -> Source:
    return Source(path, path, excludes, mode)


@pytest.mark.parametrize(
    ("pattern", "is_all"),
    [
        ("/srv/www", True),
        ("/srv", True),
        ("/srv/*", True),
        ("/srv/www/*", True),
        ("/srv/www/**", True),
        ("www", True),
        ("www/*", True),
        ("srv/www", True),
        ("w?w", True),
        ("/**", True),
        ("*.tmp", False),
        ("/srv/www/cache", False),
        ("/srv/w", False),
        ("/www", False),
        ("*.*", False),
        ("/srv/www/*.*", False),
        ("**/cache/**", False),
    ],
)
def test_a_pattern_that_leaves_nothing_is_found(pattern: str, is_all: bool) -> None:
    found = leaves_out_all("/srv/www", f"*.bak\n{pattern}\n")
    assert found == (pattern if is_all else "")


def test_what_is_taken_back_may_be_left() -> None:
    assert not leaves_out_all("/srv/www", "/srv/www/*\n!/srv/www/keep")


def test_patterns_cannot_take_for_ever() -> None:
    deep = "/" + "/".join("a" * 200)
    assert not leaves_out(deep, "\n".join(["/".join(["**"] * 40 + ["b"])] * 3))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A source with a file and a file in a folder, and a repository of the real restic."""
    base = tmp_path_factory.mktemp("tree")
    source = base / "srv" / "www"
    (source / "cache").mkdir(parents=True)
    (source / "plain").write_text("x")
    (source / "cache" / "a.tmp").write_text("x")
    restic = shutil.which("restic", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert restic is not None
    environ = {
        **os.environ,
        "RESTIC_REPOSITORY": str(base / "repository"),
        "RESTIC_PASSWORD": "x",
        "restic": restic,
    }
    subprocess.run([restic, "init", "-q"], env=environ, check=True)
    return source, environ


@pytest.mark.parametrize("pattern", ["{0}/*", "{1}/*", "www", "*.tmp", "/www"])
def test_restic_leaves_out_the_same(tree: tuple[Path, dict[str, str]], pattern: str) -> None:
    source, environ = tree
    asked = pattern.format(source, source.parent)
    done = subprocess.run(
        [environ["restic"], "backup", "--dry-run", "--json", "--no-cache", "--exclude", asked, str(source)],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    count = next((line["total_files_processed"] for line in lines if line["message_type"] == "summary"), 0)
    assert bool(leaves_out_all(str(source), asked)) == (count == 0)


def test_a_path_inside_of_another_one_says_so() -> None:
    said = find_nested([files("/srv"), files("/srv/www"), files("/srvx"), files("/srv/db", mode="out")])
    assert set(said) == {1, 3}
    assert said[1].startswith("It lies in /srv, which takes it too unless")
    assert said[3] == (
        "It lies in /srv, which is copied with all that is in it. To leave it out, write /srv/db under "
        "“Leave out” there."
    )


def test_a_path_that_the_other_one_leaves_out_is_no_conflict() -> None:
    assert not find_nested([files("/srv", "/srv/www"), files("/srv/www")])
    assert not find_nested([files("/srv", mode="out"), files("/srv/www")])
    assert not find_nested([Source("postgresql:15/main"), files("/")])


def rivals(own: Source, other: Source, count: int = 3) -> list[str]:
    return find_rivals([own], [Rival("nightly", other, "web-1", count)])


def test_two_policies_about_the_same_data_are_told() -> None:
    assert rivals(files("/etc"), files("/etc")) == [
        "/etc of web-1 and 2 more is in “nightly” too: both copy it, one after the other, and both "
        "targets count."
    ]
    assert rivals(files("/etc", mode="out"), files("/etc"), 1) == [
        "/etc is left out here, but “nightly” takes it on web-1: it is taken."
    ]
    assert rivals(files("/etc"), files("/etc", mode="out"), 1) == [
        "“nightly” leaves out /etc on web-1; this policy takes it all the same."
    ]
    assert rivals(files("/etc/nginx"), files("/etc"), 1) == [
        "/etc/nginx lies in /etc, which “nightly” takes on web-1: kept twice."
    ]
    assert rivals(files("/etc"), files("/etc/nginx"), 1) == [
        "/etc/nginx, which “nightly” takes on web-1, lies in /etc: kept twice."
    ]


def test_policies_about_other_data_are_not_told() -> None:
    assert not rivals(files("/etc"), files("/srv"))
    assert not rivals(files("/etc", mode="out"), files("/etc", mode="out"))
    assert not rivals(files("/etc", "/etc/nginx"), files("/etc/nginx"))
    assert not rivals(files("/etc/nginx"), files("/etc", mode="out"))


@pytest.mark.parametrize(
    ("source", "begins"),
    [
        (files("/backups/x"), "Repositories are kept in /backups: a backup of them would hold itself."),
        (files("/backups"), "Repositories are kept in /backups: a backup of them would hold itself."),
        (files("/mnt"), "Repositories are kept in /mnt/second, inside of this path"),
        (files("/"), "Repositories are kept in /mnt/second, inside of this path"),
        (files("/mnt", "/mnt/second"), ""),
        (files("/", "second"), ""),
        (files("/backups", mode="out"), ""),
        (files("/backupsx"), ""),
        (Source("postgresql:15/main"), ""),
    ],
)
def test_a_source_with_repositories_in_it_is_refused(source: Source, begins: str) -> None:
    said = find_repository_problem(source, ["/backups", "/mnt/second"], "/backups")
    assert said.startswith(begins) and bool(said) == bool(begins)
