"""A whole machine: Debian 12 in QEMU, with systemd, LVM, PostgreSQL, MariaDB and a cold service."""
