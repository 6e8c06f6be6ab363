"""A command of the policy becomes a stream; nothing of it is a word of another shell."""

from __future__ import annotations

import pytest

from agents.applications import Patience, applications
from agents.errors import PlanRefused
from agents.plan import SourceRequest, make_plan
from tests.agents.facts.samples import make_facts

HOSTILE = "echo '$(id)' \"`id`\"; : | tr \"'\" '\\n'"


def test_the_plan_has_one_stream_under_the_name_of_the_policy() -> None:
    request = SourceRequest(application="command", instance="a.json", command=HOSTILE)
    (planned,) = make_plan(make_facts(), [request]).sources
    assert (planned.key, planned.method, planned.parts) == ("command:a.json", "stream", ())
    (stream,) = planned.streams
    assert stream.name == "a.json"
    assert stream.producer.argv[0] == f"HOTFLEET_LINE={HOSTILE}"
    assert "only its author knows" in planned.reasons[0]


@pytest.mark.parametrize("name", ["", ".", "..", ".a", "a/b", "/a", "a\nb", "a" * 201, "\udcff"])
def test_a_name_that_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(PlanRefused, match="not a name for a stream"):
        applications()["command"].describe(name, "true")


@pytest.mark.parametrize("command", ["", " \n", "a\0b", "a" * 16385])
def test_a_line_that_no_shell_can_run_is_refused(command: str) -> None:
    with pytest.raises(PlanRefused, match="empty or longer"):
        applications()["command"].describe("name", command)


def test_only_streams_are_offered() -> None:
    application = applications()["command"]
    instance = application.describe("name", "true")
    assert instance is not None
    with pytest.raises(PlanRefused, match="not by 'snapshot'"):
        application.recipe(instance, "snapshot", Patience(), "")
    with pytest.raises(PlanRefused, match="no service"):
        application.cold(instance, make_facts())
