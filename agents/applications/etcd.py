"""etcd: a snapshot that the server itself writes, checked by the hash at its end."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from agents.applications.contract import Application
from agents.applications.recipes import SNAPSHOT, STREAM, Ground, Offer, Patience, Recipe, Stream
from agents.applications.servers import EACH_SERVER
from agents.commands import Command
from agents.errors import PlanRefused, ProtocolBroken
from agents.events import Consistency
from agents.facts import Detail, DeviceFacts, Instance
from agents.facts.wire import parse_number, split_fields

_STREAM_NAME = "etcd.snapshot"
# Beyond the database: what is written while it is saved, and the hash.
_SPARE_BYTES = 64 * 1024 * 1024
_SETTINGS = (
    *("name", "data-dir", "wal-dir", "listen-client-urls", "client-cert-auth", "trusted-ca-file"),
    *("cert-file", "key-file", "config-file"),
    *("initial-advertise-peer-urls", "initial-cluster", "initial-cluster-token"),
)
# Its words and variables may hold passwords: only these settings leave the device. A configuration file
# replaces all others (etcd: "other command line flags and environment variables will be ignored").
_ASK = (
    EACH_SERVER
    + rf"""
keep='^({"|".join(_SETTINGS)})[ =:]'
ask_server() {{
  flags=$(for word; do printf '%s\n' "$word"; done | awk '
    name && /^--?[a-z]/ {{ print name "=true"; name = "" }}
    /^--?[a-z]/ {{ sub(/^--?/, ""); if (index($0, "=")) {{ print }} else {{ name = $0 }} ; next }}
    name {{ print name "=" $0; name = "" }}
    END {{ if (name) print name "=true" }}' | grep -E "$keep")
  variables=$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | awk '
    /^ETCD_[A-Z_]+=/ {{ at = index($0, "="); name = tolower(substr($0, 6, at - 6)); gsub(/_/, "-", name)
      print name substr($0, at) }}' | grep -E "$keep")
  file=$(printf '%s\n%s\n' "$variables" "$flags" | sed -n 's/^config-file=//p' | tail -n 1)
  said=''
  if [ -n "$file" ]; then
    case $file in /*) ;; *) file=$cwd/$file ;; esac
    [ "$contained" = 1 ] || said=$(as_server 3 cat -- "$file" 2>/dev/null | awk '
      /^client-transport-security:/ {{ inside = 1; next }} /^[^ #]/ {{ inside = 0 }}
      inside {{ sub(/^ +/, "") }} {{ print }}' | grep -E "$keep")
    variables='' flags=''
  fi
  client=$(command -v etcdctl) || client=''
  version=$(bounded 3 "${{client:-true}}" version </dev/null 2>/dev/null | sed -n 's/^etcdctl version: *//p')
  data=$(printf '%s\n%s\n' "$variables" "$flags" | sed -n 's/^data-dir=//p' | tail -n 1)
  [ -n "$data" ] || data=$(printf '%s\n' "$said" | sed -n 's/^data-dir: *//p' | tail -n 1)
  name=$(printf '%s\n%s\n%s\n' "$said" "$variables" "$flags" | sed -n 's/^name[=:] *//p' | tail -n 1)
  case ${{data:=${{name:-default}}.etcd}} in /*) ;; *) data=$cwd/$data ;; esac
  [ "$contained" = 1 ] || process_owns "$pid" "$data" || return 0
  size=$(stat -c %s -- "$data/member/snap/db" 2>/dev/null) || size=0
  say "$uid" "$gid" "$contained" "$service" "$cwd" "$client" "$version" "$size" "$variables
$flags" "$said"
}}
each_server etcd etcd
"""
)
# The words: scratch directory, then etcdctl with its options. `snapshot status` only says how much is in it;
# the hash of all bytes stands at the end of the file, and save itself does not compare it.
_SAVE = r"""
file=$1/etcd.snapshot
shift
trap 'rm -f -- "$file" "$file.part"' EXIT
export ETCDCTL_API=3
# save itself waits for ever for a member that hangs
"$@" --command-timeout=10s endpoint status >&2 || exit 1
"$@" snapshot save "$file" >&2 || exit 1
size=$(stat -c %s -- "$file") && [ "$size" -gt 32 ] || exit 1
said=$(tail -c 32 -- "$file" | od -An -v -tx1 | tr -d ' \n')
real=$(head -c "$((size - 32))" -- "$file" | sha256sum)
[ "$said" = "${real%% *}" ] || { echo "the snapshot's hash is not that of its content" >&2; exit 1; }
cat -- "$file"
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a member was started with."""

    values: dict[str, str] = field(default_factory=dict)

    def get(self, name: str, default: str = "") -> str:
        return self.values.get(name) or default


class Etcd(Application):
    """An instance is a running member; its name is its data directory."""

    name = "etcd"
    label = "etcd"

    def look(self, facts: DeviceFacts) -> Command | None:
        return Command.of("/bin/sh", "-c", _ASK)

    def parse(self, output: bytes, facts: DeviceFacts) -> tuple[Instance, ...]:
        return tuple(_make_instance(row) for row in split_fields(output, 10))

    def offers(self, instance: Instance, ground: Ground, facts: DeviceFacts) -> tuple[Offer, ...]:
        if not instance.is_running:
            return ()
        offers = []
        if instance.detail("client"):
            # etcd, operations guide, "Disaster recovery": a snapshot is taken "from a live member"
            reason = "the member saves a snapshot of its database, and the hash at its end is compared"
            size = parse_number(instance.detail("size"), "the size of the database")
            cost = f"{size:,} bytes of disk meanwhile, and the whole database is read each time"
            offers.append(Offer(STREAM, Consistency.APPLICATION, reason, cost=cost))
        if ground.is_atomic and instance.places:
            missing = "" if offers else " ".join(instance.problems)
            reason = f"{ground.reason}; etcd goes on from its log as after a power cut"
            offers.append(Offer(SNAPSHOT, Consistency.CRASH, reason, missing=missing))
        return tuple(offers)

    def recipe(self, instance: Instance, method: str, patience: Patience, scratch: str) -> Recipe:
        if method == SNAPSHOT:
            return Recipe(SNAPSHOT, Consistency.CRASH, paths=instance.places)
        if method != STREAM or not instance.detail("client"):
            raise PlanRefused(f"etcd is not backed up by {method!r}")
        options = instance.detail("options").split("\n")
        words = ("/bin/sh", "-c", _SAVE, "save", scratch, instance.detail("client"), *options)
        note = (
            "restore: etcdctl (from 3.6 on etcdutl) snapshot restore into an empty directory, for each member"
        )
        kubernetes = "in Kubernetes add --bump-revision 1000000000 --mark-compacted, or its caches stay wrong"
        return Recipe(
            STREAM,
            Consistency.APPLICATION,
            streams=(Stream(_STREAM_NAME, Command(words)),),
            scratch_bytes=parse_number(instance.detail("size"), "the size of the database") + _SPARE_BYTES,
            notes=(note, kubernetes) if "kubernetes" in instance.detail("options") else (note,),
        )


def _make_instance(row: tuple[str, ...]) -> Instance:
    uid, gid, contained, service, cwd, client, version, size, flags, said = row
    for number in (uid, gid, size):
        parse_number(number, "what etcd was described with")
    if contained not in ("0", "1") or not cwd.startswith("/"):
        raise ProtocolBroken("etcd was described in words that nobody understands", detail=repr(row)[:300])
    settings = _parse_settings(flags, "=") if not said else _parse_settings(said, ":")
    name = settings.get("name", "default")
    data = posixpath.join(cwd, settings.get("data-dir", f"{name}.etcd"))
    log = posixpath.join(cwd, settings.get("wal-dir", data))
    options, problems = _find_options(settings, cwd)
    if not client:
        problems.append("etcdctl is missing on the device: install it (Debian: the package etcd-client)")
    if contained == "1":
        inside = "etcd runs in a container, whose paths mean nothing outside of it"
        problems.append(f"{inside}: plan a command that runs etcdctl there (kubectl exec, crictl exec)")
    details = (
        Detail("name", name),
        Detail("client", client if not problems else ""),
        Detail("options", "\n".join(options)),
        Detail("size", size),
        Detail("uid", uid),
        Detail("gid", gid),
        Detail("cluster", settings.get("initial-cluster")),
        Detail("peers", settings.get("initial-advertise-peer-urls")),
        Detail("token", settings.get("initial-cluster-token")),
    )
    places = () if contained == "1" else tuple(dict.fromkeys((data, log)))
    return Instance("etcd", data, f"etcd {name}", version, places, service, True, details, tuple(problems))


def _parse_settings(text: str, sign: str) -> Settings:
    """Given lines of `name<sign>value`, return the settings; what comes later counts."""
    values = {}
    for line in text.splitlines():
        name, has_value, value = line.partition(sign)
        if has_value and name in _SETTINGS:
            values[name] = value.strip().strip("'\"")
    return Settings(values)


def _find_options(settings: Settings, cwd: str) -> tuple[list[str], list[str]]:
    """Return the options with which etcdctl reaches this member, and what is missing for it."""
    urls = settings.get("listen-client-urls", "http://localhost:2379").split(",")
    endpoint = _choose_endpoint(urls)
    if endpoint is None:
        return [], [f"{', '.join(urls)[:200]} is no address that etcdctl could reach"]
    options = [f"--endpoints={endpoint}", "--dial-timeout=5s"]
    if not endpoint.startswith(("https:", "unixs:")):
        return options, []
    paths = {name: settings.get(name) for name in ("trusted-ca-file", "cert-file", "key-file")}
    paths = {name: posixpath.join(cwd, path) for name, path in paths.items() if path}
    # the member's own certificate is the authority of a member without one (self-signed)
    options.append(f"--cacert={paths.get('trusted-ca-file') or paths.get('cert-file', '')}")
    if settings.get("client-cert-auth") not in ("", "false"):
        if "cert-file" not in paths or "key-file" not in paths:
            missing = "etcd wants a certificate of its clients, and its own is not known"
            return options, [f"{missing}: plan a command with --cacert, --cert and --key of a client"]
        options += [f"--cert={paths['cert-file']}", f"--key={paths['key-file']}"]
    return options, []


def _choose_endpoint(urls: list[str]) -> str | None:
    """The snapshot is of this member: ask it on the machine itself where it listens there."""
    chosen = []
    for url in urls:
        try:
            parts = urlsplit(url.strip())
            host, port = parts.hostname or "", parts.port or 2379
        except ValueError:
            continue
        if parts.scheme not in ("http", "https", "unix", "unixs"):
            continue
        if host in ("0.0.0.0", "::"):  # noqa: S104 - read from a command line, nothing is bound here
            chosen.append((0, f"{parts.scheme}://127.0.0.1:{port}"))
        else:
            is_near = host in ("127.0.0.1", "localhost", "::1") or parts.scheme.startswith("unix")
            chosen.append((0 if is_near else 1, url.strip()))
    return min(chosen)[1] if chosen else None
