#!/bin/sh
# shellcheck disable=SC2015,SC2016
# A root of its own for restored data, and who runs the steps of a trial in it, one after the other. POSIX sh.
#
# $1: build (in the private mount namespace of a long program) or watch (below it, in a namespace of processes)
# $2: the scratch directory: work/ is the throw-away user's, root/ becomes the root
# $3: the throw-away user and group, $4: KiB that the scratch directory may hold, $5: KiB that stay free on its disk
# $6 (build only): number of our files, then of each: file, name
# then of each step: name, longest seconds, yes when it is needed, the file of its source
#
# Root's are: the machine's programs (read-only), our files, who watches, and what it says. The steps are nobody's:
# no capability, no way to one, no network, no socket or process of the machine.

set -u
umask 022
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH LC_ALL=C
cd / || exit 125

fail() { printf '%s\n' "$1" >&2; exit 125; }

show() { # a directory of the machine, read-only
  mkdir -p -- "$root$1" && mount -o bind -- "$1" "$root$1" \
    && mount -o remount,bind,ro,nosuid,nodev -- "$root$1" || fail "$1 cannot be shown"
}

furnish() {
  mkdir -p -- "$root" && mount -t tmpfs -o mode=0755,size=8m,nosuid,nodev,noexec hotfleet "$root" || fail 'no tmpfs'
  show /usr
  for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then ln -s "$(readlink "/$name")" "$root/$name" || fail "/$name"
    elif [ -d "/$name" ]; then show "/$name"; fi
  done
  [ ! -d /etc/alternatives ] || show /etc/alternatives
  mkdir -p "$root/etc" "$root/dev" "$root/proc" "$root/drill" "$root/ours" || fail 'the root'
  [ ! -e /etc/ld.so.cache ] || cp /etc/ld.so.cache "$root/etc/" || fail 'ld.so.cache'
  printf 'root:x:0:0::/:/bin/sh\ndrill:x:%s:%s::/drill:/bin/sh\n' "$user" "$user" >"$root/etc/passwd" || fail passwd
  printf 'root:x:0:\ndrill:x:%s:\n' "$user" >"$root/etc/group" || fail group
  printf 'passwd: files\ngroup: files\nhosts: files\n' >"$root/etc/nsswitch.conf" || fail nsswitch
  printf '127.0.0.1 localhost\n' >"$root/etc/hosts" || fail hosts
  for name in null zero random urandom; do
    : >"$root/dev/$name" && mount -o bind -- "/dev/$name" "$root/dev/$name" || fail "/dev/$name"
  done
  ln -s /proc/self/fd "$root/dev/fd" && ln -s drill/tmp "$root/tmp" && ln -s drill/tmp "$root/var" || fail 'links'
}

build() { # our files: pairs
  furnish
  mount -o bind -- "$scratch/work" "$root/drill" \
    && mount -o remount,bind,nosuid,nodev,noexec -- "$root/drill" || fail 'the restored files cannot be shown'
  mkdir -m 0700 -- "$scratch/work/tmp" && chown -- "$user:$user" "$scratch/work/tmp" || fail tmp
  files=$1
  shift
  while [ "$files" -gt 0 ]; do
    cp -- "$1" "$root/ours/$2" && chmod 0444 "$root/ours/$2" || fail "$2"
    files=$((files - 1))
    shift 2
  done
  # when memory runs out, this goes first
  { echo 1000 >/proc/self/oom_score_adj; } 2>/dev/null
  # processes that outlive their step end with the namespace, and the namespace with us
  exec unshare --net --ipc --uts --pid --fork --kill-child=KILL --mount-proc="$root/proc" \
    /bin/sh "$0" watch "$scratch" "$user" "$most" "$reserve" "$@"
}

everybody() { # a signal for whatever a step started
  setpriv --reuid="$user" --regid="$user" --clear-groups -- /bin/sh -c 'kill -s "$1" -- -1' everybody "$1"
}

look() { # sets $free in KiB and $names, how many more files there can be (0: nobody counts)
  # shellcheck disable=SC2046  # numbers
  set -- $(stat -f -c '%a %S %d' -- "$scratch") && [ $# -eq 3 ] || return 1
  free=$(($1 * $2 / 1024)) names=$3
}

guard() { # measures what is there only when the disk has less room by what there may still come
  highest=$free fewest=$((names / 2))
  while sleep 1; do
    look || continue
    [ "$free" -le "$highest" ] || highest=$free
    more=$((most - used)) why=''
    [ "$more" -gt 65536 ] || more=65536
    if [ "$free" -lt "$reserve" ]; then why="only $free KiB are free on the disk of ${scratch%/*}"
    elif [ "$names" -lt "$fewest" ]; then why="only $names more files have room on the disk of ${scratch%/*}"
    elif [ $((highest - free)) -gt "$more" ]; then
      everybody STOP
      used=$(measure) highest=$free
      [ "${used:=$most}" -lt "$most" ] || why="it wrote more than the $most KiB that were thought enough"
      everybody CONT
    fi
    # again and again: the next step may just begin
    [ -z "$why" ] || { printf '%s\n' "$why" >"$scratch/full"; everybody KILL; }
  done
}

measure() { du -xsk -- "$scratch" | { read -r kib _ && echo "$kib"; }; }

watch() {
  mount -o remount,bind,ro -- "$root" || fail 'the root cannot be made read-only'
  # for programs that know no other socket; it leads nowhere
  { ip link set lo up || ifconfig lo up; } >/dev/null 2>&1
  look && used=$(measure) || fail 'nobody can tell how much room there is'
  guard >/dev/null 2>&1 &
  while [ $# -gt 0 ]; do
    name=$1 limit=$2 needed=$3 file=$4
    shift 4
    read -r from _ </proc/uptime
    chroot "$root" prlimit --core=0:0 --nproc=1024:1024 -- \
      setpriv --reuid="$user" --regid="$user" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- \
      env -i PATH="$PATH" HOME=/drill LC_ALL=C \
      timeout -k 10 "$limit" /bin/sh -c 'cd /drill && umask 077 && eval "$1"' step "$(cat "$file")" \
      </dev/null >"$scratch/out" 2>"$scratch/err"
    status=$?
    read -r to _ </proc/uptime
    [ ! -e "$scratch/full" ] || { status=full && cp -- "$scratch/full" "$scratch/out"; }
    printf '%s\0%s\0%s\0%s\0' "$name" "$status" "$from" "$to"
    head -c 65536 "$scratch/out" | tr -d '\000'
    printf '\0'
    tail -c 4096 "$scratch/err" | tr -d '\000'
    printf '\0'
    [ "$status" != full ] || break
    [ "$status" = 0 ] || [ "$needed" != yes ] || break
  done
}

mode=$1 scratch=$2 user=$3 most=$4 reserve=$5
root=$scratch/root
shift 5
case $mode in
  build) build "$@" ;;
  watch) watch "$@" ;;
  *) exit 2 ;;
esac
