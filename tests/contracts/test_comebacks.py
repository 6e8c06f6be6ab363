"""What every way back of an application keeps, whichever is found in the package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agents.applications import applications
from agents.applications.comebacks import Comeback, Home, Way, comebacks, find_home
from agents.applications.keepers import NOBODY, Keeper, keep_services, look_command
from agents.applications.postgresql_start import keep_by_hand, keep_cluster
from agents.applications.stored import Stored, StoredPart
from agents.comeback import choices
from agents.errors import PlanRefused
from agents.facts import Detail, Instance
from agents.returning import staging, swapping
from tests.agents.facts.samples import make_facts
from tests.contracts.shells import check_shell

FACTS = make_facts()
ID = "0" * 64
# A restore point of files, and of every stream that the application makes.
STREAMS = {
    "postgresql": (("stream", "base.tar"), ("copy", "cluster.tar")),
    "mariadb": (("stream", "backup.xbstream"),),
    "redis": (("stream", "dump.rdb"),),
    "sqlite": (("stream", "app.db"),),
    "openldap": (("stream", "1-dc=example.ldif"),),
    "etcd": (("stream", "etcd.snapshot"),),
}
PLACES = {
    "openldap": ("/srv/ldap/slapd.d", "/srv/ldap/data"),
    "sqlite": ("/srv/app",),
}


def places_of(name: str) -> tuple[str, ...]:
    return PLACES.get(name, (f"/srv/{name}/data",))


def instance_of(name: str) -> str:
    return "/srv/app/app.db" if name == "sqlite" else places_of(name)[0]


def stored_all(name: str) -> Iterator[Stored]:
    places = places_of(name)
    yield Stored(name, instance_of(name), "snapshot+btrfs", (StoredPart(ID, "", places, 1000),), places)
    for method, part in STREAMS[name]:
        yield Stored(name, instance_of(name), method, (StoredPart(ID, part, (f"/{part}",), 1000),), places)


ALL = [(plugin, stored) for plugin in comebacks().values() for stored in stored_all(plugin.name)]


@pytest.fixture(params=ALL, ids=lambda each: f"{each[0].name}-{each[1].method}")
def found(request: pytest.FixtureRequest) -> tuple[Comeback, Stored]:
    plugin, stored = request.param
    assert isinstance(plugin, Comeback) and isinstance(stored, Stored)
    return plugin, stored


def home_of(stored: Stored) -> Home:
    return find_home(stored, FACTS, None, ("some.service",))


def test_each_belongs_to_an_application() -> None:
    assert set(comebacks()) == set(STREAMS) and set(comebacks()) <= set(applications())


def test_it_is_possible_in_place_once_its_service_is_known(found: tuple[Comeback, Stored]) -> None:
    _, stored = found
    (choice,) = (each for each in choices(stored, FACTS, None, ("some.service",)) if each.way is Way.IN_PLACE)
    assert choice.is_possible and choice.reason


def test_without_a_service_it_says_what_to_do(found: tuple[Comeback, Stored]) -> None:
    plugin, stored = found
    (choice,) = (each for each in choices(stored, FACTS) if each.way is Way.IN_PLACE)
    assert choice.is_possible == (plugin.name in ("postgresql", "sqlite")), "they need none"
    assert choice.is_possible or choice.remedy == "Name its service."


def test_everything_that_is_fetched_has_a_seat_and_everything_that_works_has_one(
    found: tuple[Comeback, Stored],
) -> None:
    plugin, stored = found
    home = home_of(stored)
    course = plugin.course(stored, home, keep_services(home.services))
    assert course.fetches and course.seats and home.data
    numbers = [*(each.seat for each in course.fetches), *(each.seat for each in course.preparations)]
    assert all(0 <= number < len(course.seats) for number in numbers)
    assert {fetch.seat for fetch in course.fetches} == set(range(len(course.seats)))
    stagings = staging.plan_stagings(course, FACTS, "hotfleet-c1-r1")
    assert len({each.path for each in stagings}) == len(stagings)


def test_every_shell_can_be_read(found: tuple[Comeback, Stored]) -> None:
    plugin, stored = found
    home = home_of(stored)
    for preparation in plugin.course(stored, home, NOBODY).preparations:
        check_shell(f"{staging.ENTER}\nshift\n{preparation.source}")
    log = plugin.log(home, "/since")
    if log is not None:
        check_shell(log.argv[2])


@pytest.mark.parametrize(
    "keeper",
    [
        NOBODY,
        keep_services(("a.service", "container:b")),
        keep_by_hand("by hand", "/srv/da ta", "postgres", "port=1"),
        keep_cluster(Home("postgresql", "15/main", "", ("/d",), "postgres", None, False)),
    ],
    ids=["nobody", "services", "pg_ctl", "debian"],
)
def test_every_keeper_can_be_read_with_the_swap(keeper: Keeper) -> None:
    functions = keeper.functions
    check_shell(look_command(keeper).argv[2])
    for script in (swapping._SWAP, swapping._UNDO, swapping._GOOD, swapping._RUNS):
        check_shell("\n".join((swapping._HEAD, functions, "START_WAIT=10", swapping._functions(), script)))


def test_a_name_that_is_no_service_is_refused() -> None:
    with pytest.raises(ValueError, match="not the name"):
        keep_services(("x; rm -rf /",))


def test_where_it_belongs_is_told_by_what_runs_then_by_what_was_seen_then_by_its_restore_point() -> None:
    stored = Stored("postgresql", "15/main", "stream", (StoredPart(ID, "base.tar", ("/base.tar",), 1),))
    assert find_home(stored, FACTS, None, ()).data == "/var/lib/postgresql/15/main"
    known = Instance("postgresql", "15/main", "PostgreSQL 15/main", "15.1", ("/srv/pg",), "pg.service", True)
    home = find_home(stored, FACTS, known, ())
    assert (home.data, home.services, home.is_running) == ("/srv/pg", ("pg.service",), False)
    assert find_home(stored, FACTS, known, ("other",)).services == ("other",)


def test_one_of_several_members_of_etcd_does_not_come_back_alone() -> None:
    stored = next(stored_all("etcd"))
    details = (Detail("cluster", "m1=http://a:2380,m2=http://b:2380"),)
    known = Instance("etcd", stored.instance, "etcd m1", "3.4", stored.paths, "etcd", True, details)
    (choice,) = choices(stored, FACTS, known)
    assert not choice.is_possible and "several members" in choice.reason


def test_what_nobody_brings_back_is_refused_with_a_remedy() -> None:
    with pytest.raises(PlanRefused) as caught:
        choices(Stored("mongodb", "x", "snapshot", (StoredPart(ID, "", ("/x",), 1),), ("/x",)), FACTS)
    assert caught.value.remedy


@pytest.mark.parametrize("path", ["/", "/etc", "/srv/../etc/x", "srv/x", "/srv/a\nb"])
def test_what_is_no_place_is_not_replaced(path: str) -> None:
    plugin = comebacks()["redis"]
    stored = Stored("redis", "6379", "snapshot", (StoredPart(ID, "", (path,), 1),), (path,))
    home = find_home(stored, FACTS, None, ("s",))
    with pytest.raises(PlanRefused):
        staging.plan_stagings(plugin.course(stored, home, NOBODY), FACTS, "hotfleet-c1-r1")


def test_a_place_inside_of_another_comes_back_with_it() -> None:
    paths = ("/srv/etcd", "/srv/etcd/wal", "/srv/etcd-wal")
    stored = Stored("etcd", paths[0], "snapshot", (StoredPart(ID, "", paths, 1),), paths)
    course = comebacks()["etcd"].course(stored, find_home(stored, FACTS, None, ("s",)), NOBODY)
    assert [seat.path for seat in course.seats] == ["/srv/etcd", "/srv/etcd-wal"]
    assert [(fetch.seat, fetch.path) for fetch in course.fetches] == [(0, "/srv/etcd"), (1, "/srv/etcd-wal")]


@pytest.mark.parametrize("inner", ["/srv/ldap/data", "/srv/ldap/data/log"])
def test_two_seats_of_which_one_carries_the_other_away_are_refused(inner: str) -> None:
    paths = ("/srv/ldap/slapd.d", "/srv/ldap/data", inner)
    part = StoredPart(ID, "1-dc=example.ldif", ("/1-dc=example.ldif",), 1)
    stored = Stored("openldap", paths[0], "stream", (part,), paths)
    course = comebacks()["openldap"].course(stored, find_home(stored, FACTS, None, ("s",)), NOBODY)
    with pytest.raises(PlanRefused, match="lies in"):
        staging.plan_stagings(course, FACTS, "hotfleet-c1-r1")
