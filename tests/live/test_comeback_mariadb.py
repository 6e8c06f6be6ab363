"""MariaDB comes back after its data directory was destroyed, and over a server that runs.

About 60 seconds on two cores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.applications import mariadb_comeback
from agents.applications.stored import Stored, StoredPart
from agents.backup import BackupOutcome
from agents.comeback import Way
from agents.errors import ComebackFailed, CommandFailed, PlanRefused
from tests.live.daemons import bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import Device, command
from tests.live.mariadb import Service, find_faults, request_for, writers


@pytest.fixture
def console(device: Device, tmp_path: Path) -> Console:
    return Console(device, tmp_path)


@pytest.fixture
def service(console: Console, tmp_path: Path) -> Iterator[Service]:
    home = console.device.btrfs / "my sql"
    command("btrfs", "subvolume", "create", home)
    with Service(home, tmp_path / "state", f"hotfleet-my-{console.id}").create() as service:
        yield service


def left_beside(service: Service) -> list[str]:
    return sorted(each.name for each in service.home.iterdir())


@pytest.mark.parametrize("method", ["snapshot", "stream"])
def test_a_destroyed_server_comes_back(console: Console, service: Service, method: str) -> None:
    with writers(service) as busy:
        least = {each.number: each.count for each in busy}
        outcome = console.back_up(request_for(service, method))
    service.sql("create table app.younger (n int)")
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    kill(service.daemon.pid)
    shutil.rmtree(service.data)
    bring_back(console, stored, known, service.daemon.name)
    service.wait()
    assert find_faults(service, least) == []
    assert "younger" not in service.sql("show tables in app")
    assert left_beside(service) == ["binlog", "db"]
    assert service.data.owner() == "mysql"
    service.stop()
    assert_device_is_clean(console)


def test_it_comes_back_over_a_server_that_runs(console: Console, service: Service) -> None:
    with writers(service) as busy:
        least = {each.number: each.count for each in busy}
        outcome = console.back_up(request_for(service, "stream"))
    service.sql("create table app.younger (n int)")
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    server = service.daemon.pid
    bring_back(console, stored, known, service.daemon.name)
    service.wait()
    assert service.daemon.pid not in (0, server)
    assert find_faults(service, least) == []
    assert "younger" not in service.sql("show tables in app")
    service.stop()
    assert_device_is_clean(console)


def test_when_it_does_not_start_the_old_data_is_back_and_its_server_runs(
    console: Console, service: Service
) -> None:
    assert service.daemon.call("stop") == 0
    good = (service.data / "ibdata1").read_bytes()
    (service.data / "ibdata1").write_bytes(b"\0" * len(good))
    (point,) = console.back_up(str(service.data)).points
    (service.data / "ibdata1").write_bytes(good)
    service.start()
    with writers(service) as busy:
        pass
    least = {each.number: each.count for each in busy}
    part = StoredPart(point.restic_id, "", point.paths, point.size_bytes)
    stored = Stored("mariadb", str(service.data), point.method, (part,), (str(service.data),))
    with pytest.raises(ComebackFailed) as caught:
        bring_back(console, stored, None, service.daemon.name, longest_start_s=20)
    assert "InnoDB" in caught.value.detail, "what the server itself says"
    service.wait()
    assert find_faults(service, least) == []
    assert left_beside(service) == ["binlog", "db"]
    service.stop()
    assert_device_is_clean(console)


def test_half_a_stream_replaces_nothing(
    console: Console, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = "truncate -s 1M raw/backup.xbstream\nstream=$(command"
    broken = mariadb_comeback._PREPARE.replace("stream=$(command", cut, 1)
    outcome = console.back_up(request_for(service, "stream"))
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    monkeypatch.setattr(mariadb_comeback, "_PREPARE", broken)
    server = service.daemon.pid
    with pytest.raises(CommandFailed) as caught:
        bring_back(console, stored, known, service.daemon.name)
    assert "Nothing was replaced" in caught.value.message
    assert service.daemon.pid == server and left_beside(service) == ["binlog", "db"]
    service.stop()
    assert_device_is_clean(console)


_MORE = """
alter database app character set utf8mb4;
create database other;
use other;
create table kept (n int);
insert into kept values (1);
create view seen as select n from kept;
delimiter ;;
create trigger doubled after insert on kept for each row insert into log values (new.n);;
create procedure told() begin
/*
USE `app`;
-- Current Database: `app`
*/
  select count(*) from kept;
