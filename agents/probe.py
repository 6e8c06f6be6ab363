"""The check of a device: what was reached, what is there, what is missing, and how to mend it.

Each tick has a stable name. A tick that is not good says what to do; the flow goes on as far as it can.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace

from agents.applications import applications, read_instances
from agents.commands import Command
from agents.errors import (
    AgentError,
    CommandFailed,
    ConnectFailed,
    ConnectionLost,
    ForwardingRefused,
    HostKeyChanged,
    HostKeyUnknown,
    KeyRefused,
    PlanRefused,
    PrivilegeMissing,
    ProtocolBroken,
)
from agents.events import Checked, CheckState, Consistency, Level, Phase, Said, Tell
from agents.facts import DeviceFacts, Instance, read_facts
from agents.facts.system import SystemFacts
from agents.flow import Control, OpenSession, phase
from agents.leftovers import clean_leftovers, find_leftovers
from agents.placing import place_restic
from agents.restic.binary import Binary
from agents.runner import Runner
from agents.session import Session, Stream
from agents.snapshots import providers, snapshot_ability

_GOOD, _WARNING, _BAD = CheckState.GOOD, CheckState.WARNING, CheckState.BAD
_CLOCK_LIMIT_S = 120
_NEEDED_TOOLS = ("unshare", "setsid", "sha256sum", "mount")
_SYSTEMS = {"debian": range(11, 14), "ubuntu": range(20, 27)}
# Which tick an error belongs to when the way to the device could not be opened.
_CONNECT_TICKS: tuple[tuple[type[AgentError], str], ...] = (
    (ConnectFailed, "reached"),
    (ConnectionLost, "reached"),
    (HostKeyUnknown, "host-key"),
    (HostKeyChanged, "host-key"),
    (KeyRefused, "key"),
    (PrivilegeMissing, "privileges"),
)


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    console_id: str
    run_id: str
    binary: Binary
    is_local: bool = False
    # How sentences begin with the jump host on the way, "" where there is none.
    jump_host: str = ""


def probe(request: ProbeRequest, open_session: OpenSession, *, tell: Tell, control: Control) -> DeviceFacts:
    """Check a device, tell each tick as it is known, and return its facts.

    Raise the AgentError that ended the check early (its tick was told); later ticks are then not known.
    """
    with ExitStack() as stack:
        with phase(tell, Phase.CONNECT):
            session = stack.enter_context(closing(_connect(request, open_session, tell)))
        with phase(tell, Phase.CHECK):
            control.raise_if_stopped()
            try:
                runner = stack.enter_context(
                    Runner(session, console_id=request.console_id, run_id=request.run_id, tell=tell)
                )
            except AgentError as error:
                tell(Checked("privileges", _BAD, error.message, error.remedy))
                raise
            tell(Checked("privileges", _GOOD, "Commands run as root" + _by_sudo(session)))
            facts = read_facts(runner)
            _clean(runner, facts, tell)
            facts = _find_applications(runner, facts, tell)
            for tick in check_facts(facts, clock_s=time.time()):
                tell(tick)
            tell(_check_restic(request, session, runner))
            if not request.is_local:
                tell(_check_tunnel(session))
        with phase(tell, Phase.CLEAN_UP):
            stack.close()
    return facts


def _connect(request: ProbeRequest, open_session: OpenSession, tell: Tell) -> Session:
    try:
        session = open_session()
    except AgentError as error:
        names = ("jump-host", "reached", "host-key", "key", "privileges")
        by_class = next((name for kind, name in _CONNECT_TICKS if isinstance(error, kind)), "reached")
        failed = error.tick or by_class
        _tell_connected(names[: names.index(failed)], request, tell)
        tell(Checked(failed, _BAD, error.message, error.remedy))
        raise
    if request.is_local:
        tell(Checked("reached", _GOOD, "This is the console's own machine: no SSH is needed"))
        return session
    _tell_connected(("jump-host", "reached", "host-key", "key"), request, tell)
    return session


def _tell_connected(names: Iterable[str], request: ProbeRequest, tell: Tell) -> None:
    for name in names:
        if name != "jump-host":
            tell(Checked(name, _GOOD, _CONNECT_WORDS[name]))
        elif request.jump_host:
            words = "shows its approved host key and lets the console through"
            tell(Checked(name, _GOOD, f"{request.jump_host} {words}"))


_CONNECT_WORDS = {
    "reached": "The device was reached",
    "host-key": "It shows the approved host key",
    "key": "It accepts the console's key",
}


def _by_sudo(session: Session) -> str:
    return ", through sudo" if session.is_elevated else ""


def _clean(runner: Runner, facts: DeviceFacts, tell: Tell) -> None:
    leftovers = find_leftovers(runner, facts)
    stays = clean_leftovers(runner, leftovers)
    removed = len(leftovers) - len(stays)
    if removed:
        tell(Said(f"What {removed} dead runs left on the device was removed."))
    for leftover, reason in stays:
        tell(Said(f"{leftover.path} stays on the device: {reason}.", Level.WARNING))


def _find_applications(runner: Runner, facts: DeviceFacts, tell: Tell) -> DeviceFacts:
    """Return the facts with every instance. An application whose answer nobody can understand is told, and
    does not hide the others."""
    found: list[Instance] = []
    for name, application in applications().items():
        try:
            found += read_instances(runner, facts, {name}).instances
        except (CommandFailed, ProtocolBroken) as error:
            text = f"{application.label} could not be looked for: {error.message}"
            tell(Checked(f"application:{name}", _WARNING, text, error.remedy))
    return replace(facts, instances=tuple(found))


def check_facts(facts: DeviceFacts, *, clock_s: float) -> Iterator[Checked]:
    """Given facts and the console's clock in seconds since 1970, return the ticks that they allow."""
    yield _check_system(facts.system)
    yield _check_tools(facts)
    yield _check_clock(facts.system, clock_s)
    yield _check_selinux(facts.system)
    yield from _check_file_systems(facts)
    yield from _check_instances(facts)
    yield from _check_databases(facts)


