"""Who we are on a device, and whether we may become root there."""

from __future__ import annotations

from collections.abc import Callable

from agents.commands import Command, Result
from agents.errors import PrivilegeMissing, ProtocolBroken

Run = Callable[[Command], Result]
# Exactly what the runner starts: the rule allows nothing else, so `sudo -n true` would be refused. What sudo
# says is only understood in English.
_TRY = Command.of("env", "LC_ALL=C", "sudo", "-n", "/bin/sh", "-c", ":")


def sudoers_line(user: str) -> str:
    """Given a user name of a device, return the rule for /etc/sudoers.d that the runner needs.

    It equals root, and pages that show it say so: the runner is a shell program. use_pty (the default of
    newer sudo) changes nothing, since there is no terminal; requiretty would refuse us for that.
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
    result = run(_TRY)
    if result.is_success:
        return True
    raise _missing(user, result)


def _missing(user: str, result: Result) -> PrivilegeMissing:
    rule = f"Add this rule with `visudo -f /etc/sudoers.d/hotfleet` (it equals root):\n{sudoers_line(user)}"
    message, remedy = f"The user {user} may not become root on the device.", rule
    said = result.tail.lower()
    if result.status == 127:
        message = f"The user {user} is not root, and sudo is not installed on the device."
        remedy = f"Install sudo. {rule}\nOr let the console sign in as root."
    elif "must have a tty" in said:
        message = f"sudo on the device wants a terminal of {user} (requiretty), and a backup has none."
        remedy = f"{rule}\nIt must come after the line with requiretty: a later file or line wins."
    elif "password is required" in said:
        message = f"sudo on the device asks {user} for a password: no rule lets them do without."
        remedy = f"{rule}\nIf it is there already, a later rule takes it back: the last one that fits wins."
    elif "not allowed" in said or "not in the sudoers" in said:
        message = f"sudo on the device does not allow {user} to run /bin/sh as root."
    elif "nosuid" in said or "effective uid is not 0" in said or "setuid" in said:
        message = f"sudo on the device does not work: {result.tail.splitlines()[-1][:200]}"
        remedy = "Put it right (owner root, mode 4755, on a file system without nosuid), or use root."
    return PrivilegeMissing(message, remedy=remedy, detail=result.tail)
