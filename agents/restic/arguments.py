"""What restic is called with. Words hold no secret; passwords go by `environment`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.commands import Command, Secret, to_bytes

_GLOB = re.compile(r"([\\*?\[\]])")
_ID = re.compile(r"[0-9a-f]{64}")
# Without it each new snapshot (another device number) would store every tree again (restic #3041).
_FEATURES = "device-id-for-hardlinks=true"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much restic may take. Zero means: no limit of ours."""

    upload_kib_s: int = 0
    download_kib_s: int = 0
    read_concurrency: int = 0


@dataclass(frozen=True, slots=True)
class Restic:
    """The program and what every call of it shares. Without `cache_dir` it keeps no cache."""

    path: str
    cache_dir: str = ""
    retry_lock_s: int = 0
    takes_locks: bool = True

    def command(self, *words: str, stdin: bytes | None = None) -> Command:
        """Return a call with these words after the options that all calls share."""
        cache = ("--cache-dir", self.cache_dir) if self.cache_dir else ("--no-cache",)
        lock = ("--retry-lock", f"{self.retry_lock_s}s") if self.retry_lock_s else ()
        no_lock = () if self.takes_locks else ("--no-lock",)
        return Command((self.path, *cache, *lock, *no_lock, *words), stdin)


def backup(
    restic: Restic,
    paths: Sequence[str],
    *,
    host: str,
    tags: Sequence[str] = (),
    exclude_file: str = "",
    limits: Limits | None = None,
    scan: bool = True,
    parent: str = "",
    paths_file: str = "",
) -> Command:
    """Return a backup of `paths`: any byte but NUL may be in them. It reads them from stdin, or from
    `paths_file`, which holds what `files_from_raw` makes of them.

    The parent is the newest restore point of the same host and paths, unless `parent` says which.
    """
    words = ["backup", "--json", "--host", host, "--group-by", "host,paths"]
    words += ["--files-from-raw", paths_file or "-"]
    for tag in tags:
        words += ["--tag", _checked_tag(tag)]
    words += ["--exclude-file", exclude_file] if exclude_file else []
    words += [] if scan else ["--no-scan"]
    words += ["--parent", _checked_id(parent)] if parent else []
    words += _limits(limits or Limits())
    return restic.command(*words, stdin=None if paths_file else files_from_raw(paths))


def backup_stream(
    restic: Restic,
    producer: Sequence[str],
    *,
    name: str,
    host: str,
    tags: Sequence[str] = (),
    limits: Limits | None = None,
) -> Command:
    """Return a backup of what `producer` prints, under the file name `name`. When the producer fails, restic
    makes no restore point. The producer inherits restic's environment: start it under `env -i`."""
    words = ["backup", "--json", "--host", host, "--group-by", "host,paths", "--stdin-filename", name]
    for tag in tags:
        words += ["--tag", _checked_tag(tag)]
    words += _limits(limits or Limits())
    return restic.command(*words, "--stdin-from-command", "--", *producer)


def restore(
    restic: Restic,
    snapshot_id: str,
    target: str,
    *,
    folder: str = "/",
    names: Sequence[str] = (),
    limits: Limits | None = None,
    sparse: bool = False,
    verify: bool = False,
    takes_capabilities: bool = True,
    is_rehearsal: bool = False,
) -> Command:
    """Return a restore of `folder` of a restore point into `target`, whole or only `names` in it (relative).

    The content of `folder` lands directly in `target`. Nothing that exists is overwritten. With `verify` each
    file is read again and compared with the restore point at the end. Without `takes_capabilities` files come
    without what lets them do more than their user may. A rehearsal reads every folder of the restore point
    that would come, and writes nothing; it cannot `verify`.
    """
    words = ["restore", "--json", "--overwrite", "never", "--target", target]
    words += ["--sparse"] if sparse else []
    words += ["--verify"] if verify else []
    words += ["--dry-run"] if is_rehearsal else []
    words += [] if takes_capabilities else ["--exclude-xattr", "security.capability"]
    words += [f"--include=/{literal_pattern(name)}" for name in names]
    words += _limits(limits or Limits())
    return restic.command(*words, "--", _point(snapshot_id, folder))


