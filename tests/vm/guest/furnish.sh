#!/bin/sh
# Runs once in the guest, as root: what the tests find on the data disks. The disks are kept afterwards.
set -eux

pvcreate -q /dev/vdb /dev/vdc
vgcreate -q data /dev/vdb /dev/vdc
lvcreate -q -y -n ext -L 1G data
lvcreate -q -y -n xfs -L 1G data
lvcreate -q -y --type thin-pool -n pool -L 1200M data
lvcreate -q -y -n thin -V 1G --thinpool pool data

mkfs.ext4 -q /dev/data/ext
mkfs.xfs -q /dev/data/xfs
mkfs.xfs -q /dev/data/thin
for name in ext xfs thin; do
  mkdir -p "/srv/$name"
  kind=xfs
  [ "$name" != ext ] || kind=ext4
  printf '/dev/data/%s /srv/%s %s noatime,nofail 0 2\n' "$name" "$name" "$kind" >>/etc/fstab
done
systemctl daemon-reload
mount -a

cat >>/etc/postgresql-common/createcluster.conf <<'EOF'
initdb_options = '--data-checksums --locale=C.UTF-8'
EOF
for place in xfs thin; do
  cluster=main port=5432 start=auto
  [ "$place" = xfs ] || { cluster=thin port=5433 start=manual; }
  mkdir -p "/srv/$place/postgresql"
  chown postgres: "/srv/$place/postgresql"
  pg_createcluster 15 "$cluster" -d "/srv/$place/postgresql/$cluster" -p "$port" --start-conf "$start"
  printf 'shared_buffers = 32MB\nmax_connections = 40\nmax_wal_size = 128MB\nmin_wal_size = 64MB\n' \
    >"/etc/postgresql/15/$cluster/conf.d/lab.conf"
done

cp -a /var/lib/mysql /srv/ext/mysql
rm -rf /var/lib/mysql
mkdir -m 755 /var/lib/mysql
chown mysql: /var/lib/mysql
cat >/etc/mysql/mariadb.conf.d/60-lab.cnf <<'EOF'
[mariadbd]
datadir = /srv/ext/mysql
innodb_buffer_pool_size = 32M
innodb_log_file_size = 48M
EOF
mkdir -p /etc/systemd/system/mariadb.service.d /etc/systemd/system/postgresql@.service.d
printf '[Unit]\nRequiresMountsFor=/srv/ext\n' >/etc/systemd/system/mariadb.service.d/lab.conf
printf '[Unit]\nRequiresMountsFor=/srv/xfs /srv/thin\n' >/etc/systemd/system/postgresql@.service.d/lab.conf

useradd --system --no-create-home ledger
mkdir /srv/ext/ledger
chown ledger: /srv/ext/ledger

systemctl daemon-reload
systemctl enable ledger mariadb
systemctl start postgresql@15-main mariadb ledger
runuser -u postgres -- psql -p 5432 -c 'SELECT 1'
mariadb -e 'SELECT 1'
sync
