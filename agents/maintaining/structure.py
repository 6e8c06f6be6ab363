"""How a repository hangs together: restic reads every index and every folder of every snapshot, and asks for
every pack. It reads no files' data: that is what reading in turns does."""

from __future__ import annotations

import re

from agents.commands import Result, to_text
from agents.errors import ProtocolBroken, RepositoryBroken, ResticFailed
from agents.gateway.target import Kind, Target
from agents.maintaining.words import Finding, Upkeeper, pack
from agents.restic import arguments
from agents.restic.fields import Fields
from agents.restic.outcomes import judge
from agents.restic.repository import Repository

_TIMEOUT_S = 24 * 3600.0
# Of what is wrong so much is kept: a repository that lost its disk has a million sentences.
_TAIL_BYTES = 4 * 1024 * 1024
MOST_FINDINGS = 1000
# restic's advice to a person who typed the command.
_ADVICE = re.compile(r"\s*(The repository |restic repair |Damaged pack files |To repair |run `restic)")
_PACK = re.compile(r"pack ([0-9a-f]{64}): (.*)", re.DOTALL)
_INDEX = re.compile(r"error loading index ([0-9a-f]{64}): (.*)", re.DOTALL)
# What restic says when something was read and is wrong; anything else may be better tomorrow.
_WRONG = re.compile(r"is damaged|invalid data returned|verification failed|does not match|contains errors")


def check_structure(repository: Repository, control: Upkeeper) -> list[Finding]:
    """Return what does not hang together. Takes no lock: only while nobody changes the repository.

    Raise ResticFailed when it cannot be known, and what the control raises."""
    result = repository.call(
        arguments.check_structure,
        timeout_s=_TIMEOUT_S,
        watch=lambda said: control.raise_if_stopped(),
        tail_bytes=_TAIL_BYTES,
    )
    if result.status == 0:
        return []
    if result.status != 1:
        judge(result.status, result.tail[-4000:])
    return _read_findings(result)


def _read_findings(result: Result) -> list[Finding]:
    """Given a check that failed, return what it found. Raise ResticFailed when it found nothing wrong."""
    errors, end = _read_messages(result)
    findings = _sort_out(errors)
    if findings:
        return findings
    if _WRONG.search(end):
        return [Finding(None, end.removeprefix("Fatal: "))]
    raise ResticFailed("the check could not be done", detail=end or result.tail[-4000:])


def _read_messages(result: Result) -> tuple[list[str], str]:
    """Return what restic said was wrong, and its last words."""
    errors: list[str] = []
    end = ""
    for line in result.stderr.split(b"\n"):
        if not line.startswith(b"{"):
            continue
        try:
            fields = Fields.parse(line, "message")
        except ProtocolBroken:  # the first line of a long answer may be cut
            continue
        said = fields.text("message")
        if fields.text("message_type") == "exit_error":
            end = said
        elif said.startswith("  ") and errors:
            errors[-1] = f"{errors[-1].strip()} {said.strip()}"
        elif said.strip() and not _ADVICE.match(said):
            errors.append(said.strip())
    return errors, end


def _sort_out(errors: list[str]) -> list[Finding]:
    found: dict[str, Finding] = {}
    for error in errors[:MOST_FINDINGS]:
        text = to_text(error.encode()).removeprefix("error: ")
        if match := _PACK.fullmatch(text):
            finding = Finding(pack(match[1]), match[2])
        elif match := _INDEX.fullmatch(text):
            finding = Finding(Target(Kind.INDEX, match[1]), "it cannot be read")
        else:
            finding = Finding(None, text)
        found.setdefault(str(finding.target or text), finding)
    return list(found.values())


def read_identity(repository: Repository, expected_id: str) -> list[Finding]:
    """Return a finding when the repository's own record is damaged, or is that of another repository."""
    try:
        found = repository.read_id()
    except (RepositoryBroken, ResticFailed) as error:
        if _WRONG.search(error.detail):
            return [Finding(Target(Kind.CONFIG, ""), "its content is not what was stored")]
        raise
    if expected_id and found != expected_id:
        return [Finding(Target(Kind.CONFIG, ""), "it is that of another repository")]
    return []
