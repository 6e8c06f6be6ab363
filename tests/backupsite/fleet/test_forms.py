from __future__ import annotations

import pytest

from backupsite.fleet.forms import DeviceForm
from backupsite.fleet.models import Device
from tests.backupsite import hostile
from tests.backupsite.making import make_device

pytestmark = pytest.mark.django_db
GOOD = {"reach": "ssh", "name": "db-01", "address": "10.0.0.5", "port": "22", "user": "root"}


def errors_of(**changes: str) -> dict[str, list[str]]:
    return {
        name: [str(text) for text in texts] for name, texts in DeviceForm({**GOOD, **changes}).errors.items()
    }


def test_it_takes_a_good_device() -> None:
    assert errors_of() == {}
    assert errors_of(address="db1.example.org.", port="2222", user="backup") == {}
    assert errors_of(address="fe80::1%eth0") == {}


@pytest.mark.parametrize("address", hostile.ADDRESSES + hostile.SHELL + hostile.MARKUP)
def test_it_refuses_bad_addresses_at_the_field(address: str) -> None:
    assert list(errors_of(address=address)) == ["address"]


@pytest.mark.parametrize("port", hostile.PORTS)
def test_it_refuses_bad_ports_at_the_field(port: str) -> None:
    assert list(errors_of(port=port)) == ["port"]


@pytest.mark.parametrize("user", hostile.USERS)
def test_it_refuses_bad_users_at_the_field(user: str) -> None:
    assert list(errors_of(user=user)) == ["user"]


def test_another_port_of_this_machine_may_be_a_container() -> None:
    assert errors_of(address="127.0.0.1", port="2222") == {}


def test_a_name_and_an_address_are_taken_once() -> None:
    make_device("db-01", address="10.0.0.5")
    assert "Another device has this name." in errors_of(name="DB-01", address="10.0.0.6")["name"]
    assert list(errors_of(name="other")) == ["address"]
    assert errors_of(name="other", port="2222") == {}


def test_a_changed_device_may_keep_its_own_name_and_address() -> None:
    device = make_device("db-01", address="10.0.0.5")
    assert DeviceForm(GOOD, device=device).is_valid()


def test_this_machine_needs_no_way_and_is_there_once() -> None:
    form = DeviceForm({"reach": "local", "name": "console"})
    assert form.is_valid()
    assert form.reach_value.kind == Device.LOCAL
    make_device("console", reach=Device.LOCAL, address="")
    assert list(errors_of(reach="local", name="again")) == ["reach"]


def test_an_unknown_reach_is_refused() -> None:
    assert "reach" in errors_of(reach="telnet")
