"""All facts of a device together, and their way into storage and back."""

from __future__ import annotations

import dataclasses
import json

import pytest

from agents.errors import ProtocolBroken
from agents.facts import PathFact, from_json, to_json
from tests.agents.facts.samples import make_facts


def test_facts_survive_storage_also_with_names_that_are_not_utf_8() -> None:
    facts = make_facts(others=(PathFact("/a\udcff\n\"'", "directory", 1, 2, True, "/a\udcff"),))
    stored = to_json(facts)
    assert stored.isascii()
    assert from_json(stored) == facts


@pytest.mark.parametrize("stored", ["", "[]", "{}", '{"system": 3}', "null", '{"nobody": 1}'])
def test_storage_that_holds_something_else_is_refused(stored: str) -> None:
    with pytest.raises(ProtocolBroken):
        from_json(stored)


def test_a_field_of_another_type_is_refused() -> None:
    values = json.loads(to_json(make_facts()))
    values["system"]["processors"] = "four"
    with pytest.raises(ProtocolBroken):
        from_json(json.dumps(values))


def test_a_path_is_found_by_its_name() -> None:
    facts = make_facts(paths=("/data",))
    assert dataclasses.astuple(facts.path("/data") or pytest.fail("none"))[1] == "directory"
    assert facts.path("/nope") is None
