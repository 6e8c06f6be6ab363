"""What a new policy may begin with is a policy that could be saved as it is."""

from __future__ import annotations

import pytest
from django.http import QueryDict
from django.test import Client

from backupsite.policies.durations import parse_duration
from backupsite.policies.forms import PolicyForm
from backupsite.policies.models import Policy
from backupsite.policies.source_forms import PREFIX, make_source_forms
from backupsite.policies.templates import TEMPLATES, Template, find_template
from tests.backupsite.making import make_device

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda each: each.slug)
def test_its_sources_are_accepted_as_they_are(template: Template) -> None:
    data = QueryDict(mutable=True)
    data.update({f"{PREFIX}-TOTAL_FORMS": str(len(template.rows)), f"{PREFIX}-INITIAL_FORMS": "0"})
    for number, row in enumerate(template.rows):
        data.update({f"{PREFIX}-{number}-{name}": value for name, value in row.items() if value})
    forms = make_source_forms(data)
    assert forms.is_valid(), forms.errors
    assert len(forms.drafts) == len(template.rows)
    assert set(template.fields) <= set(PolicyForm.base_fields)
    assert parse_duration(template.fields["rpo"])
    assert find_template(template.slug) is template


def test_the_page_begins_with_it_and_keeps_the_device(operator: Client) -> None:
    device = make_device("web-1")
    page = operator.get("/policies/new/", {"device": device.slug, "template": "web-server"})
    text = page.content.decode()
    assert [form.initial["path"] for form in page.context["sources"].forms] == [
        "/etc", "/srv", "/var/www", "/usr/local",
    ]  # fmt: skip
    assert page.context["form"]["devices"].value() == [device.pk]
    assert "Sites, their configuration and certificates" in text
    assert "device=web-1&amp;template=home-directories" in text
    assert not Policy.objects.exists()


def test_an_unknown_one_is_an_empty_form(operator: Client) -> None:
    page = operator.get("/policies/new/", {"template": "<b>"})
    assert page.status_code == 200
    assert [form.initial.get("path", "") for form in page.context["sources"].forms] == [""]
