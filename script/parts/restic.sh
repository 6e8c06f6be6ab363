# shellcheck shell=sh
# restic >= 0.18: the one on PATH, else the distribution's newer one, checked by its signature, in .venv/bin.

# True when the program runs and is restic 0.18 or newer.
is_restic_new_enough() {
  version=$("$1" version 2>/dev/null | sed -n 's/^restic \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
  [ -n "$version" ] || return 1
  # shellcheck disable=SC2086 # two numbers
  set -- $version
  [ "$1" -gt 0 ] || [ "$2" -ge 18 ]
}

install_restic() {
  if is_restic_new_enough .venv/bin/restic || is_restic_new_enough restic; then
    return 0
  fi
  say "Fetching restic (0.18 or newer) from Debian 13, without touching this system's package sources"
  command -v apt-get >/dev/null || fail "There is no apt-get here. Install restic 0.18 or newer and start again."
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  fetch_restic "$scratch" || fail "restic could not be fetched. Install restic 0.18 or newer and start again."
  is_restic_new_enough "$scratch/files/usr/bin/restic" ||
    fail "The restic of Debian 13 does not run here. Install restic 0.18 or newer and start again."
  # By rename: a console that runs keeps the file that it has open.
  install -m 755 "$scratch/files/usr/bin/restic" .venv/bin/restic.new
  mv .venv/bin/restic.new .venv/bin/restic
  say "$(.venv/bin/restic version)"
}

# Given an empty directory, downloads and unpacks restic there. apt reads only the sources named here, and
# accepts only what Debian's keys signed; the system's proxy settings still hold.
fetch_restic() {
  keys=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -e "$keys" ] || { say "$keys is missing (package debian-archive-keyring)."; return 1; }
  mirror=$(find_mirror)
  mkdir -p "$1/lists/partial" "$1/archives/partial" "$1/files"
  printf 'deb [signed-by=%s] %s trixie main\n' "$keys" "$mirror" >"$1/sources.list"
  apt_private() {
    apt-get -qq -o Dir::Etc::sourcelist="$scratch/sources.list" -o Dir::Etc::sourceparts=/dev/null \
      -o Dir::State::lists="$scratch/lists" -o Dir::Cache="$scratch" -o Dir::Cache::archives="$scratch/archives" \
      -o APT::Sandbox::User="$(id -un)" -o APT::Get::List-Cleanup=0 -o Acquire::Languages=none \
      -o Debug::NoLocking=1 "$@" >&2
  }
  apt_private update || return 1
  (cd "$1" && apt_private download restic) || return 1
  dpkg-deb --extract "$1"/restic_*.deb "$1/files"
}

# Prints the mirror that this system uses for Debian itself, else Debian's own.
find_mirror() {
  found=$(cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk '$1 == "URIs:" && $2 !~ /security/ { print $2; exit }')
  [ -n "$found" ] || found=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
    sed -n 's/\[[^]]*\]//; s/^deb  *\([^ ]*\) .*/\1/p' | grep -v security | head -n 1)
  case "$found" in
    *debian*) printf '%s\n' "$found" ;;
    *) printf 'http://deb.debian.org/debian\n' ;;
  esac
}
