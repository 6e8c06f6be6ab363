"""Who we are on a device, and whether we may become root there."""

from __future__ import annotations

from collections.abc import Callable

from agents.commands import Command, Result
from agents.errors import PrivilegeMissing, ProtocolBroken

Run = Callable[[Command], Result]


def sudoers_line(user: str) -> str:
    """Given a user name of a device, return the rule for /etc/sudoers.d that the runner needs.

    It equals root, and pages that show it say so: the runner is a shell program.
    """
    return f"Defaults:{user} !requiretty\n{user} ALL=(root) NOPASSWD: /bin/sh"


def needs_sudo(run: Run, user: str) -> bool:
    """Given a way to run commands as `user`, return False for root and True when sudo makes us root.

    Raise PrivilegeMissing, with the rule to add, when neither is the case. Runs two commands at most.
    """
    result = run(Command.of("id", "-u"))
    number = result.stdout.strip()
    if not result.is_success or not number.isdigit():
        raise ProtocolBroken("The device does not say as which user it runs commands.", detail=result.tail)
    if int(number) == 0:
        return False
    # Exactly what the runner starts: the rule allows nothing else, so `sudo -n true` would be refused.
    result = run(Command.of("sudo", "-n", "/bin/sh", "-c", ":"))
    if result.is_success:
        return True
    raise _missing(user, result)


def _missing(user: str, result: Result) -> PrivilegeMissing:
    if result.status == 127:
        return PrivilegeMissing(
            f"The user {user} is not root, and sudo is not installed on the device.",
            remedy=f"Install sudo and add this rule (it equals root), or use root:\n{sudoers_line(user)}",
            detail=result.tail,
        )
    return PrivilegeMissing(
        f"The user {user} may not become root on the device.",
        remedy="Add this rule with `visudo -f /etc/sudoers.d/hotfleet` (it equals root):\n"
        + sudoers_line(user),
        detail=result.tail,
    )
