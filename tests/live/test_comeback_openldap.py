"""OpenLDAP comes back after the directory of its database was destroyed. About 40 seconds on two cores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.live.daemons import Daemon, bring_back, kill, stored_of
from tests.live.flows import Console, assert_device_is_clean
from tests.live.ground import wait_until
from tests.live.test_app_openldap import Slapd, Writer, console, request_for

__all__ = ["console"]


class Service(Slapd):
    """A slapd that is a service of the device."""

    def __init__(self, folder: Path, state: Path, name: str) -> None:
        super().__init__(folder)
        url = f"ldapi://{quote(str(self.socket), safe='')}"
        self.daemon = Daemon(
            state, name, self.data, ["slapd", "-d", "0", "-F", self.config, "-h", url], "TERM"
        )

    def start(self) -> None:
        assert self.daemon.call("start") == 0
        self.wait()

    def wait(self) -> None:
        wait_until(self.answers, timeout_s=60, what="an answer of slapd")

    def answers(self) -> bool:
        try:
            self.client("ldapsearch", "-b", "dc=example,dc=org", "-s", "base")
        except Exception:
            return False
        return True

    def stop(self, how: int = 0) -> None:
        self.daemon.__exit__(None, None, None)


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
