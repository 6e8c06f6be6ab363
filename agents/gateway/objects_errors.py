"""What an object store says, as one sentence and a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from agents.gateway.store import StoreFailed, StoreUnreachable

# S3 and Google answer in XML, Azure too (its codes are longer).
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,80})</Code>")
_STATUS = re.compile(r"status code: ([0-9]{3})\b")
_MESSAGE = re.compile(r"<Message>([^<]{1,500})</Message>")

_CLOCK: Final = frozenset({"RequestTimeTooSkewed", "RequestExpired"})
_KEY: Final = frozenset(
    {"SignatureDoesNotMatch", "InvalidAccessKeyId", "InvalidSecurity", "AuthenticationFailed", "ExpiredToken"}
)
_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound", "InvalidBucketName"})
_FULL: Final = frozenset(
    {"QuotaExceeded", "XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "InsufficientCapacity",
     "InsufficientStorage", "ServiceQuotaExceededException", "QuotaExceededException"}
)  # fmt: skip
_LATER: Final = frozenset({"408", "425", "429", "500", "502", "503", "504"})

_CHECK_ACCOUNT: Final = "Type the account and its secret again under Repositories, then test."


@contextmanager
def told() -> Iterator[None]:
    """Turn what the object store or the network says into StoreFailed. FileNotFoundError of an object that is
    not there passes; a bucket that is not there is a StoreFailed."""
    try:
        yield
    except (BaseError, OSError) as error:
        if isinstance(error, FileNotFoundError) and _code(str(error)) not in _BUCKET:
            raise
        raise read_failure(error) from error


def read_failure(error: Exception) -> StoreFailed:
    """Given what the client raised, return it as a StoreFailed; StoreUnreachable when later may help."""
    text = str(error)
    code, status, detail = _code(text), _found(_STATUS, text), _detail(text)
    if code in _FULL or status == "507":
        return StoreFailed(
            "there is no space left in the object store, or the account's quota is used up",
            remedy="Raise the quota there, or keep less.",
            detail=detail,
            out_of_space=True,
        )
    if code in _BUCKET:
        return StoreFailed(
            "the bucket does not exist in the object store",
            remedy="Look at the bucket's name, endpoint and region under Repositories.",
            detail=detail,
        )
    if code in _CLOCK:
        return StoreFailed(
            "the object store refuses requests because this machine's clock differs from its own",
            remedy="Set the clock of this machine (timedatectl) and let a time server keep it.",
            detail=detail,
        )
    if code in _KEY or isinstance(error, UnauthenticatedError) or status == "401":
        return StoreFailed(
            "the object store does not accept the account's key", remedy=_CHECK_ACCOUNT, detail=detail
        )
    if isinstance(error, PermissionDeniedError) or status == "403":
        return StoreFailed(
            "the object store does not allow this to the account",
            remedy="Check the account's secret, and give it the rights that docs/operate.md lists.",
            detail=detail,
        )
    if status and status not in _LATER:
        return StoreFailed(
            f"the object store refused a request (status {status})",
            remedy="Look at endpoint, region and bucket under Repositories.",
            detail=detail,
        )
    return _later(status, detail)


def _later(status: str, detail: str) -> StoreUnreachable:
    what = f"answers with an error of its own (status {status})" if status else "does not answer"
    return StoreUnreachable(
        f"the object store {what}, also when asked again",
        remedy="Look at its endpoint and at the network of this machine. The next run goes on from here.",
        detail=detail,
    )


def _code(text: str) -> str:
    return _found(_CODE, text)


def _found(pattern: re.Pattern[str], text: str) -> str:
    match = pattern.search(text)
    return match[1] if match is not None else ""


def _detail(text: str) -> str:
    """Return the server's own words: its message when it gave one, the client's first line otherwise."""
    code, message = _code(text), _found(_MESSAGE, text)
    return f"{code}: {message}".strip(": ") if code or message else text.partition("\n")[0][:500]
