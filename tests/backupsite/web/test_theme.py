"""The theme is a cookie that the server reads and, without JavaScript, also sets."""

from __future__ import annotations

import pytest
from django.test import RequestFactory
from django.urls import include, path

from backupsite.web.theme import read_theme, set_theme

urlpatterns = [path("", include("backupsite.web.urls"))]
pytestmark = pytest.mark.urls(__name__)
factory = RequestFactory()


def test_it_sets_the_cookie_and_goes_back() -> None:
    response = set_theme(factory.post("/theme/", {"theme": "dark", "next": "/devices/?q=a"}))
    assert (response.status_code, response["Location"]) == (302, "/devices/?q=a")
    assert response.cookies["theme"].value == "dark"
    assert response.cookies["theme"]["samesite"] == "Lax"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_it_never_leads_to_another_site(target: str) -> None:
    response = set_theme(factory.post("/theme/", {"theme": "light", "next": target}))
    assert response["Location"] == "/"


def test_it_refuses_an_unknown_theme_and_get() -> None:
    assert set_theme(factory.post("/theme/", {"theme": "<b>"})).status_code == 400
    assert set_theme(factory.get("/theme/")).status_code == 405


@pytest.mark.parametrize(
    ("cookie", "theme"), [("dark", "dark"), ("light", "light"), ('"><script>', "system")]
)
def test_a_strange_cookie_is_the_systems_theme(cookie: str, theme: str) -> None:
    request = factory.get("/")
    request.COOKIES["theme"] = cookie
    assert read_theme(request) == theme
