# shellcheck shell=sh disable=SC2015,SC2154
# The steps of MariaDB's trial, in the cage of a drill.
#
# Without grant tables: nobody knows a password here, and the server loads no plug-in, no function and no event
# that the data name. Its socket lies where nobody else is.

socket=/drill/socket/s log=/drill/log
data='' binlog='' server='' more=''
# shellcheck disable=SC1091  # written by an earlier step
[ ! -r /drill/known ] || . /drill/known

know() { # names of variables
  for known; do
    eval "known_value=\$$known"
    printf "%s='%s'\n" "$known" "$(printf %s "$known_value" | sed "s/'/'\\\\''/g")"
  done >>/drill/known
}

fail() { printf '%s\n' "$1" >&2; exit 1; }

no_tool() {
  echo "$1"
  echo "Install it on the machine of the drill ($2); no service of it has to run there."
  exit 69
}

find_server() { # sets $program
  for program in /usr/sbin/mariadbd /usr/sbin/mysqld /usr/libexec/mariadbd /usr/local/mysql/bin/mariadbd ''; do
    [ -z "$program" ] || ! "$program" --no-defaults --version 2>/dev/null | grep -q MariaDB || return 0
  done
  no_tool "MariaDB's server is not installed there" 'apt install mariadb-server'
}

find_data() { # places where it may be
  find_server
  for place; do
    [ -f "$place/ibdata1" ] && [ -d "$place/mysql" ] && [ -z "$data" ] && data=$place
  done
  [ -n "$data" ] || data=$(find "$@" -type f -name ibdata1 2>/dev/null)
  data=${data%/ibdata1}
  [ -f "$data/ibdata1" ] || fail 'there is no data directory, or more than one: ibdata1'
  wanted=$(tr -d '\000' <"$data/mariadb_upgrade_info" 2>/dev/null | sed -n '1s/^\([0-9]*\.[0-9]*\)\..*/\1/p')
  here=$("$program" --no-defaults --version | sed -n 's/.*Ver \([0-9]*\.[0-9]*\)\..*/\1/p')
  if [ -n "$wanted" ] && [ "$(printf '%s\n' "$wanted" "$here" | sort -t . -k 1,1n -k 2,2n | tail -n 1)" != "$here" ]; then
    no_tool "the files are of MariaDB $wanted, and $here is there" "mariadb-server $wanted or newer"
  fi
  find_binlog "$@"
  find "$data" -name '*.isl' -type f -exec sed -i '1s,^/,/drill/tree/,' {} +
  chmod -R u+rwX "$data"
  mkdir -p /drill/socket
  know data binlog program
  echo "MariaDB $here${binlog:+, with its binary log}"
}

find_binlog() { # a transaction may be half in the binary log: without it the server refuses to start
  for index in $(find "$@" -maxdepth 2 -type f -name '*.index' ! -name '*relay*' 2>/dev/null | tr ' ' '?'); do
    [ -f "$index" ] || continue
    base=${index##*/} base=${base%.index}
    names=$(sed 's,.*/,,' "$index")
    case $names in "$base".[0-9]*) ;; *) continue ;; esac
    printf '%s\n' "$names" | while IFS= read -r name; do printf '%s/%s\n' "${index%/*}" "$name"; done >/drill/index
    cp /drill/index "$index" || exit 1
    binlog=${index%.index}
    return
  done
}

launch() {
  set -- --no-defaults --datadir="$data" --socket="$socket" --skip-networking --skip-grant-tables --lc-messages=en_US \
    --skip-slave-start --event-scheduler=DISABLED --local-infile=0 --tmpdir=/drill/tmp --pid-file=/drill/pid \
    --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 --performance-schema=OFF \
    --myisam-recover-options=OFF --aria-recover-options=OFF "$@"
  [ -z "$binlog" ] || set -- "$@" --log-bin="$binlog"
  [ -z "$more" ] || set -- "$@" "$more"
  "$program" "$@" >>"$log" 2>&1 &
  server=$!
  until ask -e 'select 1' >/dev/null 2>&1; do
    kill -0 "$server" 2>/dev/null || return 1
    sleep 0.2 2>/dev/null || sleep 1
  done
}

