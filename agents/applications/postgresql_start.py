"""Starting and stopping a PostgreSQL cluster that no service is known for, by PostgreSQL's own programs."""

from __future__ import annotations

import re

from agents.applications.comebacks import Home
from agents.applications.keepers import Keeper
from agents.commands import join, quote

_DEBIAN = re.compile(r"([0-9.]{1,8})/([A-Za-z0-9_.-]{1,100})")
# The server's own words are kept while it still has them: whoever started it by hand gave options.
_OWN = r"""
data={data} user={user}
cluster_owner() {{
  owner=$(stat -c %u:%g "$data" 2>/dev/null) || owner=0:0
  case $owner in 0:*) owner=$(id -u "$user"):$(id -g "$user") ;; esac
}}
cluster_runs() {{
  pid=''
  {{ read -r pid <"$data/postmaster.pid"; }} 2>/dev/null
  case $pid in '' | *[!0-9]*) return 1 ;; esac
  [ "$(readlink "/proc/$pid/cwd")" = "$data" ]
}}
cluster_control() {{ # words of pg_ctl; as the owner, in a session of its own: it outlives us
  cluster_owner
  version=$(cat "$data/PG_VERSION" 2>/dev/null)
  program=/usr/lib/postgresql/$version/bin/pg_ctl
  [ -x "$program" ] || program=$(command -v pg_ctl) || {{ echo 'pg_ctl is missing' >&2; return 1; }}
  (cd / && umask 077 && setsid setpriv --reuid="${{owner%:*}}" --regid="${{owner#*:}}" --init-groups -- \
    "$program" -D "$data" "$@") </dev/null >/dev/null
}}
keeper_note() {{
  [ ! -e "$hold/names" ] || return 0
  : >"$hold/ran.new" || return 1
  if cluster_runs; then
    echo server >"$hold/ran.new"
    # as the owner: he may have put a link to a file of root's there
    cluster_owner
    setpriv --reuid="${{owner%:*}}" --regid="${{owner#*:}}" --clear-groups -- \
      sed 's/^[^ ]* *//' "$data/postmaster.opts" >"$hold/options" || return 1
  fi
  echo server >"$hold/names.new" && mv "$hold/ran.new" "$hold/ran" && mv "$hold/names.new" "$hold/names"
}}
keeper_stop() {{
  cluster_runs || return 0
  cluster_control -m fast -w -t 600 stop
}}
keeper_start() {{
  [ -s "$1" ] || return 0
  ! cluster_runs || return 0
  options=$(cat "$hold/options" 2>/dev/null) || options={options}
  cluster_control -w -t $((START_WAIT / 10)) -l "$data/startup.log" -o "$options" start
}}
keeper_runs() {{ cluster_runs; }}
"""
_DEBIAN_CLUSTER = r"""
cluster_is() {{ pg_ctlcluster {version} {cluster} status >/dev/null 2>&1; }}
keeper_note() {{
  [ ! -e "$hold/names" ] || return 0
  : >"$hold/ran.new" || return 1
  ! cluster_is || echo server >"$hold/ran.new"
  echo server >"$hold/names.new" && mv "$hold/ran.new" "$hold/ran" && mv "$hold/names.new" "$hold/names"
}}
keeper_stop() {{ ! cluster_is || pg_ctlcluster {version} {cluster} stop -m fast; }}
keeper_start() {{
  [ -s "$1" ] || return 0
  ! cluster_is || return 0
  (umask 022 && setsid pg_ctlcluster {version} {cluster} start -- -t $((START_WAIT / 10)) >/dev/null)
}}
keeper_runs() {{ cluster_is; }}
"""


def keep_cluster(home: Home) -> Keeper | None:
    """Given where a cluster belongs, return who keeps it: Debian's program for a cluster of Debian's, else
    pg_ctl for one that has its configuration in its data directory."""
    debian = _DEBIAN.fullmatch(home.name)
    if debian is not None:
        words = {"version": quote(debian[1]), "cluster": quote(debian[2])}
        return Keeper(home.label, _DEBIAN_CLUSTER.format(**words))
    config = home.detail("config_file")
    if config and config != f"{home.data}/postgresql.conf":
        return None
    owner = home.detail("owner") or home.owner
    return keep_by_hand(home.label, home.data, owner)


def keep_by_hand(label: str, data: str, owner: str, *settings: str) -> Keeper:
    """Given a data directory, its owner and settings that come before its own configuration, return who
    starts and stops it by pg_ctl."""
    options = join([word for setting in settings for word in ("-c", setting)])
    return Keeper(label, _OWN.format(data=quote(data), user=quote(owner), options=quote(options)))
