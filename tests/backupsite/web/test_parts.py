"""The frame and the parts as pages use them: rendered by Django, looked at as HTML."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django import forms
from django.contrib.auth.models import AnonymousUser
from django.core.paginator import Paginator
from django.http import HttpRequest
from django.template import engines
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.urls import include, path

from backupsite.web.choices import Choice
from backupsite.web.status import Status

# The frame alone: other apps' pages have their own tests.
urlpatterns = [path("", include("backupsite.web.urls"))]
pytestmark = pytest.mark.urls(__name__)

PARTS = Path(__file__).resolve().parents[3] / "templates" / "parts"


class LimitForm(forms.Form):
    limit = forms.CharField(label="Bandwidth limit", help_text="Like 150 MB/s.")
    mode = forms.ChoiceField(
        widget=forms.RadioSelect, choices=[("hot", Choice("Hot", "keeps running")), ("cold", Choice("Cold"))]
    )

    def clean_limit(self) -> str:
        raise forms.ValidationError("Write a number and a unit <b>.")


def render(source: str, **context: object) -> str:
    return str(engines["django"].from_string(source).render(context, make_request()))


def make_request(theme: str = "dark") -> HttpRequest:
    request = RequestFactory().get("/devices/", {"q": "a b", "page": "2"})
    request.COOKIES["theme"] = theme
    request.user = AnonymousUser()
    return request


def test_every_part_has_its_context_written_in_its_first_line() -> None:
    parts = list(PARTS.glob("*.html"))
    assert parts
    for part in parts:
        first = part.read_text().lstrip().splitlines()[0]
        # The frame's own parts are included by the base templates only.
        if part.stem not in {"sidebar", "topbar", "bottombar"}:
            assert first.startswith(("{#", "{% comment %}")), part.name


@pytest.mark.parametrize("template", ["base.html", "base_bare.html"])
def test_the_frame_is_whole_and_themed_by_the_server(template: str) -> None:
    html = render_to_string(template, {}, make_request())
    assert '<html lang="en" data-theme="dark">' in html
    assert html.count('<main class="') == 1
    assert 'href="#main"' in html
    assert "{#" not in html
    assert "{%" not in html
    ids = re.findall(r'\sid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_a_field_in_error_is_tied_to_its_words() -> None:
    form = LimitForm({"limit": "150 MBs", "mode": "hot"})
    html = render('{% include "parts/field.html" with field=form.limit unit="MB/s" %}', form=form)
    described = re.search(r'aria-describedby="([^"]+)"', html)
    assert described is not None
    for name in described.group(1).split():
        assert f'id="{name}"' in html
    assert 'aria-invalid="true"' in html
    assert 'value="150 MBs"' in html
    assert "a unit &lt;b&gt;." in html


def test_the_summary_of_errors_leads_to_the_field() -> None:
    form = LimitForm({"limit": "x", "mode": "hot"})
    html = render(
        '{% include "parts/errors.html" %}{% include "parts/field.html" with field=form.limit %}', form=form
    )
    assert '<a href="#id_limit">Bandwidth limit</a>' in html
    assert 'id="id_limit"' in html
    assert render('{% include "parts/errors.html" %}', form=LimitForm()).strip() == ""


def test_choice_cards_show_title_and_help() -> None:
    html = render('{% include "parts/choices.html" with field=form.mode %}', form=LimitForm())
    assert '<span class="choice-title">Hot</span><span class="choice-help">keeps running</span>' in html
    assert html.count('type="radio"') == 2
    assert html.count("choice-help") == 1


def test_pages_keep_the_other_fields_of_the_address() -> None:
    html = render('{% include "parts/pagination.html" %}', page=Paginator(range(10_000), 50).page(2))
    assert 'href="?q=a+b&amp;page=1"' in html
    assert 'href="?q=a+b&amp;page=3"' in html
    assert "51 to 100 of 10\u202f000" in html


def test_a_status_has_icon_word_and_tone() -> None:
    html = render("{% status s %}", s=Status("Failed <now>", "bad", "bad"))
    assert '<span class="badge bad">' in html
    assert "#bad" in html
    assert "Failed &lt;now&gt;" in html


def test_a_time_is_an_element_with_its_exact_value() -> None:
    at = datetime.now(UTC) - timedelta(minutes=18)
    html = render("{% time at %}", at=at)
    assert f'datetime="{at.isoformat(timespec="seconds")}"' in html
    assert "18\u00a0min ago</time>" in html
    assert render("{% time at %}", at=None) == "–"


def test_text_of_a_device_is_shown_and_escaped_everywhere() -> None:
    line = {"at": datetime.now(UTC), "text": "<b>\x1b[0m\u202ename", "tone": ""}
    tick = {"status": Status("Reached", "good", "good"), "text": "<i>\u200b", "note": "", "fix": ""}
    html = render(
        '{% include "parts/log_lines.html" %}{% include "parts/ticks.html" %}{{ name|middle:12 }}',
        lines=[line],
        ticks=[tick],
        name="\u202e" + "a" * 30,
    )
    assert r"&lt;b&gt;\x1b[0m[U+202E]name" in html
    assert "&lt;i&gt;[U+200B]" in html
    assert "\u202e" not in html


def test_a_confirmation_is_a_plain_form() -> None:
    html = render(
        '{% include "parts/confirm_dialog.html" %}',
        dialog_id="cancel",
        title="Cancel?",
        text="One.\n\nTwo.",
        action="Cancel run",
        action_url="/runs/1/cancel/",
        back_url="/runs/1/",
        tone="danger",
    )
    assert '<dialog id="cancel"' in html
    assert 'method="post" action="/runs/1/cancel/"' in html
    assert "csrfmiddlewaretoken" in html
    assert "<p>Two.</p>" in html
