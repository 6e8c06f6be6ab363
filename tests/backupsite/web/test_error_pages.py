"""Errors have pages of their own, which say what to do, and need nothing that may be broken."""

from __future__ import annotations

import pytest
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.views import defaults

from backupsite.web.errors import fault


@pytest.mark.parametrize("code", ["400", "403", "404", "500"])
def test_an_error_page_needs_no_database(code: str) -> None:
    request = RequestFactory().get("/")
    views = {
        "400": lambda request: defaults.bad_request(request, Exception()),
        "403": lambda request: defaults.permission_denied(request, Exception()),
        "404": lambda request: defaults.page_not_found(request, Exception()),
        "500": fault,
    }
    answer = views[code](request)
    assert answer.status_code == int(code)
    assert b"Open the fleet page" in answer.content


def test_a_missing_page_is_ours(operator: Client) -> None:
    answer = operator.get("/no/such/page/")
    assert answer.status_code == 404
    assert b"There is no such page" in answer.content


def test_a_form_without_its_token_is_explained(person: object) -> None:
    client = Client(enforce_csrf_checks=True)
    answer = client.post("/login/", {"name": "ada"})
    assert answer.status_code == 403
    assert b"The form is too old" in answer.content


def test_the_request_of_an_error_page_may_be_bare() -> None:
    assert fault(HttpRequest()).status_code == 500
