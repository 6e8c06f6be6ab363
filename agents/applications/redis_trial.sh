# shellcheck shell=sh disable=SC2015,SC2154
# The steps of Redis' (and Valkey's) trial, in the cage of a drill.

socket=/drill/socket/s log=/drill/log
data='' rdb='' manifest='' aof=''
# shellcheck disable=SC1091  # written by an earlier step
[ ! -r /drill/known ] || . /drill/known

know() { # names of variables
  for known; do
    eval "known_value=\$$known"
    printf "%s='%s'\n" "$known" "$(printf %s "$known_value" | sed "s/'/'\\\\''/g")"
  done >>/drill/known
}

fail() { printf '%s\n' "$1" >&2; exit 1; }

tool() { # "server", "cli", "check-rdb", "check-aof": prints its name
  for name in "redis-$1" "valkey-$1"; do command -v "$name" && return; done
  return 1
}

find_files() { # the directory
  tool server >/dev/null && tool cli >/dev/null && tool check-rdb >/dev/null || {
    echo 'Redis is not installed there'
    echo 'Install it on the machine of the drill (apt install redis-server); no service of it has to run there.'
    exit 69
  }
  data=$1
  for each in "$data"/*/*.manifest; do
    [ -f "$each" ] || continue
    [ -z "$manifest" ] || fail 'there is more than one append-only file'
    manifest=$each
  done
  for each in "$data"/*.aof; do [ -f "$each" ] && aof=$each; done
  for each in "$data"/dump.rdb "$data"/*.rdb; do [ -f "$each" ] && [ -z "$rdb" ] && rdb=$each; done
  [ -n "$manifest$aof$rdb" ] || fail 'there is neither an RDB nor an append-only file'
  chmod -R u+rwX "$data"
  mkdir -p /drill/socket
  know data rdb manifest aof
  echo "${manifest:+append-only files }${aof:+an append-only file }${rdb:+an RDB file}"
}

check_rdb() { # its own check sum is over all of it
  set --
  for each in "$rdb" "${manifest:+${manifest%/*}}"/*.rdb; do [ -f "$each" ] && set -- "$@" "$each"; done
  [ $# -gt 0 ] || { echo 'there is none: all of it is in the append-only file'; return; }
  for each; do
    said=$("$(tool check-rdb)" "$each" 2>&1) || fail "$(printf '%s\n' "$said" | tail -n 5)"
    printf '%s\n' "$said" | grep -E 'RDB looks OK|keys read|Checksum OK|looks'
  done
}

start() { # where an append-only file is, the server read it, and not the RDB
  set -- /ours/redis.conf --dir "$data"
  if [ -n "$manifest" ]; then
    folder=${manifest%/*} name=${manifest##*/}
    set -- "$@" --appendonly yes --appenddirname "${folder##*/}" --appendfilename "${name%.manifest}"
  elif [ -n "$aof" ]; then
    set -- "$@" --appendonly yes --appendfilename "${aof##*/}"
  else
    set -- "$@" --appendonly no --dbfilename "${rdb##*/}"
  fi
  "$(tool server)" "$@" >>"$log" 2>&1 &
  server=$!
  until [ "$(ask PING 2>/dev/null)" = PONG ]; do
    kill -0 "$server" 2>/dev/null || {
      if grep -q 'no matching module' "$log"; then
        echo 'its data are of a module, and a drill loads none'
        echo 'Drill it as files, or keep the data of that module elsewhere.'
        exit 69
      fi
      fail "it does not start: $(grep -E '#|\*' "$log" | tail -n 5)"
    }
    sleep 0.2 2>/dev/null || sleep 1
  done
  said=$(grep -E 'truncat|unexpected end' "$log" | head -n 3)
  echo "it answers${said:+; }$said"
}

ask() { "$(tool cli)" -s "$socket" "$@" </dev/null; }

count_keys() {
  said=$(ask INFO keyspace | tr -d '\r') || exit 1
  printf '%s\n' "$said" | sed -n 's/^db\([0-9]*\):keys=\([0-9]*\).*/\1 \2/p' | {
    keys=0 databases=0
    while read -r _ each; do keys=$((keys + each)) databases=$((databases + 1)); done
    echo "$keys keys in $databases databases"
  }
}

answer() { # number of the database, file
  said=$("$(tool cli)" -s "$socket" -n "${1:-0}" <"$2") || exit 1
  case $said in ERR\ * | WRONG* | *NOAUTH*) fail "$said" ;; esac
  printf '%s\n' "$said"
}
