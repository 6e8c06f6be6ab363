#!/bin/sh
# Runs on this machine when the root of the guest is complete: what it must know before it boots for the first time.
# Words: the root, the folder of this script, the authorized_keys line of the console.
set -eu
root=$1 here=$2 line=$3

printf 'lab\n' >"$root/etc/hostname"
printf '127.0.0.1 localhost lab\n' >"$root/etc/hosts"
printf '/dev/vda / ext4 noatime,errors=remount-ro 0 1\n' >"$root/etc/fstab"
printf '[Match]\nName=eth0\n[Network]\nAddress=10.0.2.15/24\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n' \
  >"$root/etc/systemd/network/lab.network"

chroot "$root" useradd --create-home --shell /bin/bash --password '*' hotfleet
for home in root home/hotfleet; do
  install -d -m 700 "$root/$home/.ssh"
  printf '%s\n' "$line" >"$root/$home/.ssh/authorized_keys"
done
chroot "$root" chown -R hotfleet: /home/hotfleet/.ssh
printf 'Defaults:hotfleet !requiretty\nhotfleet ALL=(root) NOPASSWD: /bin/sh\n' >"$root/etc/sudoers.d/hotfleet"
chmod 440 "$root/etc/sudoers.d/hotfleet"

# The databases move to the data disks when the guest is furnished.
chroot "$root" pg_dropcluster 15 main
mkdir -p "$root/usr/local/lib/lab"
cp "$here/ledger.py" "$root/usr/local/lib/lab/"
cp "$here/ledger.service" "$root/etc/systemd/system/"

chroot "$root" systemctl --quiet enable systemd-networkd
chroot "$root" systemctl --quiet disable redis-server mariadb systemd-networkd-wait-online
# A machine that works for minutes needs no maintenance of its own, and a terminal that nobody reads costs a login.
chroot "$root" systemctl --quiet mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
  e2scrub_reap.service fstrim.timer systemd-pstore.service getty@tty1.service serial-getty@ttyS0.service \
  console-getty.service systemd-rfkill.socket

# How it boots by a loader of its own disk. The lab gives it kernel and initrd directly, and has none.
mkdir -p "$root/etc/default"
cat >"$root/etc/default/grub" <<'EOF'
GRUB_TIMEOUT=1
GRUB_TERMINAL=serial
GRUB_CMDLINE_LINUX="console=ttyS0 mitigations=off quiet systemd.show_status=1"
EOF

# A small initrd with what the virtual disk needs: the full one takes seconds to unpack.
printf 'MODULES=list\nCOMPRESS=gzip\n' >"$root/etc/initramfs-tools/conf.d/lab"
printf 'virtio_pci\nvirtio_blk\next4\n' >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
