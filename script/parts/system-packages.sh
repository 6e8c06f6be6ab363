# shellcheck shell=sh
# System packages: found by the command or file that they bring, installed by apt-get when we are root.

# Prints the package unless its command is on PATH (or, with a slash, its file exists).
need() {
  case "$1" in
    */*) [ -e "$1" ] && return ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null && return ;;
  esac
  printf ' %s' "$2"
}

missing_for_console() {
  need python3 python3
  need setpriv util-linux
  # The standard library alone is not enough on Debian: ensurepip comes in a package of its own.
  find_python >/dev/null || printf ' python3-venv'
  need /etc/ssl/certs/ca-certificates.crt ca-certificates
}

missing_for_tests() {
  need /usr/sbin/sshd openssh-server
  need ssh openssh-client
  need mkfs.btrfs btrfs-progs
  need mkfs.xfs xfsprogs
  need qemu-system-x86_64 qemu-system-x86
  need qemu-img qemu-utils
  need mmdebstrap mmdebstrap
  need /usr/share/ovmf/OVMF.fd ovmf
  need chromium chromium
  need sudo sudo
  set -- /usr/lib/postgresql/*/bin/postgres
  [ -x "$1" ] || printf ' postgresql'
  need mariadbd mariadb-server
  need mariadb-backup mariadb-backup
  need redis-server redis-server
  need sqlite3 sqlite3
  need nft nftables
  need ip iproute2
  need getfattr attr
  need getfacl acl
  need busybox busybox
  need zsh zsh
  need fish fish
  need shellcheck shellcheck
  need slapd slapd
  need ldapadd ldap-utils
  need etcd etcd-server
  need etcdctl etcd-client
  need openssl openssl
  need node nodejs
  need unzip unzip
}

install_system_packages() {
  missing=$(missing_for_console)
  [ "$1" = no ] || missing=$missing$(missing_for_tests)
  [ -n "$missing" ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    say "These system packages are missing:$missing"
    fail "As root, type:  apt-get install --no-install-recommends$missing"
  fi
  say "Installing system packages:$missing"
  apt-get -qq update
  # shellcheck disable=SC2086 # a list of words
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing >&2
}