start() { # the copy's configuration is not there: what must be as it was, its files say
  launch || {
    size=$(sed -n 's/.*page size \([0-9]*\).*innodb_page_size.*/\1/p' "$log" | head -n 1)
    if grep -qi 'encrypt' "$log"; then no_tool 'its files are encrypted, and the drill has no key' 'nothing helps'; fi
    [ -n "$size" ] || fail "it does not start: $(grep -E 'ERROR' "$log" | tail -n 5)"
    more=--innodb-page-size=$size
    launch || fail "it does not start: $(grep -E 'ERROR' "$log" | tail -n 5)"
  }
  know server more
  echo "it answers; $(ask -e 'select count(*) from information_schema.tables where table_type = "BASE TABLE"') tables"
}

stop() {
  kill -s TERM "$server" 2>/dev/null
  tries=0
  while [ -e /drill/pid ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 1500 ] || fail 'it does not stop'
    sleep 0.2 2>/dev/null || sleep 1
  done
}

ask() { mariadb --no-defaults --socket="$socket" --batch --skip-column-names --raw "$@" </dev/null; }

answer() { # database, file
  [ -z "$1" ] || set -- "$2" --database="$1"
  [ $# -gt 1 ] && [ -n "$1" ] || set -- "$2"
  file=$1
  shift
  mariadb --no-defaults --socket="$socket" --batch --skip-column-names --raw "$@" <"$file"
}

check_tables() { # a warning too: a table that somebody had not closed may hold half of a change
  said=$(mariadb-check --no-defaults --socket="$socket" --check --extended --all-databases 2>&1) || fail "$said"
  [ "${1-}" != stream ] || said=$(printf '%s\n' "$said" | forgive_open)
  # a note has the name of its table in the line before
  wrong=$(printf '%s\n' "$said" | awk '/^note /{ held = "" } held != "" { print held } { held = $0 } /^note /{ held = "" }
    END { if (held != "") print held }' | grep -v ' OK$') && fail "$(printf '%s\n' "$wrong" | head -n 20)"
  echo "CHECK TABLE ... EXTENDED finds $(printf '%s\n' "$said" | grep -c ' OK$') tables whole"
}

# What made a stream waited until no statement changed such tables: one that somebody had open then, and of which
# every row and key was read, is whole.
forgive_open() {
  awk '
    function end() {
      if (lines ~ /^\nwarning *: [0-9]+ clients? .* closed the table properly\nstatus *: OK$/) print name " OK"
      else if (name != "") print name lines
    }
    /^[a-z]+ *: / { lines = lines "\n" $0; next }
    { end(); name = $0; lines = "" }
    END { end() }'
}

# ---- streams and dumps ----------------------------------------------------------------------------------------

unpack() { # the stream, a folder
  command -v mbstream >/dev/null && command -v mariadb-backup >/dev/null \
    || no_tool 'mariadb-backup is not installed there' 'apt install mariadb-backup'
  mkdir "$2" && mbstream -x -C "$2" <"$1" 2>>"$log" || fail "the stream is not whole: $(tail -n 3 "$log")"
  rm -f -- "$1"
  # it is read as a configuration, and it came with the data
  { echo '[mariadbd]'; grep -E '^innodb_[a-z_]+=[0-9A-Za-z_:;./-]*$' "$2/backup-my.cnf"; } >/drill/my.cnf \
    && cp /drill/my.cnf "$2/backup-my.cnf" || fail 'backup-my.cnf is missing'
  mariadb-backup --no-defaults --prepare --target-dir="$2" >>"$log" 2>&1 || fail "it cannot be prepared: $(tail -n 3 "$log")"
  echo 'unpacked and prepared'
}

start_new() {
  find_server
  command -v mariadb-install-db >/dev/null || no_tool "mariadb-install-db is missing" 'apt install mariadb-server'
  data=/drill/data
  mkdir -p /drill/socket
  mariadb-install-db --no-defaults --datadir="$data" --skip-test-db --auth-root-authentication-method=normal \
    >>"$log" 2>&1 || fail "$(tail -n 5 "$log")"
  know data binlog program
  start
}

load_dump() { # it ends by turning the grant tables on: the server is started again
  tail -c 200 "$1" | grep -q '^-- Dump completed' || fail 'the end of the dump is missing'
  mariadb --no-defaults --socket="$socket" --show-warnings <"$1" >/drill/said || exit 1
  # a dump turns strictness off: a value that is none any more would be cut with no more than a warning
  wrong=$(grep -aE '^Warning \(Code (1264|1265|1292|1300|1366)\)' /drill/said | head -n 5)
  [ -z "$wrong" ] || fail "$wrong"
  stop
  start >/dev/null
  echo 'every statement was run'
}
