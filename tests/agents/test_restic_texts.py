"""What restic is told and what it says: arguments, messages, outcomes, trees. Nothing runs here."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.commands import Secret, to_bytes, to_text
from agents.errors import AgentError, ProtocolBroken, RepositoryBroken, ResticFailed
from agents.restic import arguments
from agents.restic.arguments import Limits, Restic
from agents.restic.messages import (
    BackupStatus,
    BackupSummary,
    Decoder,
    ExitError,
    ItemError,
    RestoreStatus,
    RestoreSummary,
    Text,
    only_summary,
)
from agents.restic.outcomes import Outcome, RepositoryLocked, judge
from agents.restic.trees import parse_tree, unquote

RESTIC = Restic("/restic", retry_lock_s=5)
ID = "0123456789abcdef" * 4

# Lines as restic 0.18.0 printed them.
STATUS = (
    b'{"message_type":"status","percent_done":0.5,"total_files":4,"files_done":2,"total_bytes":400,'
    b'"bytes_done":200,"current_files":["/src/f0","/src/f1"]}\n'
)
SUMMARY = (
    b'{"message_type":"summary","files_new":5,"files_changed":0,"files_unmodified":0,"dirs_new":2,'
    b'"dirs_changed":0,"dirs_unmodified":0,"data_blobs":5,"tree_blobs":3,"data_added":2791,'
    b'"data_added_packed":1661,"total_files_processed":5,"total_bytes_processed":6,'
    b'"total_duration":0.663399187,"backup_start":"2026-11-22T10:39:48.19568679Z",'
    b'"backup_end":"2026-11-22T10:39:48.859085987Z",'
    b'"snapshot_id":"e2bcd0171f3327e43719d51bfe736a43855b86b279b8ae4d588a651e01340491"}\n'
)
ERROR = (
    b'{"message_type":"error","error":{"message":"open /src/x: permission denied"},"during":"archival",'
    b'"item":"/src/x"}\n'
)
RESTORED = (
    b'{"message_type":"summary","total_files":6,"files_restored":6,"files_skipped":1,"total_bytes":4,'
    b'"bytes_restored":4,"bytes_skipped":2}\n'
)
EXIT = b'{"message_type":"exit_error","code":1,"message":"unknown flag: --no-such"}\n'


def test_a_backup_is_understood_whatever_the_chunks() -> None:
    output = STATUS + SUMMARY + ERROR
    for size in (1, 7, 100, len(output)):
        decoder = Decoder("backup")
        messages = [m for at in range(0, len(output), size) for m in decoder.feed(output[at : at + size])]
        status, summary, error = messages
        assert status == BackupStatus(2, 200, 4, 400, 0, ("/src/f0", "/src/f1"))
        assert isinstance(summary, BackupSummary) and summary.data_added_packed == 1661
        assert summary.began_at is not None and summary.began_at.year == 2026
        assert error == ItemError("/src/x", "open /src/x: permission denied", "archival")
        assert list(decoder.end()) == []


def test_a_restore_is_understood() -> None:
    decoder = Decoder("restore")
    assert list(decoder.feed(RESTORED)) == [RestoreSummary(6, 4, 1, 2, 6, 4)]
    assert list(decoder.feed(b'{"message_type":"status","total_files":3,"files_restored":1}\n')) == [
        RestoreStatus(1, 0, 0, 0, 3, 0)
    ]


def test_stderr_may_hold_plain_text() -> None:
    decoder = Decoder("backup", takes_text=True)
    messages = list(decoder.feed(b"nope does not exist, skipping\n" + EXIT + b"cut"))
    assert messages == [Text("nope does not exist, skipping"), ExitError(1, "unknown flag: --no-such")]
    assert list(decoder.end()) == [Text("cut")]


@pytest.mark.parametrize(
    "line",
    [
        b"garbage\n",
        b"[]\n",
        b"{}\n",
        b'{"message_type":"new thing"}\n',
        b'{"message_type":7}\n',
        b'{"message_type":"status","files_done":"2"}\n',
        b'{"message_type":"status","files_done":true}\n',
        b'{"message_type":"status","current_files":[1]}\n',
        b'{"message_type":"summary","backup_start":"yesterday"}\n',
        b'{"message_type":"summary"\n',
        b'{"message_type":"error","error":[]}\n',
        b"[" * 100_000 + b"\n",
        b"\xff\xfe\n",
        b"x" * (1024 * 1024 + 1),
    ],
)
def test_garbage_is_never_taken_for_progress(line: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        list(Decoder("backup").feed(line))


def test_a_line_that_is_cut_off_is_garbage() -> None:
    decoder = Decoder("backup")
    assert list(decoder.feed(SUMMARY[:-20])) == []
    with pytest.raises(ProtocolBroken):
        list(decoder.end())


def test_only_one_summary_with_a_restore_point_counts() -> None:
    [summary] = Decoder("backup").feed(SUMMARY)
    [dry] = Decoder("backup").feed(b'{"message_type":"summary","dry_run":true}\n')
    assert isinstance(summary, BackupSummary) and isinstance(dry, BackupSummary)
    assert only_summary([summary]) is summary and dry.is_dry_run
    for wrong in ([], [summary, summary], [dry]):
        with pytest.raises(ProtocolBroken):
            only_summary(wrong)


@given(st.binary(max_size=300))
def test_any_bytes_are_understood_or_refused(data: bytes) -> None:
    decoder = Decoder("backup")
    try:
        list(decoder.feed(data + b"\n"))
    except ProtocolBroken:
        return
    assert not data.strip() or b"message_type" in data


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (1, ResticFailed),
        (2, ResticFailed),
        (10, RepositoryBroken),
        (11, RepositoryLocked),
        (12, RepositoryBroken),
        (130, ResticFailed),
        (143, ResticFailed),
        (137, ResticFailed),
        (139, ResticFailed),
        (255, ResticFailed),
        (77, ResticFailed),
        (-9, ResticFailed),
    ],
)
def test_every_other_status_is_a_failure(status: int, kind: type[AgentError]) -> None:
    with pytest.raises(kind) as caught:
        judge(status, "last words")
    assert caught.value.detail == "last words"


def test_zero_is_success_and_three_has_warnings() -> None:
    assert judge(0) is Outcome.SUCCESS
    assert judge(3) is Outcome.WARNINGS


def test_a_backup_reads_its_paths_from_stdin() -> None:
    limits = Limits(upload_kib_s=100, read_concurrency=1)
    paths = ["/with\nnewline", to_text(b"/caf\xe9"), "/--password-command=touch x"]
    command = arguments.backup(
        RESTIC, paths, host="-h", tags=["a"], exclude_file="/x", limits=limits, scan=False, parent=ID
    )
    assert command.stdin == b"/with\nnewline\0/caf\xe9\0/--password-command=touch x\0"
    assert not set(paths) & set(command.argv)
    line = " ".join(command.argv)
    assert line == (
        "/restic --no-cache --retry-lock 5s backup --json --host -h --group-by host,paths --files-from-raw - "
        f"--tag a --exclude-file /x --no-scan --parent {ID} --limit-upload 100 --read-concurrency 1"
    )


def test_a_restore_ends_its_options_before_the_restore_point() -> None:
    command = arguments.restore(RESTIC, ID, "/target", folder="/a: b", names=["*x?[1]\\"])
    assert command.argv[-2:] == ("--", f"{ID}:/a: b")
    assert "--include=/\\*x\\?\\[1\\]\\\\" in command.argv
    assert command.argv[command.argv.index("--overwrite") + 1] == "never"


@pytest.mark.parametrize("snapshot_id", ["latest", "", "-x", ID[:8], ID.upper(), ID + "\n"])
def test_only_whole_ids_are_taken(snapshot_id: str) -> None:
    with pytest.raises(ValueError):
        arguments.restore(RESTIC, snapshot_id, "/target")
    with pytest.raises(ValueError):
        arguments.dump(RESTIC, snapshot_id, "/x")


@pytest.mark.parametrize("paths", [[], ["relative"], ["/x\0y"], [""]])
def test_only_absolute_paths_are_backed_up(paths: list[str]) -> None:
    with pytest.raises(ValueError):
        arguments.files_from_raw(paths)


@pytest.mark.parametrize("pattern", ["", " x", "x ", "# x", "a\nb", "a\0b", "\tx"])
def test_a_pattern_that_restic_would_misread_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        arguments.exclude_lines([pattern])


def test_a_dollar_in_a_pattern_stays_a_dollar() -> None:
    assert arguments.exclude_lines(["*.tmp", "/$HOME"]) == b"*.tmp\n/$$HOME\n"


def test_secrets_are_in_the_environment_and_stay_secrets() -> None:
    variables = arguments.environment("rest:x", Secret("p"), user="u", user_password=Secret("q"))
    assert variables["RESTIC_PASSWORD"] == Secret("p")
    assert variables["RESTIC_REST_PASSWORD"] == Secret("q")
    assert variables["RESTIC_REST_USERNAME"] == "u"
    assert "'p'" not in repr(variables) and "'q'" not in repr(variables)


# What Go's strconv.Quote makes of these names, seen in trees of restic 0.18.0 (and one per escape it knows).
QUOTED = [
    (r"caf\xe9", b"caf\xe9"),
    (r" sp\"q\\ *[a] $HOME ", b' sp"q\\ *[a] $HOME '),
    (r"d\xe9 \n*", b"d\xe9 \n*"),
    ("café☃", "café☃".encode()),
    (r"\a\b\f\r\t\v\x00\x7f\x1b", b"\a\b\f\r\t\v\x00\x7f\x1b"),
    (r"\u202e\u200b\U000e0001", "\u202e\u200b\U000e0001".encode()),
    ("\ufffd", "\ufffd".encode()),
    (r"\xef\xbf", b"\xef\xbf"),
    (r"\\xe9", rb"\xe9"),
    (r"\\\\n", rb"\\n"),
]


@pytest.mark.parametrize(("quoted", "name"), QUOTED)
def test_names_in_trees_are_exact(quoted: str, name: bytes) -> None:
    assert to_bytes(unquote(quoted)) == name


@pytest.mark.parametrize("quoted", [r"\q", r"\uD800", r"\U00110000", r"\x4", r"\u12"])
def test_other_escapes_are_refused(quoted: str) -> None:
    with pytest.raises(ProtocolBroken):
        unquote(quoted)


def test_a_tree_is_parsed() -> None:
    tree = {
        "nodes": [
            {"name": "d", "type": "dir", "mode": 2147484141 | 1 << 22, "mtime": "2026-11-22T10:39:48.18Z"},
            {"name": "link", "type": "symlink", "linktarget": "t\ufffd", "linktarget_raw": "dP8=", "uid": 7},
            {
                "name": "file",
                "type": "file",
                "mode": 420,
                "size": 5,
                "user": "root",
                "mtime": "0001-01-01T00:00:00Z",
            },
        ]
    }
    folder, link, file = parse_tree(json.dumps(tree).encode())
    assert folder.is_folder and folder.mode == 0o2755
    assert to_bytes(link.link_target) == b"t\xff" and link.uid == 7
    assert (file.size, file.mode, file.user, file.is_folder) == (5, 0o644, "root", False)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", r"a\x00b", r"\x2e\x2e"])
def test_a_tree_with_an_impossible_name_is_refused(name: str) -> None:
    with pytest.raises(ProtocolBroken):
        parse_tree(json.dumps({"nodes": [{"name": name, "type": "file"}]}).encode())


@pytest.mark.parametrize("text", [b"", b"x", b"[]", b'{"nodes": 1}', b'{"nodes": [1]}'])
def test_what_is_no_tree_is_refused(text: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        parse_tree(text)
