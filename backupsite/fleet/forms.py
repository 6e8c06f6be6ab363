"""What a person types about a device."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.db.models import QuerySet

from agents.ssh.names import check_address, check_port, check_user
from backupsite.fleet.devices import Jump, Reach
from backupsite.fleet.models import Device
from backupsite.fleet.names import clean_name
from backupsite.fleet.tags import parse_tags
from backupsite.web.choices import Choice

T = TypeVar("T")
_PORT = re.compile(r"[0-9]{1,5}")
_OWN_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


REACHES = [
    (Device.SSH, Choice("Over SSH", "A server. One line is pasted there, nothing is installed.")),
    (Device.LOCAL, Choice("This machine, without SSH", "The machine that the console runs on.")),
]


class DeviceForm(forms.Form):
    """Name and way of a device. `device` is the one that is changed; its reach cannot change."""

    reach = forms.ChoiceField(
        choices=REACHES, initial=Device.SSH, label="How it is reached", widget=forms.RadioSelect
    )
    name = forms.CharField(max_length=200, strip=False, help_text="As you call it, for example db-01.")
    address = forms.CharField(
        max_length=300,
        help_text="Host name or IP address, for example 10.20.3.11.",
        error_messages={"required": "Give the host name or IP address, for example 10.20.3.11."},
    )
    port = forms.CharField(max_length=20, initial="22")
    user = forms.CharField(
        max_length=100,
        initial="root",
        help_text="root, or a user who may use sudo without a password.",
    )

    has_jump_host = forms.BooleanField(
        required=False,
        label="Reach it through a jump host",
        help_text="Another SSH server that leads to the device, when the console has no way of its own.",
    )
    jump_address = forms.CharField(
        max_length=300,
        label="Jump host",
        help_text="Its host name or IP address. The device's own name is then looked up there.",
        error_messages={"required": "Give the host name or IP address of the jump host."},
    )
    jump_port = forms.CharField(max_length=20, initial="22", label="Port of the jump host")
    jump_user = forms.CharField(
        max_length=100,
        label="User of the jump host",
        help_text="One with few rights will do: no command is run there.",
        error_messages={"required": "Give the user of the jump host."},
    )

    criticality = forms.ChoiceField(
        choices=Device.CRITICALITIES,
        required=False,
        initial=Device.NORMAL,
        label="How critical it is",
        help_text="What its policies propose, hot or cold, follows from this.",
    )

    tags = forms.CharField(
        max_length=900,
        required=False,
        help_text="Separated by commas, for example web, hamburg. Policies select devices by their tags.",
    )

    sleeps = forms.BooleanField(
        required=False,
        label="It is switched off at times",
        help_text="A laptop, or a machine that sleeps: its backups wait until it is there, and that it is "
        "away is no failure.",
    )

    def __init__(self, *args: Any, device: Device | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device
        if device is not None:
            del self.fields["reach"]
        is_local = device.is_local if device is not None else self.data.get("reach") == Device.LOCAL
        for name in ("address", "port", "user"):
            self.fields[name].required = not is_local
        for name in ("jump_address", "jump_port", "jump_user"):
            self.fields[name].required = not is_local and "has_jump_host" in self.data

    @property
    def wants_ssh(self) -> bool:
        if self.device is not None:
            return not self.device.is_local
        return self.cleaned_data.get("reach") == Device.SSH

    def clean_name(self) -> str:
        name = _checked(clean_name, str(self.cleaned_data["name"]))
        if self._others().filter(name__iexact=name).exists():
            raise forms.ValidationError("Another device has this name.")
        return name

    def clean_tags(self) -> tuple[str, ...]:
        try:
            return parse_tags(str(self.cleaned_data["tags"]))
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error

    def clean_reach(self) -> str:
        reach = str(self.cleaned_data["reach"])
        if reach == Device.LOCAL and Device.objects.filter(reach=Device.LOCAL).exists():
            raise forms.ValidationError("This machine is a device already.")
        return reach

    def clean_address(self) -> str:
        address = str(self.cleaned_data["address"]).strip().rstrip(".")
        if not self.wants_ssh:
            return ""
        return _checked(check_address, address)

    def clean_port(self) -> int:
        return _read_port(str(self.cleaned_data["port"])) if self.wants_ssh else 22

    def clean_user(self) -> str:
        if not self.wants_ssh:
            return "root"
        return _checked(check_user, str(self.cleaned_data["user"]).strip())

    @property
    def wants_jump_host(self) -> bool:
        return self.wants_ssh and bool(self.cleaned_data.get("has_jump_host"))

    def clean_jump_address(self) -> str:
        if not self.wants_jump_host:
            return ""
        address = str(self.cleaned_data["jump_address"]).strip().rstrip(".").lower()
        return _checked(check_address, address)

    def clean_jump_port(self) -> int:
        return _read_port(str(self.cleaned_data["jump_port"])) if self.wants_jump_host else 22

    def clean_jump_user(self) -> str:
        return (
            _checked(check_user, str(self.cleaned_data["jump_user"]).strip()) if self.wants_jump_host else ""
        )

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        address, port = data.get("address"), data.get("port")
        jump, jump_port = data.get("jump_address"), data.get("jump_port")
        if jump and jump_port:
            is_device = (address, port) == (jump, jump_port)
            if problem := find_jump_problem(jump, jump_port, is_device):
                self.add_error("jump_address", problem)
        if address and port:
            if problem := find_address_problem(address, port, is_direct=not self.wants_jump_host):
                self.add_error("address", problem)
            if (twin := self._find_twin(address, port)) is not None:
                self.add_error(
                    "address", f"The device {twin.name} is reached at this address and port already."
                )
        return data

    def _find_twin(self, address: str, port: int) -> Device | None:
        """Behind different jump hosts the same address may be different machines."""
        same = self._others().filter(address__iexact=address, port=port)
        if not self.wants_jump_host:
            return same.filter(jump_host=None).first()
        jump, jump_port = self.cleaned_data.get("jump_address"), self.cleaned_data.get("jump_port")
        if jump is None or jump_port is None:
            return None
        return same.filter(jump_host__address=jump, jump_host__port=jump_port).first()

    @property
    def reach_value(self) -> Reach:
        """The checked way. Only after is_valid()."""
        data = self.cleaned_data
        kind = self.device.reach if self.device is not None else data["reach"]
        jump = None
        if self.wants_jump_host:
            jump = Jump(data["jump_address"], data["jump_port"], data["jump_user"])
        return Reach(kind, data["address"], data["port"], data["user"], jump)

    def _others(self) -> QuerySet[Device]:
        return Device.objects.exclude(pk=self.device.pk) if self.device is not None else Device.objects.all()


def find_jump_problem(address: str, port: int, is_device: bool) -> str:
    """Given a jump host's address, and whether it is the device's own, return why it cannot be one, or ""."""
    if is_device:
        return "This is the device itself. A jump host is another machine."
    if _is_own(address, port):
        return "This is the console's own machine: no jump host is needed."
    return _find_strangeness(address)


def find_address_problem(address: str, port: int, *, is_direct: bool = True) -> str:
    """Given an address that is well formed, return why it cannot be a device's, or "". Pure.

    Behind a jump host the address of loopback is another machine's."""
    if is_direct and _is_own(address, port):
        return "This is the console's own machine. Choose “This machine, without SSH” instead."
    return _find_strangeness(address)


def _find_strangeness(address: str) -> str:
    ip = _read_ip(address)
    if ip is not None and (ip.is_unspecified or ip.is_multicast):
        return "This address belongs to no single machine."
    if ip is not None and ip.is_link_local and ip.version == 4:
        return "Addresses in 169.254.0.0/16 are not stable and may belong to a cloud's own services."
    return ""


def _is_own(address: str, port: int) -> bool:
    # Another port of loopback is a container or a tunnel: a device of its own.
    ip = _read_ip(address)
    return port == 22 and (address.lower() in _OWN_NAMES or (ip is not None and ip.is_loopback))


def _read_ip(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None


def _read_port(text: str) -> int:
    if not _PORT.fullmatch(text.strip()):
        raise forms.ValidationError("The port must be a number from 1 to 65535. SSH is usually at 22.")
    return _checked(check_port, int(text))


def _checked(check: Callable[[T], T], value: T) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
