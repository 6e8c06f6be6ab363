"""Stopping services around a cold backup. What did not run before is neither stopped nor started.

A service is a systemd unit, elsewhere the name of an init script; `container:<name>` is a Docker container.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.applications.recipes import Quiesce
from agents.commands import join

# How long the device waits until a started service says that it runs.
START_WAIT_S = 60

# $hold/ran holds the names of what ran, one a line, each written before it is stopped.
_FUNCTIONS = rf"""
service_runs() {{
  case $1 in
    container:*) [ "$(docker inspect -f '{{{{.State.Running}}}}' "${{1#container:}}" 2>/dev/null)" = true ] ;;
    *)
      if [ -d /run/systemd/system ]; then systemctl is-active --quiet "$1"
      else service "$1" status >/dev/null 2>&1; fi
      ;;
  esac
}}
service_do() {{ # stop or start, name
  case $2 in
    container:*) docker "$1" "${{2#container:}}" >/dev/null ;;
    *) if [ -d /run/systemd/system ]; then systemctl "$1" "$2"; else service "$2" "$1" >/dev/null; fi ;;
  esac 5>&- 6>&- </dev/null
}}
services_stop() {{
  : >"$hold/ran" || return 1
  for service in "$@"; do
    if service_runs "$service"; then
      printf '%s\n' "$service" >>"$hold/ran" || return 1
      service_do stop "$service" || return 1
      ! service_runs "$service" || {{ echo "$service still runs" >&2; return 1; }}
    else
      printf 'note %s did not run: it is neither stopped nor started\n' "$service"
    fi
  done
}}
services_start() {{ # the last one that was stopped first; what runs already is left alone
  [ -f "$hold/ran" ] || return 0
  start_status=0 start_order=''
  while read -r service; do start_order="$service $start_order"; done <"$hold/ran"
  for service in $start_order; do
    service_runs "$service" || service_do start "$service" || start_status=1
    start_waited=0
    until service_runs "$service"; do
      start_waited=$((start_waited + 1))
      if [ "$start_waited" -gt {START_WAIT_S * 10} ]; then
        echo "$service does not run again" >&2
        start_status=1
        break
      fi
      sleep 0.1 2>/dev/null || sleep 1
    done
  done
  return "$start_status"
}}
"""


def stop_around(services: Sequence[str]) -> Quiesce:
    """Given the names of services, return what stops them in this order and starts them again.

    Raise ValueError for a name that holds a blank or begins with a dash: no service has one."""
    for name in services:
        if (
            not name
            or name.startswith("-")
            or any(letter.isspace() or not letter.isprintable() for letter in name)
        ):
            raise ValueError(f"not the name of a service: {name!r}")
    return Quiesce(
        label=", ".join(services),
        hold=f"{_FUNCTIONS}\nservices_stop {join(services)}",
        release="services_start",
        undo=f"{_FUNCTIONS}\nservices_start",
        is_stop=True,
    )
