"""Which directories are refused, and why. Real directories, real links, real rights."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backupsite.repositories.places import StorageRefused, check_place, list_places


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory outside of the console's home and of /tmp, which is refused itself.

    It lies in the home directory of whoever runs the tests: nobody else may write to what is above it.
    """
    path = Path(tempfile.mkdtemp(prefix=".hotfleet-test-", dir=pwd.getpwuid(os.geteuid()).pw_dir))
    yield path
    shutil.rmtree(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("/", "whole machine"),
        ("//", "whole machine"),
        ("/proc", "belongs to the system"),
        ("/proc/1", "belongs to the system"),
        ("/dev/shm/x", "belongs to the system"),
        ("/etc/hotfleet", "belongs to the system"),
        ("/tmp/hotfleet", "emptied"),
        ("/var/tmp/hotfleet", "emptied"),
        ("relative/path", "whole path"),
        ("", "whole path"),
        ("~/backups", "whole path"),
        ("/srv/../etc", "must not hold"),
        ("/srv/a\nb", "cannot be shown"),
        ("/srv/\u202eb", "cannot be shown"),
        ("/srv/" + "x" * 1000, "too long"),
        ("/srv/not-there/backups", "does not exist"),
    ],
)
def test_it_refuses(text: str, reason: str, home: Path) -> None:
    with pytest.raises(StorageRefused, match=reason):
        check_place(text, home)


def test_it_takes_a_directory_and_one_that_is_not_there_yet(ground: Path, home: Path) -> None:
    assert check_place(str(ground), home) == ground
    assert check_place(f"/{ground}/new/", home) == ground / "new"


def test_it_refuses_a_link_and_names_what_it_leads_to(ground: Path, home: Path) -> None:
    (ground / "real").mkdir(mode=0o700)
    (ground / "link").symlink_to("real")
    with pytest.raises(StorageRefused, match=str(ground / "real")):
        check_place(str(ground / "link"), home)
    with pytest.raises(StorageRefused, match="through a link"):
        check_place(str(ground / "link" / "new"), home)


def test_it_refuses_a_dangling_link(ground: Path, home: Path) -> None:
    (ground / "link").symlink_to("/proc/nothing")
    with pytest.raises(StorageRefused, match="through a link"):
        check_place(str(ground / "link"), home)


def test_it_refuses_a_file(ground: Path, home: Path) -> None:
    (ground / "file").touch()
    with pytest.raises(StorageRefused, match="is a file"):
        check_place(str(ground / "file"), home)


def test_it_refuses_a_directory_that_others_may_write_to(ground: Path, home: Path) -> None:
    (ground / "open").mkdir()
    (ground / "open").chmod(0o777)
    with pytest.raises(StorageRefused, match="chmod go-w"):
        check_place(str(ground / "open" / "new"), home)


def test_it_refuses_a_directory_of_another_user(needs_root: None, ground: Path, home: Path) -> None:
    (ground / "foreign").mkdir()
    os.chown(ground / "foreign", 65534, 65534)
    with pytest.raises(StorageRefused, match="another user"):
        check_place(str(ground / "foreign"), home)


def test_it_refuses_memory(home: Path) -> None:
    if not os.path.ismount("/dev/shm"):
        pytest.fail("the test ground has no tmpfs at /dev/shm")
    with pytest.raises(StorageRefused):
        check_place("/dev/shm", home)


def test_in_the_home_only_a_directory_of_its_own_will_do(home: Path) -> None:
    assert check_place(str(home / "repositories"), home) == home / "repositories"
    for text in (home, home / "keys" / "x"):
        with pytest.raises(StorageRefused, match="own data"):
            check_place(str(text), home)


def test_it_suggests_the_home_first_and_only_real_file_systems(home: Path) -> None:
    places = list_places(home)
    assert places[0].path == str(home / "repositories")
    assert places[0].space.total_bytes >= places[0].space.free_bytes > 0
    assert {place.kind for place in places[1:]}.isdisjoint({"tmpfs", "proc", "overlay", "squashfs"})


def test_it_offers_a_mounted_disk_unless_it_would_be_refused(
    needs_root: None, ground: Path, home: Path
) -> None:
    image, point = home / "disk.img", ground / "disk"
    image.write_bytes(b"\0" * 8_000_000)
    point.mkdir(mode=0o700)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(point)], check=True)
    try:
        assert str(point / "hotfleet") in [place.path for place in list_places(home)]
        point.chmod(0o777)
        assert str(point / "hotfleet") not in [place.path for place in list_places(home)]
    finally:
        subprocess.run(["umount", str(point)], check=True)