end;;
delimiter ;
create table log (n int);
create database `half``'s` character set latin1 collate latin1_german1_ci comment 'theirs';
create table `half``'s`.t (word varchar(20), at timestamp);
set time_zone = '+05:00';
insert into `half``'s`.t values ('grün', '2026-11-22 14:00:00');
"""


def bring_database(
    console: Console, service: Service, outcome: BackupOutcome, name: str, new_name: str, table: str = ""
) -> None:
    stored, known = stored_of(outcome, "mariadb", str(service.data))
    bring_back(console, stored, known, way=Way.DATABASE, part=name, new_name=new_name, table=table)


def test_one_database_of_a_dump_comes_back_under_a_new_name(console: Console, service: Service) -> None:
    with writers(service, engines=("InnoDB",)):
        pass
    rows = service.sql("select count(*) from app.InnoDB")
    outcome = console.back_up(request_for(service, "dump"))
    service.sql("insert into app.InnoDB values (77, 1, '')")
    bring_database(console, service, outcome, "app", "app `2'")
    assert service.sql("select count(*) from `app ``2'`.InnoDB") == rows
    assert service.sql("select sum(balance) from `app ``2'`.account") == "20000"
    assert int(service.sql("select count(*) from app.InnoDB")) == int(rows) + 1, "it was not touched"
    # a name that is taken is left alone
    before = service.sql("show databases")
    with pytest.raises(ComebackFailed) as caught:
        bring_database(console, service, outcome, "app", "mysql")
    assert "exists" in caught.value.message
    assert service.sql("show databases") == before
    service.stop()
    assert_device_is_clean(console)


@pytest.mark.full
def test_a_database_of_a_dump_is_that_one_whatever_the_others_hold(
    console: Console, service: Service
) -> None:
    service.run(text=_MORE)
    outcome = console.back_up(request_for(service, "dump"))
    service.sql("drop database other")
    stored, _ = stored_of(outcome, "mariadb", str(service.data))
    assert stored.databases == ("app", "half`'s", "other")
    bring_database(console, service, outcome, "app", "app `2'")
    bring_database(console, service, outcome, "other", "other")
    assert service.sql("use other; insert into kept values (2); select * from seen; select * from log") == (
        "1\n2\n2"
    )
    assert service.sql("call other.told()") == "2"
    bring_database(console, service, outcome, "half`'s", "whole")
    said = service.sql("set time_zone = '+00:00'; select word, at from whole.t")
    assert said == "grün\t2026-11-22 09:00:00"
    assert service.sql(_CHARSETS).split("\n") == ["utf8mb4 app `2'", "latin1 whole"]
    # what is not there is said, and nothing is left
    before = service.sql("show databases")
    with pytest.raises(ComebackFailed) as caught:
        bring_database(console, service, outcome, "none", "new")
    assert "holds no such database" in f"{caught.value.message} {caught.value.detail}"
    with pytest.raises(PlanRefused):
        bring_database(console, service, outcome, "app", "new", table="InnoDB")
    assert service.sql("show databases") == before
    service.stop()
    assert_device_is_clean(console)


_CHARSETS = (
    "select concat(default_character_set_name, schema_comment, ' ', schema_name) "
    "from information_schema.schemata where schema_name in (\"app `2'\", 'whole') order by schema_name"
)
