"""What every trial of an application keeps, whichever is found in the package."""

from __future__ import annotations

import re

import pytest

from agents.applications import applications
from agents.applications.stored import Stored, StoredPart
from agents.applications.trials import OURS, Question, Trial, make_trial, trial_makers
from agents.errors import PlanRefused
from tests.contracts.shells import check_shell

ID = "0" * 64
BAD = "'; touch /tmp/bad; $(touch /tmp/bad) `touch /tmp/bad` \n.shell touch /tmp/bad"
# What each application's ways leave in the repository; "": files.
WAYS = {
    "postgresql": {
        "snapshot+btrfs": [""],
        "cold": [""],
        "bare+lvm": [""],
        "stream": ["base.tar"],
        "copy": ["cluster.tar"],
        "dump": ["globals.sql", "a%20b.dump", "postgres.dump"],
    },
    "mariadb": {
        "snapshot+btrfs": [""],
        "cold": [""],
        "stream": ["backup.xbstream"],
        "dump": ["all-databases.sql"],
    },
    "sqlite": {"snapshot+btrfs": [""], "stream": ["app.db"]},
    "redis": {"snapshot+btrfs": [""], "cold": [""], "stream": ["dump.rdb"]},
    "openldap": {"snapshot+btrfs": [""], "cold": [""], "stream": ["config.ldif", "1-dc_example.ldif"]},
    "etcd": {"snapshot+btrfs": [""], "cold": [""], "stream": ["etcd.snapshot"]},
    "command": {"stream": ["inventory.json"]},
}
CASES = [(name, method) for name, ways in WAYS.items() for method in ways]


def make_stored(name: str, method: str, place: str = "/srv/da 'ta") -> Stored:
    parts = [StoredPart(ID, part, (f"/{part}",) if part else (place,), 1000) for part in WAYS[name][method]]
    return Stored(name, f"{place}/app.db", method, tuple(parts), (place,))


def make(name: str, method: str, *questions: Question) -> Trial:
    if name == "command":
        questions = ()
    return make_trial(make_stored(name, method), questions)


def test_every_trial_is_of_an_application_and_has_its_cases() -> None:
    assert set(trial_makers()) == set(WAYS)
    assert set(trial_makers()) <= set(applications())


@pytest.mark.parametrize(("name", "method"), CASES)
def test_its_shell_is_sound(name: str, method: str) -> None:
    trial = make(name, method, Question(BAD, "=", BAD, BAD))
    shells = [file.text for file in trial.files if file.name.endswith(".sh")]
    functions = set(re.findall(r"^(\w+)\(\) \{", "\n".join(shells), re.MULTILINE))
    for shell in shells:
        check_shell(shell)
    for step in trial.steps:
        check_shell(f"{''.join(shells)}\n{step.source.replace(f'. {OURS}/trial.sh', ':')}")
        if shells:
            assert step.source.startswith(f". {OURS}/trial.sh\n")
            called = step.source.splitlines()[1].partition(" ")[0].rstrip(";")
            assert called in functions, step.source


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_question_is_never_a_word_of_a_command(name: str, method: str) -> None:
    if name == "command":
        with pytest.raises(PlanRefused):
            make_trial(make_stored(name, method), (Question("x", "=", "y"),))
        return
    trial = make(name, method, Question("select 'never a word'", "=", "never a value"))
    assert not [step for step in trial.steps if "never a" in step.source]
    (asked,) = (step for step in trial.steps if step.question is not None)
    assert "select 'never a word'" in {file.text for file in trial.files}
    assert trial.steps.index(asked) > [step.name for step in trial.steps].index("start")


@pytest.mark.parametrize(("name", "method"), CASES)
def test_its_steps_have_names_an_end_and_a_start_that_is_needed(name: str, method: str) -> None:
    trial = make(name, method)
    names = [step.name for step in trial.steps]
    assert len(set(names)) == len(names) > 0
    assert all(0 < step.timeout_s <= 24 * 3600 for step in trial.steps)
    assert all(
        "\0" not in file.text and re.fullmatch(r"[a-z][a-z0-9_.-]*", file.name) for file in trial.files
    )
    if name != "command":
        assert [step.is_needed for step in trial.steps if step.name == "start"] == [True]


@pytest.mark.parametrize(("name", "method"), [case for case in CASES if case[0] not in ("command", "sqlite")])
def test_a_stream_that_is_not_there_is_refused(name: str, method: str) -> None:
    stored = make_stored(name, method)
    other = Stored(name, stored.instance, method, (StoredPart(ID, "other", ("/other",), 1),), ())
    with pytest.raises(PlanRefused):
        make_trial(other)


def test_an_application_without_a_trial_is_refused_with_a_remedy() -> None:
    with pytest.raises(PlanRefused) as refused:
        make_trial(Stored("docker", "x", "cold", ()))
    assert "files" in refused.value.remedy
