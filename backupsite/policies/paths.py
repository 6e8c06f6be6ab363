"""Which paths and exclude patterns a policy takes. Pure."""

from __future__ import annotations

import posixpath

# File systems of the kernel and of the running system: their content is made anew at each start.
KERNEL_PATHS = ("/proc", "/sys", "/dev", "/run", "/var/run")
# PostgreSQL's index entries end at 2,704 bytes, and (policy, path) is unique.
LONGEST_PATH_BYTES = 1024
LONGEST_PART_BYTES = 255
MOST_EXCLUDES = 200


def check_path(text: str) -> str:
    """Given a path as typed, return it without doubled and trailing slashes.

    Raise ValueError with one sentence when it is not absolute, climbs with "..", is too long, lies in a file
    system of the kernel, or holds characters that cannot be seen or that people expect to be expanded.
    """
    path = text.strip(" ")
    if not path.startswith("/"):
        raise ValueError("Give the whole path from the root, for example /srv/www.")
    if not path.isprintable():
        raise ValueError(
            "The path holds a character that cannot be seen, such as a new line. Protect the folder above it."
        )
    if ".." in path.split("/"):
        raise ValueError("Leave out “..”: give the path where the data really is.")
    if "*" in path:
        raise ValueError(
            "A path is taken as it is, * stands for itself. Give the folder above and use excludes."
        )
    path = "/" + posixpath.normpath(path).lstrip("/")
    _check_length(path)
    for kernel in KERNEL_PATHS:
        if path == kernel or path.startswith(f"{kernel}/"):
            raise ValueError(f"{kernel} is made anew at each start of the device: there is nothing to keep.")
    return path


def _check_length(path: str) -> None:
    if len(path.encode()) > LONGEST_PATH_BYTES:
        raise ValueError(f"At most {LONGEST_PATH_BYTES} bytes.")
    if any(len(part.encode()) > LONGEST_PART_BYTES for part in path.split("/")):
        raise ValueError(
            f"A name in this path is longer than {LONGEST_PART_BYTES} bytes: no file system has such."
        )


def check_excludes(text: str) -> str:
    """Given patterns, one a line, return them without empty lines. Raise ValueError with one sentence when a
    line is too long, cannot be seen, or when there are too many."""
    lines = [line.strip() for line in text.replace("\r\n", "\n").split("\n")]
    patterns = [line for line in lines if line]
    if len(patterns) > MOST_EXCLUDES:
        raise ValueError(f"At most {MOST_EXCLUDES} patterns; these are {len(patterns)}.")
    for pattern in patterns:
        if len(pattern.encode()) > LONGEST_PATH_BYTES:
            raise ValueError(f"A pattern has at most {LONGEST_PATH_BYTES} bytes.")
        if not pattern.isprintable():
            raise ValueError("A pattern holds a character that cannot be seen.")
        if pattern in {"*", "/", "/*", "**"}:
            raise ValueError(f"{pattern} would leave out everything.")
    return "\n".join(patterns)
