"""What must hold before anything starts: `manage.py check`, and each start of `manage.py serve`, ask this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, register

from agents.commands import Secret
from backupsite import environment, vault

_OWNER = "checks:canary"


@register()
def check_home(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse a home directory that others may read: keys and the database lie in it."""
    problem = environment.home_problem(settings.HOTFLEET_HOME)
    return [Error(problem, id="hotfleet.E001")] if problem else []


@register()
def check_vault(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse keys that cannot be read or do not belong together: what is sealed now must open later.

    Where no key exists yet (before the first start) there is nothing to check. A machine that only serves
    pages has the public key alone; it can seal and nothing else.
    """
    if not vault.has_public_key():
        return []
    try:
        sealed = vault.seal(_OWNER, Secret("canary"))
        if vault.has_private_key():
            vault.unseal(_OWNER, sealed)
    except vault.VaultError as error:
        return [Error(f"The keys of the vault do not work: {error}.", id="hotfleet.E002")]
    return []


@register()
def check_hosts(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """Refuse names with a star: any site could then speak for the console."""
    if any("*" in name or name.startswith(".") for name in settings.ALLOWED_HOSTS):
        return [
            Error(
                "ALLOWED_HOSTS names a pattern. Set HOTFLEET_ORIGIN to the whole address instead.",
                id="hotfleet.E003",
            )
        ]
    return []
