"""OpenLDAP comes back after the directory of its database was destroyed. About 40 seconds on two cores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.daemons import bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import wait_until
from tests.live.openldap import Service, Writer, request_for
from tests.live.test_app_openldap import console

__all__ = ["console"]


@pytest.fixture
def slapd(console: Console, tmp_path: Path) -> Iterator[Service]:
    slapd = Service(console.device.btrfs / "ldap", tmp_path / "state", f"hotfleet-ldap-{console.id}")
    slapd.create()
    slapd.start()
    yield slapd
    slapd.stop()


@pytest.mark.parametrize("method", ["stream", "snapshot"])
def test_a_destroyed_directory_comes_back(console: Console, slapd: Service, method: str) -> None:
    writer = Writer(slapd)
    writer.start()
    try:
        wait_until(
            lambda: writer.count >= 100 or bool(writer.errors), timeout_s=180, what="the first entries"
        )
        before = writer.count
        outcome = console.back_up(request_for(slapd, method))
    finally:
        writer.ended.set()
        writer.join()
    assert writer.errors == []
    younger = "dn: cn=younger,dc=example,dc=org\nobjectClass: person\ncn: younger\nsn: 0\n"
    slapd.client("ldapadd", ldif=younger)
    stored, known = stored_of(outcome, "openldap", str(slapd.config))
    kill(slapd.daemon.pid)
    shutil.rmtree(slapd.data)
    bring_back(console, stored, known, slapd.daemon.name)
    slapd.wait()
    found, broken = slapd.count_broken()
    assert found >= before and broken == 0
    assert "younger" not in slapd.client(
        "ldapsearch", "-LLL", "-b", "dc=example,dc=org", "(cn=younger)", "cn"
    )
    slapd.client("ldapadd", ldif=younger)
    assert not [each for each in slapd.data.parent.iterdir() if each.name.startswith(".")]
    slapd.stop()
    assert_device_is_clean(console)