def cat_tree(restic: Restic, snapshot_id: str, folder: str) -> Command:
    """Return what prints the tree of one folder (see `trees`)."""
    return restic.command("cat", "--", "tree", _point(snapshot_id, folder))


def list_root(restic: Restic, snapshot_id: str) -> Command:
    """Return what prints one restore point's record, then the entries of its root, as JSON lines."""
    return restic.command("ls", "--json", "--", _checked_id(snapshot_id), "/")


def list_all(restic: Restic, snapshot_id: str) -> Command:
    """Return what prints one restore point's record, then every node of it, as JSON lines."""
    return restic.command("ls", "--json", "--", _checked_id(snapshot_id))


def list_paths(restic: Restic, snapshot_id: str) -> Command:
    """Return what prints the path of every node as its bytes are, in the order of `list_all`."""
    return restic.command("ls", "--quiet", "--", _checked_id(snapshot_id))


def cat_config(restic: Restic) -> Command:
    """Return what prints the repository's own record as JSON."""
    return restic.command("cat", "config")


def list_snapshots(restic: Restic) -> Command:
    """Return what prints all restore points as one JSON list."""
    return restic.command("snapshots", "--json")


def dump(restic: Restic, snapshot_id: str, path: str, *, archive: str = "tar") -> Command:
    """Return what prints one file, or a folder as an archive (`tar` or `zip`)."""
    return restic.command("dump", "--archive", archive, "--", _checked_id(snapshot_id), path)


def check(restic: Restic, *, read_data: bool = False, part: tuple[int, int] | None = None) -> Command:
    """Return a check of the repository; `part` = (n, of): read only that part of the packs."""
    words = ["--read-data"] if read_data else []
    words += [f"--read-data-subset={part[0]}/{part[1]}"] if part is not None else []
    return restic.command("check", *words)


def create(restic: Restic, *, as_other: bool = False) -> Command:
    """Return what creates a repository; `as_other`: one that cuts files into the same pieces as that of
    `from_variables`, so that what is copied is found again there."""
    same = ["--copy-chunker-params"] if as_other else []
    return restic.command("init", "--json", "--repository-version", "2", *same)


def forget(restic: Restic, snapshot_ids: Sequence[str]) -> Command:
    """Return what removes these restore points and no other ones; their data stays until `prune`."""
    if not snapshot_ids:
        raise ValueError("to forget nothing would be to forget by policy")
    return restic.command("forget", "--", *map(_checked_id, snapshot_ids))


def prune(restic: Restic, *, most_repacked_bytes: int | None = None) -> Command:
    """Return what gives the space back that no restore point uses; of what is used in part, at most so many
    bytes are written anew."""
    limit = [] if most_repacked_bytes is None else ["--max-repack-size", str(most_repacked_bytes)]
    return restic.command("prune", *limit)


def copy(restic: Restic, snapshot_ids: Sequence[str], *, limits: Limits | None = None) -> Command:
    """Return what copies these restore points, and no other ones, from the repository of `from_variables`."""
    if not snapshot_ids:
        raise ValueError("to copy nothing would be to copy all")
    return restic.command("copy", *_limits(limits or Limits()), "--", *map(_checked_id, snapshot_ids))


def from_variables(repository_url: str, password_file: str) -> Mapping[str, str | Secret]:
    """Return the variables that name the repository which is copied from: restic takes this second password
    from a file, never from the environment."""
    return {"RESTIC_FROM_REPOSITORY": repository_url, "RESTIC_FROM_PASSWORD_FILE": password_file}


def check_structure(restic: Restic) -> Command:
    """Return a check of how the repository hangs together, with its errors as JSON lines on stderr."""
    return restic.command("check", "--json")


