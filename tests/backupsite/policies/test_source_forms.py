from __future__ import annotations

import pytest
from django.http import QueryDict

from backupsite.policies.models import Source
from backupsite.policies.source_form import row_of
from backupsite.policies.source_forms import MOST_SOURCES, change_rows, make_source_forms
from tests.backupsite.making import source_fields


def posted(*paths: str, **more: str) -> QueryDict:
    data = QueryDict(mutable=True)
    data.update({"sources-TOTAL_FORMS": str(len(paths)), "sources-INITIAL_FORMS": "0", **more})
    for number, path in enumerate(paths):
        data.update(source_fields(number, path=path))
    return data


def test_rows_that_hold_a_path() -> None:
    forms = make_source_forms(posted("/etc/", "", "/srv"))
    assert forms.is_valid()
    assert [draft["path"] for draft in forms.drafts] == ["/etc", "/srv"]


def test_a_policy_needs_a_path() -> None:
    forms = make_source_forms(posted(""))
    assert not forms.is_valid()
    assert "path" in forms.forms[0].errors


def test_a_path_is_there_once() -> None:
    forms = make_source_forms(posted("/srv", "/srv/"))
    assert not forms.is_valid()
    assert "This path is in the policy already." in forms.forms[1].errors["path"]


def test_what_leaves_out_everything_is_refused_at_its_field() -> None:
    data = posted("/srv/www")
    data["sources-0-excludes"] = "*.tmp\r\n/srv/*"
    (form,) = make_source_forms(data).forms
    assert form.errors == {"excludes": ["/srv/* leaves out everything in /srv/www."]}


def test_too_many_rows_are_refused() -> None:
    forms = make_source_forms(posted(*(f"/srv/{n}" for n in range(MOST_SOURCES + 10))))
    assert not forms.is_valid()


def test_broken_counts_are_no_fault() -> None:
    for count in ("", "x", "-1", "0", "9" * 30):
        forms = make_source_forms(posted("/srv", **{"sources-TOTAL_FORMS": count}))
        assert not forms.is_valid()
        assert change_rows(posted("/srv", add_source="1", **{"sources-TOTAL_FORMS": count})) is not None


def test_the_buttons_change_rows_and_keep_what_was_typed() -> None:
    assert change_rows(posted("/etc")) is None
    added = change_rows(posted("/etc", " bad", add_source="1"))
    assert added is not None and [row["path"] for row in added] == ["/etc", " bad", ""]
    left = change_rows(posted("/etc", " bad", "/srv", remove_source="1"))
    assert left is not None and [row["path"] for row in left] == ["/etc", "/srv"]
    nothing = change_rows(posted("/etc", remove_source="7"))
    assert nothing is not None and [row["path"] for row in nothing] == ["/etc"]


def keeping(**fields: str) -> QueryDict:
    data = posted("")
    row = {"path": "", "kind": "postgresql", "instance": "15/main", "keeps_log": "on", **fields}
    data.update(source_fields(0, **row))
    return data


def test_a_log_is_kept_of_what_is_taken_hot_and_has_one() -> None:
    for fields, keeps in (
        ({}, True),
        ({"mode": "both"}, True),
        ({"method": "snapshot"}, True),
        ({"keeps_log": ""}, False),
        ({"mode": "cold"}, False),
        ({"kind": "redis"}, False),
        ({"kind": "files", "path": "/srv"}, False),
    ):
        forms = make_source_forms(keeping(**fields))
        assert forms.is_valid(), forms.errors
        assert [draft["keeps_log"] for draft in forms.drafts] == [keeps], fields


def test_a_dump_has_no_log_that_could_continue_it() -> None:
    forms = make_source_forms(keeping(method="dump"))
    assert not forms.is_valid()
    assert list(forms.forms[0].errors) == ["keeps_log"]


def test_a_row_remembers_that_its_log_is_kept() -> None:
    data = keeping()
    data["add_source"] = "1"
    rows = change_rows(data)
    assert rows is not None and [row["keeps_log"] for row in rows] == ["on", ""]


def test_what_may_be_missing_or_unreadable_is_said_for_each_source() -> None:
    data = posted("/srv", "/etc")
    data["sources-0-is_optional"] = "on"
    data["sources-0-accepted_problems"] = "5"
    forms = make_source_forms(data)
    assert forms.is_valid()
    assert [(draft["is_optional"], draft["accepted_problems"]) for draft in forms.drafts] == [
        (True, 5),
        (False, 0),
    ]
    row = row_of(Source(path="/srv", is_optional=True, accepted_problems=5))
    assert (row["is_optional"], row["accepted_problems"]) == ("on", "5")


@pytest.mark.parametrize("typed", ["-1", "x", "1000001"])
def test_a_number_of_files_is_one(typed: str) -> None:
    data = posted("/srv")
    data["sources-0-accepted_problems"] = typed
    (form,) = make_source_forms(data).forms
    assert "accepted_problems" in form.errors


def test_a_shared_source_is_said_and_has_no_log() -> None:
    data = posted("/srv")
    data["sources-0-is_shared"] = "on"
    forms = make_source_forms(data)
    assert forms.is_valid() and [draft["is_shared"] for draft in forms.drafts] == [True]
    assert row_of(Source(path="/srv", is_shared=True))["is_shared"] == "on"
    forms = make_source_forms(keeping(is_shared="on"))
    assert not forms.is_valid()
    assert "A log is followed on one device" in str(forms.errors)
