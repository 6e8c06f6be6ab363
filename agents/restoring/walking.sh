#!/bin/sh
# shellcheck disable=SC2154  # $ground comes from choosing.sh
# What a restore does on a device. POSIX sh only (dash, busybox ash); as root; it opens no file of others to write.
#
# Words: staging ($S) is a directory of ours, 0700, whose parents only root can change. In it: new (what restic
# wrote), old (what was in its way), owed (one record a swap that is not over), undone, renamed.
# Two rules keep whoever owns a parent of the destination below their own directory:
#   1. A folder is entered from its verified parent, and the kernel's own path of it (cd -P sets PWD by getcwd)
#      must be the one that is meant: a planted link, or a parent that was moved meanwhile, shows another one.
#   2. Things are moved by a name in staging and "." for the other side: no word of a command is ever a path
#      through a folder that others may change. They are renamed, never copied: same mount, same device.

set -u
umask 077
LC_ALL=C
export LC_ALL

refuse() { # given a word and a path
  printf 'refused\0%s\0%s\0' "$1" "$2"
  exit 3
}

# ---- going there ----------------------------------------------------------------------------------------------

is_folder() { [ -d "$1" ] && [ ! -L "$1" ]; }

identify() { # sets $mount and $device of the working directory
  mount=''
  exec 9<.
  while read -r key id; do [ "$key" != mnt_id: ] || mount=$id; done </proc/self/fdinfo/9
  exec 9<&-
  device=$(stat -c %d .) && [ -n "$mount" ]
}

is_same() { identify && [ "$mount:$device" = "$ground" ]; } # $ground is staging's

is_layered() { # a directory of a lower layer is renamed by a copy: who dies meanwhile leaves half of it
  identify || return 0
  while read -r id _ _ _ _ _ kind; do
    [ "$id" = "$mount" ] || continue
    kind=${kind#*- }
    case ${kind%% *} in overlay | aufs | fuse.fuse-overlayfs) return 0 ;; esac
  done </proc/self/mountinfo
  return 1
}

is_safe() { # belongs to root, and nobody else may rename what is in it
  # shellcheck disable=SC2046  # two numbers
  set -- $(stat -c '%u %a' .)
  [ "${1-}" = 0 ] && { [ $((0$2 & 0022)) -eq 0 ] || [ $((0$2 & 01000)) -ne 0 ]; }
}

enter() { # given a name in the working directory, whose path is $here
  is_folder "./$1" && cd -P "./$1" || return 1
  here=${here%/}/$1
  [ "$PWD" = "$here" ]
}

walk() { # given a plain absolute path and "", "make" or "safe": goes there from /, one component after the other
  cd / && here=/ || return 1
  rest=${1#/}
  while :; do
    [ "$2" != safe ] || is_safe || return 1
    [ -n "$rest" ] || return 0
    part=${rest%%/*}
    case $rest in */*) rest=${rest#*/} ;; *) rest='' ;; esac
    [ "$2" != make ] || is_there "./$part" || mkdir -m 0700 -- "./$part" || return 1
    enter "$part" || return 1
  done
}

value() { # reads one escaped line of stdin into $value
  IFS= read -r value || return 1
  case $value in *\\*) value=$(printf '%b.' "$value") && value=${value%.} ;; esac
}