def _check_system(system: SystemFacts) -> Checked:
    text = f"{system.os_name}, kernel {system.kernel}, {system.machine}"
    major = system.os_version.partition(".")[0]
    if system.os_id in _SYSTEMS and major.isdigit() and int(major) in _SYSTEMS[system.os_id]:
        return Checked("system", _GOOD, text)
    remedy = "Hotfleet is tested on Debian 11 to 13. Everything that it needs was looked for one by one."
    return Checked("system", _WARNING, f"{text}: not one that Hotfleet is tested on", remedy)


def _check_tools(facts: DeviceFacts) -> Checked:
    missing = [name for name in _NEEDED_TOOLS if facts.tool(name) is None]
    if missing:
        remedy = "Install util-linux and coreutils on the device."
        return Checked("tools", _BAD, f"Missing on the device: {', '.join(missing)}", remedy)
    return Checked("tools", _GOOD, f"Everything that a run needs is there: {', '.join(_NEEDED_TOOLS)}")


def _check_clock(system: SystemFacts, clock_s: float) -> Checked:
    offset = system.clock_s - clock_s
    if abs(offset) <= _CLOCK_LIMIT_S:
        return Checked("clock", _GOOD, f"The clock agrees with the console's, within {abs(offset) + 1:.0f} s")
    words = "ahead of" if offset > 0 else "behind"
    return Checked(
        "clock",
        _WARNING,
        f"The clock is {abs(offset):,.0f} s {words} the console's",
        "Set up time synchronisation (systemd-timesyncd or chrony). Restore points carry the console's time.",
    )


def _check_selinux(system: SystemFacts) -> Checked:
    """Hotfleet's own tests run without SELinux: under it, what is known is what this very check tried."""
    if system.selinux == "disabled":
        return Checked("selinux", _GOOD, "SELinux is not in use")
    context = f" (commands run as {system.selinux_context})" if system.selinux_context else ""
    if system.selinux == "permissive":
        return Checked("selinux", _GOOD, f"SELinux is permissive: it logs and denies nothing{context}")
    remedy = (
        "Labels of files are kept in restore points. What is restored into another folder keeps the labels "
        "of its old place: run `restorecon -Rv` on it before a service uses it."
    )
    if ":unconfined_t" not in system.selinux_context:
        remedy += (
            " The console's user is confined here: what it may not read is told by each run as unreadable; "
        )
        remedy += "`ausearch -m avc -ts recent` on the device says why."
    return Checked("selinux", _WARNING, f"SELinux is enforcing{context}", remedy)


def _check_file_systems(facts: DeviceFacts) -> Iterator[Checked]:
    for mount in facts.mounts:
        if mount.is_pseudo or mount.is_network or mount.point.startswith(("/proc", "/sys", "/dev", "/run")):
            continue
        name = f"file-system:{mount.point}"[:64]
        try:
            method, consistency, reason = snapshot_ability(mount, facts)
        except PlanRefused as error:
            yield Checked(name, _WARNING, f"{mount.point} ({mount.kind}): {error.message}", error.remedy)
            continue
        label = providers()[method].label
        if consistency is Consistency.NONE:
            remedy = "It is read live, and restore points say so. A file system with snapshots does better."
            yield Checked(name, _WARNING, f"{mount.point} ({mount.kind}): no snapshot, {reason}", remedy)
        else:
            yield Checked(name, _GOOD, f"{mount.point} ({mount.kind}): {label}, {consistency} consistent")


def _check_instances(facts: DeviceFacts) -> Iterator[Checked]:
    for instance in facts.instances:
        name = f"application:{instance.key}"[:64]
        text = f"{instance.label} was found" + ("" if instance.is_running else ", it does not run")
        if instance.problems:
            yield Checked(name, _WARNING, text, " ".join(instance.problems))
        else:
            yield Checked(name, _GOOD, text)


def _check_databases(facts: DeviceFacts) -> Iterator[Checked]:
    """Databases that were seen, and that no application could tell more about."""
    told = {instance.application for instance in facts.instances}
    for application in sorted({seen.application for seen in facts.databases} - told):
        places = sorted({seen.place for seen in facts.databases if seen.application == application})
        yield Checked(
            f"database:{application}",
            _WARNING,
            f"{application} was seen: {', '.join(places[:3])}",
            "A snapshot of its whole directory is crash-consistent. Live files of a running database are not "
            "worth keeping.",
        )


def _check_restic(request: ProbeRequest, session: Session, runner: Runner) -> Checked:
    try:
        path = place_restic(session, runner, request.binary, is_local=request.is_local)
        said = runner.run(Command.of(path, "version"), timeout_s=60.0).text.strip()
    except AgentError as error:
        return Checked("restic", _BAD, error.message, error.remedy)
    where = "ours, sent and checked" if path == request.binary.device_path else "already there"
    return Checked("restic", _GOOD, f"{' '.join(said.split()[:2])} works on the device ({where})")


def _check_tunnel(session: Session) -> Checked:
    def refuse(stream: Stream) -> None:
        stream.close()

    try:
        with session.open_door(refuse):
            pass
    except ForwardingRefused as error:
        return Checked("tunnel", _BAD, error.message, error.remedy)
    return Checked("tunnel", _GOOD, "The device may send its data back through the SSH connection")