def measure(restic: Restic, snapshot_id: str) -> Command:
    """Return what reads every folder of a restore point, and fails when one cannot be read or needs a piece
    that no index knows. `ls` crashes on some of those."""
    return restic.command("stats", "--json", "--mode", "raw-data", "--", _checked_id(snapshot_id))


def list_indexes(restic: Restic) -> Command:
    """Return what prints the names of all indexes."""
    return restic.command("list", "--quiet", "index")


def cat_index(restic: Restic, name: str) -> Command:
    """Return what prints one index as JSON: packs and the pieces in them."""
    return restic.command("cat", "index", "--", _checked_id(name))


def find_pieces(restic: Restic, piece_ids: Sequence[str]) -> Command:
    """Return what prints, as JSON, each file of a restore point that needs one of these pieces."""
    return restic.command("find", "--json", "--blob", "--", *map(_checked_id, piece_ids))


def repair_packs(restic: Restic, names: Sequence[str]) -> Command:
    """Return what takes the pieces that are whole out of packs, and removes these packs."""
    return restic.command("repair", "packs", "--", *map(_checked_id, names))


def unlock(restic: Restic) -> Command:
    """Return what removes stale locks: of a dead program of this machine, or older than 30 minutes."""
    return restic.command("unlock")


def repair_index(restic: Restic) -> Command:
    """Return what puts packs that no index knows into a new index."""
    return restic.command("repair", "index")


def environment(
    repository_url: str, password: Secret, *, user: str = "", user_password: Secret | None = None
) -> Mapping[str, str | Secret]:
    """Return the variables that restic needs: where the repository is and what opens it."""
    variables: dict[str, str | Secret] = {
        "RESTIC_REPOSITORY": repository_url,
        "RESTIC_PASSWORD": password,
        "RESTIC_FEATURES": _FEATURES,
        "RESTIC_PROGRESS_FPS": "1",
    }
    if user_password is not None:
        variables |= {"RESTIC_REST_USERNAME": user, "RESTIC_REST_PASSWORD": user_password}
    return variables


def files_from_raw(paths: Sequence[str]) -> bytes:
    """Given paths, return what `--files-from-raw` reads. Raise ValueError when one is not absolute."""
    for path in paths:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"not an absolute path: {path!r}")
    if not paths:
        raise ValueError("a backup needs at least one path")
    return b"".join(to_bytes(path) + b"\0" for path in paths)


def exclude_lines(patterns: Sequence[str]) -> bytes:
    """Given patterns, return the content of an exclude file. Raise ValueError for a pattern that restic would
    read otherwise than it is written (it trims lines and takes `#` for a comment)."""
    for pattern in patterns:
        if (
            pattern != pattern.strip()
            or pattern.startswith("#")
            or not pattern
            or {"\n", "\0"} & set(pattern)
        ):
            raise ValueError(f"a pattern may not be empty, start with # or have outer blanks: {pattern!r}")
    return b"".join(to_bytes(pattern.replace("$", "$$")) + b"\n" for pattern in patterns)


def literal_pattern(name: str) -> str:
    """Given a file name, return the pattern that matches it and nothing else."""
    return _GLOB.sub(r"\\\1", name)


def _point(snapshot_id: str, folder: str) -> str:
    if not folder.startswith("/"):
        raise ValueError(f"not an absolute folder: {folder!r}")
    return f"{_checked_id(snapshot_id)}:{folder}"


def _limits(limits: Limits) -> list[str]:
    words = ["--limit-upload", str(limits.upload_kib_s)] if limits.upload_kib_s else []
    words += ["--limit-download", str(limits.download_kib_s)] if limits.download_kib_s else []
    return words + (["--read-concurrency", str(limits.read_concurrency)] if limits.read_concurrency else [])


def _checked_id(snapshot_id: str) -> str:
    if _ID.fullmatch(snapshot_id) is None:
        raise ValueError(f"not a restic id: {snapshot_id!r}")
    return snapshot_id


def _checked_tag(tag: str) -> str:
    if not tag or "," in tag:
        raise ValueError(f"not a tag: {tag!r}")
    return tag
