"""Asking a disk that may never answer: a file system of the network whose server is gone stops whoever asks,
for as long as it is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from typing import Final, TypeVar

from agents.errors import AgentError

Answer = TypeVar("Answer")

PATIENCE_S: Final = 30.0
# Who waits for a disk waits in a thread of its own, until the disk answers: one for each place is enough.
_asking: dict[str, threading.Thread] = {}


class StorageHangs(AgentError):
    """The disk of a storage does not answer: neither that it is there nor that it is not."""

    code = "storage-hangs"
    retryable = True


def ask_disk(place: str, question: Callable[[], Answer], within_s: float = PATIENCE_S) -> Answer:
    """Given a place and what asks its disk, return the answer; raise what it raises. It is called in another
    thread: it must not ask the database. Raise StorageHangs when there is no answer in time, and at once
    while an earlier question still waits."""
    before = _asking.get(place)
    if before is not None and before.is_alive():
        raise _hangs(place)
    answer: Future[Answer] = Future()
    thread = threading.Thread(target=_ask, args=(answer, question), name=f"disk {place}", daemon=True)
    _asking[place] = thread
    thread.start()
    try:
        return answer.result(within_s)
    except TooLate as error:
        if answer.done():  # it is the disk's own error
            raise
        raise _hangs(place) from error


def _ask(answer: Future[Answer], question: Callable[[], Answer]) -> None:
    try:
        answer.set_result(question())
    except BaseException as error:  # noqa: BLE001 (it is raised in the thread that waits for the answer)
        answer.set_exception(error)


def _hangs(place: str) -> StorageHangs:
    return StorageHangs(
        f"The disk of {place} does not answer.",
        remedy="Look at its file server and at the network between, or unmount it.",
    )
