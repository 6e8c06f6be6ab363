"""What a person types about a device."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from django.db.models import QuerySet

from agents.ssh.names import check_address, check_port, check_user
from backupsite.fleet.devices import Reach
from backupsite.fleet.models import Device
from backupsite.fleet.names import clean_name
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

    def __init__(self, *args: Any, device: Device | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.device = device
        if device is not None:
            del self.fields["reach"]
        is_local = device.is_local if device is not None else self.data.get("reach") == Device.LOCAL
        for name in ("address", "port", "user"):
            self.fields[name].required = not is_local

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
        text = str(self.cleaned_data["port"]).strip()
        if not self.wants_ssh:
            return 22
        if not _PORT.fullmatch(text):
            raise forms.ValidationError("The port must be a number from 1 to 65535. SSH is usually at 22.")
        return _checked(check_port, int(text))

    def clean_user(self) -> str:
        if not self.wants_ssh:
            return "root"
        return _checked(check_user, str(self.cleaned_data["user"]).strip())

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        address, port = data.get("address"), data.get("port")
        if address and port:
            if problem := find_address_problem(address, port):
                self.add_error("address", problem)
            twin = self._others().filter(address__iexact=address, port=port).first()
            if twin is not None:
                self.add_error(
                    "address", f"The device {twin.name} is reached at this address and port already."
                )
        return data

    @property
    def reach_value(self) -> Reach:
        """The checked way. Only after is_valid()."""
        data = self.cleaned_data
        kind = self.device.reach if self.device is not None else data["reach"]
        return Reach(kind, data["address"], data["port"], data["user"])

    def _others(self) -> QuerySet[Device]:
        return Device.objects.exclude(pk=self.device.pk) if self.device is not None else Device.objects.all()


def find_address_problem(address: str, port: int) -> str:
    """Given an address that is well formed, return why it cannot be a device's, or "". Pure."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        ip = None
    if ip is not None and (ip.is_unspecified or ip.is_multicast):
        return "This address belongs to no single machine."
    if ip is not None and ip.is_link_local and ip.version == 4:
        return "Addresses in 169.254.0.0/16 are not stable and may belong to a cloud's own services."
    is_own = address.lower() in _OWN_NAMES or (ip is not None and ip.is_loopback)
    # Another port of loopback is a container or a tunnel: a device of its own.
    if is_own and port == 22:
        return "This is the console's own machine. Choose “This machine, without SSH” instead."
    return ""


def _checked(check: Callable[[T], T], value: T) -> T:
    try:
        return check(value)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
