"""The lab is what the other tests here believe it to be."""

from __future__ import annotations

import pytest

from tests.vm.machine import Vm


def test_systemd_runs_everything(vm: Vm) -> None:
    assert vm.run("cat /proc/1/comm").strip() == "systemd"
    assert vm.run("systemctl is-system-running").strip() == "running"
    assert vm.run("findmnt -n -o FSTYPE /sys/fs/cgroup").strip() == "cgroup2"
    assert "some avg10=" in vm.run("cat /proc/pressure/io")


def test_the_file_systems_lie_on_lvm(vm: Vm) -> None:
    kinds = {
        point: vm.run(f"findmnt -n -o SOURCE,FSTYPE /srv/{point}").split() for point in ("ext", "xfs", "thin")
    }
    assert kinds == {
        "ext": ["/dev/mapper/data-ext", "ext4"],
        "xfs": ["/dev/mapper/data-xfs", "xfs"],
        "thin": ["/dev/mapper/data-thin", "xfs"],
    }


@pytest.mark.full
def test_a_classic_snapshot_holds_still(vm: Vm) -> None:
    said = vm.run("""
        set -e
        trap 'umount /mnt; lvremove -q -y data/lab; rm -f /srv/xfs/lab' EXIT
        echo before >/srv/xfs/lab
        lvcreate -q -y -s -n lab -L 64M data/xfs
        echo after >/srv/xfs/lab
        mount -o ro,nouuid /dev/data/lab /mnt
        cat /mnt/lab /srv/xfs/lab
    """)
    assert "before\nafter" in said
    assert "lab" not in vm.run("lvs --noheadings -o lv_name data").split()


@pytest.mark.full
def test_a_thin_snapshot_holds_still(vm: Vm) -> None:
    said = vm.run("""
        set -e
        trap 'umount /mnt; lvremove -q -y data/lab; rm -f /srv/thin/lab' EXIT
        echo before >/srv/thin/lab
        lvcreate -q -y -s -n lab data/thin
        lvchange -ay -K data/lab
        echo after >/srv/thin/lab
        mount -o ro,nouuid /dev/data/lab /mnt
        cat /mnt/lab /srv/thin/lab
    """)
    assert "before\nafter" in said


def test_postgresql_answers_from_its_volume(vm: Vm) -> None:
    query = "SHOW data_directory; SHOW data_checksums; SELECT version()"
    said = vm.run(f"runuser -u postgres -- psql -At -p 5432 -c '{query}'")
    assert said.splitlines()[:2] == ["/srv/xfs/postgresql/main", "on"]
    assert "PostgreSQL 15" in said


@pytest.mark.full
def test_the_cluster_on_the_thin_volume_starts_when_it_is_asked_to(vm: Vm) -> None:
    vm.run("pg_ctlcluster 15 thin start")
    said = vm.run("runuser -u postgres -- psql -At -p 5433 -c 'SHOW data_directory'")
    vm.run("pg_ctlcluster 15 thin stop")
    assert said.strip() == "/srv/thin/postgresql/thin"


def test_mariadb_answers_from_its_volume(vm: Vm) -> None:
    said = vm.run("mariadb -N -e 'SELECT @@datadir, VERSION()'").split()
    assert said[0] == "/srv/ext/mysql/"
    assert said[1].startswith("10.11.")


def test_the_cold_service_agrees_with_itself_when_it_is_stopped(vm: Vm) -> None:
    before = int(vm.run("wc -l </srv/ext/ledger/entries"))
    vm.run("systemctl stop ledger")
    count, _ = vm.run("python3 /usr/local/lib/lab/ledger.py check /srv/ext/ledger").split()
    vm.run("systemctl start ledger")
    assert int(count) >= before > 0


def test_a_user_reaches_root_by_the_sudo_rule_alone(vm: Vm) -> None:
    session = vm.connect("hotfleet")
    try:
        assert session.is_elevated
    finally:
        session.close()
