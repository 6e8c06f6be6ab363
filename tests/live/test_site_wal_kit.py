"""PostgreSQL comes back to a moment by the recovery kit alone: stock restic, stock PostgreSQL, what is typed.

About a minute on two cores."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from backupsite.repositories.kit_guide import PASSWORD_FILE, write_guide
from tests.live.flows import VENV_BIN
from tests.live.ground import Device, wait_until
from tests.live.postgresql import Cluster, Service
from tests.live.site import Enrolled, run_site
from tests.live.test_site_wal import PATIENCE_S, cluster, keep_log, numbers, wait_for, wait_until_here, write

__all__ = ["cluster"]
pytestmark = [pytest.mark.slow, pytest.mark.full]


def test_what_the_kit_says_brings_a_server_back_to_a_moment(
    live_ground: None, device: Device, cluster: Service, tmp_path: Path
) -> None:
    cluster.sql("create table ledger (n int)")
    with run_site(tmp_path / "home") as site:
        enrolled = site.enrol(device, device.btrfs)
        keep_log(enrolled, cluster)
        wait_for(enrolled, "following")
        enrolled.back_up()
        write(cluster, 1)
        for _ in range(3):  # full segments leave the spool for the repository
            cluster.sql(
                "insert into ledger values (0); delete from ledger where n = 0; select pg_switch_wal()"
            )
        written = write(cluster, 2)
        wait_until_here(enrolled, written)
        site.wait_for_state(site.do("store_log", device=enrolled.slug), "succeeded")
        assert site.rows("SELECT * FROM recovery_walbatch")
        moment = write(cluster, 3)
        wait_until(lambda: datetime.now(tz=moment.tzinfo) > moment + timedelta(seconds=2), what="a second")
        last = write(cluster, 4)
        wait_until_here(enrolled, last)
        (name,) = {each.parent.name for each in Path(f"{enrolled.repository}.wal").glob("*/*/" + "?" * 24)}
    cluster.stop()
    for until, found in ((moment + timedelta(seconds=1), [1, 2, 3]), (None, [1, 2, 3, 4])):
        place = device.directory / f"by-hand-{len(found)}"
        follow_the_kit(enrolled, place, name, until)
        with Cluster.of_copy(place / "data") as copy:
            wait_until(partial(is_settled, copy), timeout_s=PATIENCE_S, what="the end of the recovery")
            assert numbers(copy) == found
        shutil.rmtree(place)


def is_settled(copy: Cluster) -> bool:
    return copy.sql("select pg_is_in_recovery()") == "f"


def follow_the_kit(enrolled: Enrolled, place: Path, name: str, until: datetime | None) -> None:
    """Type what the kit says of base.tar and its log, up to the start of the server."""
    place.mkdir(mode=0o755)
    (place / PASSWORD_FILE).write_text(enrolled.site.secrets["recovery_password"] + "\n")
    guide = write_guide([]).replace("/srv/", f"{place}/").replace("DIRECTORY", str(enrolled.repository))
    lines = [line.strip() for line in guide.splitlines()]
    (dump,) = (line for line in lines if " dump ID " in line)
    point = next(each for each in enrolled.points() if each["part"] == "base.tar")
    shell(place, dump.replace(" ID ", f" {point['restic_id']} ").replace("FILE", "base.tar"))
    (unpack,) = (line for line in lines if line.startswith("mkdir") and "base.tar" in line)
    shell(place, unpack.partition(" && pg_ctl")[0])
    for typed in list_commands(lines):
        if "recovery_target_time " in typed:
            if until is None:
                continue
            typed = typed.replace("YYYY-MM-DD HH:MM:SS+00", f"{until:%Y-%m-%d %H:%M:%S.%f%z}")
        shell(place, re.sub(r"\bNAME\b", name, typed))


def list_commands(lines: list[str]) -> Iterator[str]:
    """Yield what is typed of the log; one that ends with a pipe or “do” goes on."""
    begins = next(
        number for number, line in enumerate(lines) if line.startswith("mkdir") and "batches" in line
    )
    ends = next(number for number, line in enumerate(lines) if "recovery.signal" in line)
    text = "\n".join(lines[begins : ends + 1]).replace("|\n", "| ").replace("do\n", "do ")
    yield from text.splitlines()


def shell(place: Path, line: str) -> None:
    environment = {"PATH": f"{VENV_BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(place)}
    done = subprocess.run(["sh", "-ec", line], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
