# shellcheck shell=sh disable=SC2015
# The steps of OpenLDAP's trial, in the cage of a drill.
#
# Of the restored configuration only the schema and the suffixes are taken, as text: a module, a path or a password
# in it is never read by a program of OpenLDAP. /drill/suffixes has a line for each database: number, tab, suffix,
# tab, directory; in our configuration they are numbered from 1 on in that order.

log=/drill/log ours=/drill/slapd.d copy=/drill/copy.d
# overlays that define attributes which entries may have; the machine's own, and none is put to work
known_modules=' memberof ppolicy accesslog dynlist dds refint unique constraint syncprov lastbind lastmod nestgroup '

fail() { printf '%s\n' "$1" >&2; exit 1; }

check_tools() {
  PATH=$PATH:/usr/sbin:/usr/lib/openldap
  command -v slapd >/dev/null && command -v slapadd >/dev/null && command -v slapcat >/dev/null && return
  echo 'slapd is not installed there'
  echo 'Install it on the machine of the drill (apt install slapd); no service of it has to run there.'
  exit 69
}

gather() { # a configuration directory: one LDIF of it, as slapcat would print it
  [ -f "$1/cn=config.ldif" ] || fail 'there is no configuration of slapd'
  for file in "$1/cn=config/cn=schema.ldif" "$1/cn=config/"cn=module*.ldif "$1/cn=config/"olcDatabase=*.ldif; do
    [ ! -f "$file" ] || { sed '/^#/d; s/^\(dn: .*\)$/\1,cn=config/' "$file"; echo; }
  done
  for file in "$1/cn=config/cn=schema/"*.ldif; do
    [ ! -f "$file" ] || { sed '/^#/d; s/^\(dn: .*\)$/\1,cn=schema,cn=config/' "$file"; echo; }
  done
}

unfold() { awk '/^ / { printf "%s", substr($0, 2); next } NR > 1 { print "" } { printf "%s", $0 } END { print "" }'; }

write_ours() { # stdin: LDIF of a configuration
  unfold >/drill/config.ldif
  awk -v RS='' -F '\n' '$1 ~ /,cn=config$/ && $1 ~ /^dn: olcDatabase=/ {
    number = $1; sub(/^dn: olcDatabase=\{/, "", number); sub(/\}.*/, "", number); suffix = directory = ""
    for (i = 2; i <= NF; i++) {
      if ($i ~ /^olcSuffix: / && suffix == "") suffix = substr($i, 12)
      if ($i ~ /^olcDbDirectory: /) directory = substr($i, 17)
    }
    if (suffix != "" && directory != "" && number ~ /^[0-9]+$/) printf "%s\t%s\t%s\n", number, suffix, directory
  }' /drill/config.ldif | sort -n >/drill/suffixes
  [ -s /drill/suffixes ] || fail 'the configuration names no database'
}

print_config() { # yes: the directories of the copy, else ours
  printf 'dn: cn=config\nobjectClass: olcGlobal\ncn: config\n\n'
  printf 'dn: cn=module{0},cn=config\nobjectClass: olcModuleList\ncn: module{0}\nolcModuleLoad: back_mdb\n'
  for folder in /usr/lib/ldap /usr/lib64/openldap /usr/lib/openldap; do
    [ ! -d "$folder" ] || { printf 'olcModulePath: %s\n' "$folder"; break; }
  done
  sed -n 's/^olcModuleLoad: \({[0-9]*}\)\{0,1\}\([a-z_]*\)\(\.la\|\.so\)\{0,1\}$/\2/p' /drill/config.ldif | sort -u \
    | while read -r module; do
      case $known_modules in *" $module "*) printf 'olcModuleLoad: %s\n' "$module" ;; esac
    done
  echo
  awk -v RS='' -v ORS='\n\n' -F '\n' '$1 == "dn: cn=schema,cn=config"' /drill/config.ldif
  awk -v RS='' -v ORS='\n\n' -F '\n' '$1 ~ /,cn=schema,cn=config$/' /drill/config.ldif
  number=0
  tab=$(printf '\t')
  while IFS=$tab read -r _ suffix directory; do
    number=$((number + 1))
    [ "$1" = yes ] && directory=/drill/tree$directory || directory=/drill/db/$number
    printf 'dn: olcDatabase={%s}mdb,cn=config\nobjectClass: olcDatabaseConfig\nobjectClass: olcMdbConfig\n' "$number"
    printf 'olcDatabase: {%s}mdb\nolcSuffix: %s\nolcDbDirectory: %s\n' "$number" "$suffix" "$directory"
    printf 'olcDbMaxSize: 68719476736\nolcDbNoSync: TRUE\n\n'
  done </drill/suffixes
}

