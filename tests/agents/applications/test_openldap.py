"""What slapcat says of its configuration becomes streams, or a reason why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.applications import Ground, Patience
from agents.applications.openldap import OpenLdap
from agents.errors import PlanRefused, ProtocolBroken
from agents.facts import Instance
from tests.agents.facts.samples import make_facts

CASES = Path(__file__).resolve().parents[2] / "cases" / "openldap"
ATOMIC = Ground(True, "one btrfs snapshot holds all of its files", "btrfs snapshot")
HEAD = "dn: olcDatabase={1}mdb,cn=config\nolcDbDirectory: /db\n"


def parse(said: str = HEAD, status: str = "0") -> Instance:
    row = ("/c", "directory", "0", "113", "117", "slapd.service", "2.5.13", status, said)
    (instance,) = OpenLdap().parse("".join(f"{each}\0" for each in row).encode(), make_facts())
    return instance


def test_a_recorded_answer_of_slapd_2_5() -> None:
    (instance,) = OpenLdap().parse((CASES / "look-2.5.bin").read_bytes(), make_facts())
    assert (instance.name, instance.version) == ("/tmp/ldapx/conf", "2.5.13")
    assert instance.places == ("/tmp/ldapx/conf", "/tmp/ldapx/db")
    offers = OpenLdap().offers(instance, ATOMIC, make_facts())
    assert [(offer.method, offer.consistency.value) for offer in offers] == [
        ("stream", "application"),
        ("snapshot", "crash"),
    ]


def test_streams_run_as_the_servers_own_user_and_have_names_without_slashes() -> None:
    instance = parse(f"{HEAD}olcSuffix:: bz3DlCAv\ndn: olcDatabase={{2}}monitor,cn=config")
    streams = OpenLdap().recipe(instance, "stream", Patience(), "").streams
    assert [stream.name for stream in streams] == ["config.ldif", "1-o=.ldif"]
    assert streams[1].producer.argv[-4:] == ("113", "117", "/c", "1")
    assert "setpriv --reuid" in streams[1].producer.argv[2]


@pytest.mark.parametrize("line", ["olcDbNoSync: TRUE", "olcDbEnvFlags: nosync", "olcDbEnvFlags: mapasync"])
def test_a_database_that_does_not_sync_has_no_snapshot(line: str) -> None:
    offers = OpenLdap().offers(parse(f"{HEAD}{line}"), ATOMIC, make_facts())
    assert [offer.method for offer in offers] == ["stream"]


def test_a_backend_that_nobody_knows_is_not_half_a_backup() -> None:
    instance = parse(f"{HEAD}dn: olcDatabase={{2}}wt,cn=config")
    assert "{2}wt" in instance.problems[0]
    assert OpenLdap().offers(instance, ATOMIC, make_facts()) == ()
    with pytest.raises(PlanRefused):
        OpenLdap().recipe(instance, "stream", Patience(), "")


def test_what_slapcat_could_not_read_is_a_problem_with_its_remedy() -> None:
    assert "install slapcat" in parse("", "1").problems[0]


@pytest.mark.parametrize(
    "output",
    [
        b"/c\0",
        b"c\0directory\x000\x000\x000\0\0\x000\0\0",
        b"/c\0directory\x000\0x\x000\0\0\x000\0\0",
        b"/c\0directory\x000\x000\x000\0\0\x000\0dn: olcDatabase=mdb,cn=config\0",
        b"/c\0directory\x000\x000\x000\0\0\x000\0dn: olcDatabase={1}mdb,cn=config\nnonsense\0",
        b"/c\0directory\x000\x000\x000\0\0\x000\0dn: olcDatabase={1}mdb,cn=config\nolcSuffix:: @@\0",
    ],
)
def test_nonsense_is_refused(output: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        OpenLdap().parse(output, make_facts())
