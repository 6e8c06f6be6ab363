"""What every application plug-in keeps, whichever is found in the package.

A plug-in that looks for instances has recorded answers of real devices in
tests/cases/applications/<its name>/ (or tests/cases/<its name>/), look*.bin: what its `look` printed, byte
for byte.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from agents.applications import (
    Application,
    Ground,
    Offer,
    Patience,
    Quiesce,
    Recipe,
    Stream,
    applications,
)
from agents.commands import Command
from agents.errors import AgentError, PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import DatabaseSeen, DeviceFacts, Instance, from_json, to_json
from tests.agents.facts.samples import make_facts
from tests.contracts.shells import Sandbox, check_shell, scripts_of

CASES = Path(__file__).resolve().parent.parent / "cases"
ATOMIC = Ground(True, "one btrfs snapshot holds all of its files", "btrfs snapshot")
APART = Ground(False, "its files lie on 2 volumes", remedy="Move them to one.")
SCRATCH = "/var/tmp/.hotfleet-c1-r1"
FACTS = replace(
    make_facts(),
    databases=tuple(
        DatabaseSeen(name, "process", f"/var/lib/{name}", 100 + number)
        for number, name in enumerate(sorted(applications()))
    ),
)
# A stream that a policy describes itself has no instance on any device.
DESCRIBED = {"command": ("inventory.json", "printf '%s' one")}


@dataclass(frozen=True)
class Found:
    application: Application
    instance: Instance
    case: str


def cases_of(name: str) -> list[Path]:
    return sorted([*(CASES / "applications" / name).glob("look*.bin"), *(CASES / name).glob("look*.bin")])


def find_instances(application: Application) -> Iterator[Found]:
    for case in cases_of(application.name):
        for instance in application.parse(case.read_bytes(), FACTS):
            yield Found(application, instance, case.name)
    if application.name in DESCRIBED:
        instance_or_none = application.describe(*DESCRIBED[application.name])
        assert instance_or_none is not None
        yield Found(application, instance_or_none, "described")


FOUND = [each for application in applications().values() for each in find_instances(application)]
NAMES = sorted(applications())


def recipes_of(found: Found) -> Iterator[tuple[Offer | None, Recipe]]:
    """Every recipe that somebody could get for an instance, with the offer it belongs to (none: cold)."""
    for ground in (ATOMIC, APART):
        for offer in found.application.offers(found.instance, ground, FACTS):
            recipe = found.application.recipe(found.instance, offer.method, Patience(), SCRATCH)
            yield offer, recipe
    try:
        yield None, found.application.cold(found.instance, FACTS)
    except PlanRefused:
        return  # nobody knows how to stop it


def is_text(text: str) -> bool:
    return bool(text.strip()) and text == text.strip()


@pytest.fixture(params=NAMES)
def application(request: pytest.FixtureRequest) -> Application:
    return applications()[request.param]


@pytest.fixture(
    params=FOUND, ids=lambda found: f"{found.application.name}-{found.case}-{found.instance.name[:30]}"
)
def found(request: pytest.FixtureRequest) -> Found:
    value = request.param
    assert isinstance(value, Found)
    return value


def test_it_has_a_name_a_label_and_recorded_answers(application: Application) -> None:
    assert application.name.isidentifier() and application.name.islower()
    assert is_text(application.label)
    if application.name not in DESCRIBED:
        assert cases_of(application.name), (
            f"put what its look command printed into {CASES / application.name}"
        )
        assert any(found.application is application for found in FOUND), "no recorded answer has an instance"


def test_silence_is_no_instance(application: Application) -> None:
    assert application.parse(b"", FACTS) == ()


def test_what_it_asks_is_clean_shell(application: Application) -> None:
    command = application.look(FACTS)
    if command is not None:
        assert command.argv[0] in ("sh", "/bin/sh")
        for script in scripts_of(command):
            check_shell(script)


def test_its_instances_are_whole(found: Found) -> None:
    instance = found.instance
    assert instance.application == found.application.name
    assert is_text(instance.name) and is_text(instance.label)
    assert all(place.startswith("/") and os.path.normpath(place) == place != "/" for place in instance.places)
    assert len(set(instance.places)) == len(instance.places)
    assert all(is_text(problem) for problem in instance.problems)
    facts = replace(FACTS, instances=(instance,))
    assert from_json(to_json(facts)).instances == (instance,)


def test_its_names_are_unique_on_a_device(application: Application) -> None:
    for case in cases_of(application.name):
        names = [instance.name for instance in application.parse(case.read_bytes(), FACTS)]
        assert len(names) == len(set(names)), case


def test_each_offer_says_why_and_what_it_costs(found: Found) -> None:
    for ground in (ATOMIC, APART):
        offers = found.application.offers(found.instance, ground, FACTS)
        methods = [offer.method for offer in offers]
        assert len(methods) == len(set(methods))
        for offer in offers:
            assert is_text(offer.method) and is_text(offer.reason) and is_text(offer.freeze)
            assert isinstance(offer.consistency, Consistency)
            assert offer.missing == offer.missing.strip()


def test_each_recipe_has_paths_or_streams_and_what_was_offered(found: Found) -> None:
    for offer, recipe in recipes_of(found):
        assert bool(recipe.paths) != bool(recipe.streams), recipe
        if offer is not None:
            assert (recipe.method, recipe.consistency) == (offer.method, offer.consistency)
        assert set(recipe.paths) <= set(found.instance.places) or offer is not None
        names = [stream.name for stream in recipe.streams]
        assert len(names) == len(set(names))
        assert all(is_file_name(name) for name in names), names
        assert all(stream.producer.stdin is None for stream in recipe.streams)
        assert all(pattern.startswith("/") for pattern in recipe.excludes)
        assert all(is_text(note) for note in recipe.notes)


def is_file_name(name: str) -> bool:
    is_plain = name.isprintable() and "/" not in name and not name.startswith((".", "-"))
    return is_plain and 0 < len(name.encode()) <= 255


def test_an_unknown_method_is_refused(found: Found) -> None:
    for method in ("", "magic", "$(id)"):
        with pytest.raises(PlanRefused):
            found.application.recipe(found.instance, method, Patience(), SCRATCH)


def quiesces_of(found: Found) -> list[Quiesce]:
    wanted = (recipe.quiesce for _, recipe in recipes_of(found) if recipe.quiesce is not None)
    return list(dict.fromkeys(wanted))


def streams_of(found: Found) -> list[Stream]:
    return list(dict.fromkeys(stream for _, recipe in recipes_of(found) for stream in recipe.streams))


def test_every_shell_source_is_clean(found: Found) -> None:
    for quiesce in quiesces_of(found):
        assert is_text(quiesce.label)
        given = 'hold=$1\n: "$hold"\n'
        functions = f"hold() {{\n{quiesce.hold}\n}}\nrelease() {{\n{quiesce.release}\n}}\n"
        check_shell(f"{given}{functions}hold\nrelease\n")
        check_shell(f"{given}{quiesce.undo}\n")
        for source in (quiesce.hold, quiesce.release, quiesce.undo):
            words = source.replace(";", " ").split()
            assert "exit" not in words or source == quiesce.undo, "a source never exits"
        for script in itertools.chain.from_iterable(map(scripts_of, quiesce.before)):
            check_shell(script)
    for stream in streams_of(found):
        for script in scripts_of(stream.producer):
            check_shell(script)


def test_an_undo_may_run_twice_when_its_step_never_did(found: Found, tmp_path: Path) -> None:
    sandbox = Sandbox(tmp_path)
    for quiesce in quiesces_of(found):
        hold = tmp_path / "hold"
        for _ in range(2):
            hold.mkdir(mode=0o700, exist_ok=True)
            done = sandbox.run(Command.of("/bin/sh", "-c", f"hold=$1\n{quiesce.undo}\n", "undo", str(hold)))
            assert done.returncode == 0, (quiesce.undo, done.stderr)
        shutil.rmtree(hold)
        # the run's directory may be gone already
        sandbox.run(Command.of("/bin/sh", "-c", f"hold=$1\n{quiesce.undo}\n", "undo", str(hold)))


def make_hostile(instance: Instance, payload: str) -> Iterator[Instance]:
    """The instance with a hostile word in each place that may hold one, one at a time."""
    yield replace(instance, name=payload, label=payload)
    yield replace(instance, service=payload)
    yield replace(instance, places=(f"/srv/{payload}",))
    for at, detail in enumerate(instance.details):
        for value in (payload, f"/{payload}"):
            details = list(instance.details)
            details[at] = replace(detail, value=value)
            yield replace(instance, details=tuple(details))


def test_a_hostile_word_stays_data(found: Found, tmp_path: Path) -> None:
    if found.application.name in DESCRIBED:
        return  # its line is the operator's own program
    flag = tmp_path / "was-here"
    sandbox = Sandbox(tmp_path)
    # it breaks out of single quotes, then out of double ones, then of none
    payload = f"x'; >{flag}; '\"; >{flag}; \"$(>{flag})`>{flag}`\n>{flag}\n"
    commands: dict[Command, None] = {}
    for instance in make_hostile(found.instance, payload):
        try:
            recipes = [recipe for _, recipe in recipes_of(replace(found, instance=instance))]
            commands |= dict.fromkeys(sandbox.commands_of(recipes))
        except (AgentError, ValueError):
            continue  # refusing it is as good
    sandbox.run_all(commands)
    assert not flag.exists()


@pytest.mark.parametrize("quotes", ["", "'", '"'])
def test_the_sandbox_notices_a_word_that_nobody_quoted(tmp_path: Path, quotes: str) -> None:
    flag = tmp_path / "was-here"
    payload = f"x'; >{flag}; '\"; >{flag}; \"$(>{flag})`>{flag}`\n>{flag}\n"
    careless = Command.of("runuser", "-u", "x", "--", "/bin/sh", "-c", f"psql {quotes}{payload}{quotes}")
    Sandbox(tmp_path).run_all([careless])
    assert flag.exists()


@pytest.mark.parametrize("seed", range(4))
def test_any_other_answer_is_a_broken_protocol_and_nothing_else(application: Application, seed: int) -> None:
    chance = random.Random(f"{application.name}-{seed}")
    for case in cases_of(application.name):
        whole = case.read_bytes()
        for _ in range(100):
            try:
                instances = application.parse(_spoil(whole, chance), FACTS)
            except ProtocolBroken:
                continue
            assert all(isinstance(each, Instance) for each in instances)
            _use(application, instances, FACTS)


def _spoil(whole: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(whole))
    fields = whole.split(b"\0")
    match chance.randrange(6):
        case 0:
            return whole[:at]
        case 1:
            return whole[:at] + chance.randbytes(chance.randrange(1, 9)) + whole[at:]
        case 2:
            return whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
        case 3:
            chance.shuffle(fields)
        case 4:
            nasty = (
                b"",
                b"-1",
                b"9" * 5000,
                b"[" * 5000,
                b"/",
                b"/../..",
                b"\xff\xfe",
                b"{}",
                b"null",
                b"root",
            )
            fields[chance.randrange(len(fields))] = chance.choice(nasty)
        case _:
            fields.insert(chance.randrange(len(fields)), chance.choice(fields))
    return b"\0".join(fields)


def _use(application: Application, instances: tuple[Instance, ...], facts: DeviceFacts) -> None:
    """What was believed has a recipe, or is refused with a reason."""
    for instance in instances:
        to_json(replace(facts, instances=(instance,)))
        with contextlib.suppress(AgentError):
            for offer in application.offers(instance, ATOMIC, facts):
                application.recipe(instance, offer.method, Patience(), SCRATCH)