require_end() { # given a stream and its last line
  [ "$(tail -n 1 -- "$1")" = "$2" ] || fail "${1##*/} was cut off: its end is missing"
}

configure() { # what it was: "stream", or the directory of the configuration; the last line of a stream
  check_tools
  if [ "$1" = stream ]; then
    require_end /drill/tree/config.ldif "$2"
    write_ours </drill/tree/config.ldif || exit 1
  else gather "$1" >/drill/gathered || exit 1; write_ours </drill/gathered || exit 1; fi
  while read -r _; do number=$((${number:-0} + 1)); mkdir -p "/drill/db/$number"; done </drill/suffixes
  mkdir -p "$ours" "$copy" /drill/socket
  print_config no | slapadd -F "$ours" -n 0 >>"$log" 2>&1 || fail "$(tail -n 3 "$log")"
  [ "$1" = stream ] || print_config yes | slapadd -F "$copy" -n 0 >>"$log" 2>&1 || fail "$(tail -n 3 "$log")"
  echo "$(grep -c . /drill/suffixes) databases; its schema, and nothing else of its configuration"
}

read_copy() { # the databases as they were restored
  number=0
  while read -r _; do
    number=$((number + 1))
    slapcat -F "$copy" -n "$number" -l "/drill/$number.ldif" 2>/drill/said </dev/null || fail "$(tail -n 5 /drill/said)"
    ! grep -qE '^# no data|error|corrupt' /drill/said || fail "$(grep -E '# no data|error|corrupt' /drill/said | head -n 5)"
  done </drill/suffixes
  echo 'every entry could be read'
}

take_streams() { # given their last line; each file is called by the number that its database had
  number=0
  while read -r old _; do
    number=$((number + 1))
    for file in /drill/tree/"$old"-*.ldif; do [ ! -f "$file" ] || mv -- "$file" "/drill/$number.ldif"; done
    [ -s "/drill/$number.ldif" ] || fail "the stream of the database $old is missing or empty"
    require_end "/drill/$number.ldif" "$1"
  done </drill/suffixes
  echo "$number files"
}

load() { # into new databases, each entry checked against the schema
  number=0 all=0
  while read -r _; do
    number=$((number + 1))
    slapadd -F "$ours" -n "$number" -l "/drill/$number.ldif" >/drill/said 2>&1 </dev/null || fail "$(tail -n 5 /drill/said)"
    wanted=$(grep -c '^dn:' "/drill/$number.ldif")
    found=$(slapcat -F "$ours" -n "$number" 2>/dev/null </dev/null | grep -c '^dn:')
    [ "$wanted" = "$found" ] || fail "$found of $wanted entries are in the new database"
    all=$((all + found))
  done </drill/suffixes
  [ "$all" -gt 0 ] || fail 'there is no entry in it'
  echo "$all entries"
}

start() {
  slapd -F "$ours" -h 'ldapi://%2Fdrill%2Fsocket%2Fldapi' -d 0 >>"$log" 2>&1 &
  server=$!
  until [ -S /drill/socket/ldapi ]; do
    kill -0 "$server" 2>/dev/null || fail "it does not start: $(tail -n 5 "$log")"
    sleep 0.2 2>/dev/null || sleep 1
  done
  sleep 1
  kill -0 "$server" 2>/dev/null || fail "it ended: $(tail -n 5 "$log")"
  echo 'slapd runs on the new databases'
}

answer() { # suffix ("": all), a file with a filter: how many entries it finds
  number=0 all=0
  tab=$(printf '\t')
  while IFS=$tab read -r _ suffix _; do
    number=$((number + 1))
    [ -z "$1" ] || [ "$1" = "$suffix" ] || continue
    slapcat -F "$ours" -n "$number" -a "$(cat "$2")" 2>/drill/said >/drill/found </dev/null || fail "$(tail -n 3 /drill/said)"
    all=$((all + $(grep -c '^dn:' /drill/found)))
  done </drill/suffixes
  echo "$all"
}
