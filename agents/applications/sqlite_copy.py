"""A copy of a SQLite file that runs, made by SQLite itself as the file's owner, checked, and printed."""

from __future__ import annotations

from urllib.parse import quote as quote_url

from agents.commands import Command

# $1: our directory on a disk (root's alone), $2 user id, $3 group id, then the program of the owner with its
# words. The owner works in a directory of his own inside: ours may be passed, not listed, and its name nobody
# can guess.
_AS_OWNER = r"""
scratch=$1 user=$2 group=$3
shift 3
chmod 0711 -- "$scratch" && work=$(mktemp -d "$scratch/sqlite.XXXXXX") || exit 1
chown "$user:$group" -- "$work" || exit 1
trap 'rm -rf -- "$work"' EXIT
cd "$work" || exit 1
setpriv --reuid="$user" --regid="$group" --clear-groups -- "$@"
"""
# $1: the database as an address. In its own directory, so that no name has to be quoted for SQL. The copy
# is read back: what SQLite itself does not find whole is not stored.
_PROGRAM = r"""
umask 077
ask() { sqlite3 -bail -batch -init /dev/null "$@" </dev/null; }
ask "$1" '.timeout 10000' "vacuum into 'copy'" >&2 || exit 1
found=$(ask copy 'pragma journal_mode=delete' 'pragma integrity_check(3)') || exit 1
if [ "$found" != "delete
ok" ]; then
  printf 'the copy is not whole: %s\n' "$found" | head -c 1000 >&2
  exit 1
fi
exec cat copy
"""
_PYTHON = r"""
import os, shutil, sqlite3, sys
os.umask(0o077)
source = sqlite3.connect(sys.argv[1], uri=True, timeout=10, isolation_level=None)
source.execute("vacuum into 'copy'")
source.close()
copy = sqlite3.connect("copy", isolation_level=None)
found = copy.execute("pragma journal_mode=delete").fetchall()
found += copy.execute("pragma integrity_check(3)").fetchall()
copy.close()
if found != [("delete",), ("ok",)]:
    sys.exit(f"the copy is not whole: {found!r:.1000}")
with open("copy", "rb") as file:
    shutil.copyfileobj(file, sys.stdout.buffer, 1 << 20)
    sys.stdout.buffer.flush()
"""
# VACUUM INTO came with this.
OLDEST = (3, 27, 0)


def copy_command(path: str, uid: str, gid: str, scratch: str, *, has_sqlite: bool) -> Command:
    """Given a database, its owner and a directory on a disk, return the command that prints a whole copy of
    it, or fails. By the program sqlite3, or Python's module."""
    address = f"file:{quote_url(path.encode('utf-8', 'surrogateescape'))}?mode=rw"
    inner = ("/bin/sh", "-c", _PROGRAM, "copy") if has_sqlite else ("python3", "-I", "-c", _PYTHON)
    return Command.of("/bin/sh", "-c", _AS_OWNER, "hotfleet", scratch, uid, gid, *inner, address)
