"""A whole machine: Debian 12 in QEMU, with systemd, LVM, PostgreSQL, MariaDB and a cold service.

What is where in it (`guest/furnish.sh` makes it):

- volume group `data` on /dev/vdb and /dev/vdc, half of it free for snapshots
- `data/ext` (1 GB, ext4) on /srv/ext: MariaDB in /srv/ext/mysql, the service `ledger` in /srv/ext/ledger
- `data/xfs` (1 GB, XFS) on /srv/xfs: PostgreSQL 15 cluster `main`, port 5432, in /srv/xfs/postgresql/main
- `data/thin` (1 GB, XFS, of the thin pool `data/pool`) on /srv/thin: PostgreSQL 15 cluster `thin`, port 5433,
  in /srv/thin/postgresql/thin, which does not run until `pg_ctlcluster 15 thin start`
- users: `root` and `hotfleet` (reaches root by the generated sudo rule), both with the console's key; the
  databases are reached as their system users (`runuser -u postgres`, `mariadb` as root)
- `python3 /usr/local/lib/lab/ledger.py check FOLDER` says whether a copy of its files is whole
- redis-server is installed and does not run

A sample of the tests runs by default (7 minutes on two busy cores); HOTFLEET_CAMPAIGN=full adds what is
marked `full`: 28 minutes for 45 tests on 22 November 2026, while others worked on the same two cores.
The first boot of a test run takes 30 s on two idle cores, a reboot 30 s, the image (once) 100 s.
"""
