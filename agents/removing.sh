# shellcheck shell=sh
# A part of the programs of restores, comebacks and scratch directories: removing what is ours.

removing_tab=$(printf '\t')
removing_line='
'

is_there() { [ -e "$1" ] || [ -L "$1" ]; }

has_mounts() { # given a path: is it a mount point, or is something mounted below it
  while read -r _ _ _ _ point _; do
    case $point in *\\*) unescape ;; esac
    case $point in "$1" | "$1"/*) return 0 ;; esac
  done </proc/self/mountinfo
  return 1
}

unescape() { # $point is as the kernel writes it: blanks and backslashes in three octal digits
  plain=''
  while case $point in *\\*) true ;; *) false ;; esac; do
    plain=$plain${point%%\\*}
    point=${point#*\\}
    case $point in
      040*) plain="$plain " ;;
      011*) plain="$plain$removing_tab" ;;
      012*) plain="$plain$removing_line" ;;
      043*) plain="$plain#" ;;
      134*) plain="$plain\\" ;;
    esac
    point=${point#???}
  done
  point=$plain$point
}

# Given a name in the working directory: all of it goes, but nothing where something is mounted in it.
remove() {
  removing=$(pwd -P)
  removing=${removing%/}/$1
  ! has_mounts "$removing" || { echo "something is mounted in $removing" >&2; return 1; }
  # what is mounted only now is not gone into; busybox knows no such option
  rm -rf --one-file-system -- "./$1" 2>/dev/null && return 0
  # a subvolume of btrfs counts as a file system of its own
  ! has_mounts "$removing" && rm -rf -- "./$1"
}
