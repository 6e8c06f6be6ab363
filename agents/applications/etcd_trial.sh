# shellcheck shell=sh disable=SC2015,SC2154
# The steps of etcd's trial, in the cage of a drill: its loopback leads nowhere.

log=/drill/log url=http://127.0.0.1:2379 peer=http://127.0.0.1:2380
export ETCDCTL_API=3 ETCDCTL_ENDPOINTS=$url
data='' wal=''
# shellcheck disable=SC1091  # written by an earlier step
[ ! -r /drill/known ] || . /drill/known

fail() { printf '%s\n' "$1" >&2; exit 1; }

check_tools() {
  command -v etcd >/dev/null && command -v etcdctl >/dev/null && return
  echo 'etcd or etcdctl is not installed there'
  echo 'Install them on the machine of the drill (apt install etcd-server etcd-client); no service has to run.'
  exit 69
}

restore() { # a snapshot that a member saved: the hash at its end is compared
  check_tools
  tool=etcdctl
  ! command -v etcdutl >/dev/null || tool=etcdutl
  "$tool" snapshot restore "$1" --data-dir /drill/data --name drill --initial-cluster "drill=$peer" \
    --initial-advertise-peer-urls "$peer" >>"$log" 2>&1 || fail "$(tail -n 3 "$log")"
  rm -f -- "$1"
  echo "data='/drill/data'" >>/drill/known
  echo 'its hash fits'
}

find_member() { # places of a member's files
  check_tools
  for place; do
    [ ! -f "$place/member/snap/db" ] || data=$place
    for each in "$place"/*.wal; do [ ! -f "$each" ] || wal=$place; done
  done
  [ -n "$data" ] || fail 'there is no member/snap/db'
  chmod -R u+rwX "$data"
  for known in data wal; do
    eval "value=\$$known"
    printf "%s='%s'\n" "$known" "$(printf %s "$value" | sed "s/'/'\\\\''/g")" >>/drill/known
  done
  echo 'the files of a member are there'
}

start() { # words: --force-new-cluster for a member whose others are not here
  [ -z "$wal" ] || set -- "$@" --wal-dir "$wal"
  etcd --name drill --data-dir "$data" --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "drill=$peer" "$@" >>"$log" 2>&1 &
  server=$!
  until etcdctl --command-timeout=5s endpoint status >/drill/status 2>&1; do
    kill -0 "$server" 2>/dev/null || fail "it does not start: $(grep -iE 'panic|fatal|crc|error' "$log" | tail -n 3)"
    sleep 0.2 2>/dev/null || sleep 1
  done
  cat /drill/status
}

count_keys() {
  said=$(etcdctl --command-timeout=600s get '' --from-key --keys-only --limit=1 --write-out=fields 2>&1) || case $said in
    *'user name is empty'*) echo 'it asks for a password: its keys were not counted'; return ;;
    *) fail "$said" ;;
  esac
  echo "$(printf '%s\n' "$said" | sed -n 's/^"Count" : //p') keys"
  etcdctl endpoint hashkv 2>&1
}

answer() { # a file with words for etcdctl: "get key --print-value-only"
  read -r text <"$1" || [ -n "$text" ]
  set -f
  # shellcheck disable=SC2086  # words
  etcdctl --command-timeout=60s $text
}
