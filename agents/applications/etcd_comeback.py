"""etcd comes back: the directory of a member, or one made from a snapshot that a member saved."""

from __future__ import annotations

from agents.applications.comebacks import (
    AS_OWNER,
    Check,
    Choice,
    Comeback,
    Course,
    Fetch,
    Home,
    Preparation,
    Seat,
    Way,
    course_of_files,
    name_of,
    refuse_method,
)
from agents.applications.keepers import Keeper
from agents.applications.recipes import STREAM
from agents.applications.stored import Stored
from agents.commands import Command
from agents.errors import PlanRefused
from agents.facts import Instance

_ARCHIVE = "etcd.snapshot"
_SEVERAL = "it is one of several members, and all of them come back from one snapshot together"
_TOGETHER = "Follow etcd's guide for disaster recovery, with etcd.snapshot restored into a folder."
# $1 the name of the directory, $2 owner, then options of the restore: the member's own name and addresses.
# etcdutl has it from 3.5 on, and alone from 3.6 on. It compares the hash at the end of the snapshot.
_MAKE = (
    AS_OWNER
    + r"""
set -u
name=$1
give_folder "$1" "$2" || exit 1
shift 2
tool=$(command -v etcdutl || command -v etcdctl) ||
  { echo 'neither etcdutl nor etcdctl is installed here: install one' >&2; exit 1; }
mv raw/etcd.snapshot work/snapshot && chown "$owner" work/snapshot || exit 1
(ETCDCTL_API=3 && export ETCDCTL_API &&
  as_owner_of work "$tool" snapshot restore /mnt/snapshot --data-dir /mnt/data "$@") >restored.log 2>&1 || {
  tail -n 3 restored.log >&2
  exit 1
}
mv -T work/data "new/$name"
"""
)


class EtcdComeback(Comeback):
    name = "etcd"
    owner = "etcd"
    usual = {"/var/lib/etcd": "etcd", "/var/lib/etcd/default": "etcd"}

    def places(self, stored: Stored, known: tuple[str, ...]) -> tuple[str, ...]:
        """A member is called by its data directory; its log may lie elsewhere."""
        return (stored.instance, *(place for place in known if place != stored.instance))

    def choices(self, stored: Stored, home: Home) -> tuple[Choice, ...]:
        if _is_one_of_several(home):
            return (Choice(Way.IN_PLACE, False, _SEVERAL, _TOGETHER),)
        where = f"all of it replaces {home.data}; what is there is kept until the new answers"
        return (Choice(Way.IN_PLACE, True, where),)

    def course(self, stored: Stored, home: Home, keeper: Keeper) -> Course:
        if _is_one_of_several(home):
            raise PlanRefused(f"{home.label}: {_SEVERAL}", remedy=_TOGETHER)
        if stored.is_files:
            return course_of_files(stored, home, keeper, ())
        if stored.way != STREAM or len(home.places) > 1:
            raise refuse_method(stored)
        fetch = Fetch(0, stored.part(_ARCHIVE), f"/{_ARCHIVE}", is_raw=True)
        owner = f"{home.detail('uid')}:{home.detail('gid')}" if home.detail("uid") else home.owner
        label = f"{home.label}: make a member of the snapshot"
        make = Preparation(0, label, _MAKE, (name_of(home.data), owner, *_identity(home)))
        return Course(home, keeper, (Seat(home.data),), (fetch,), (make,), factor=3)

    def checks(self, instance: Instance) -> tuple[Check, ...]:
        if not instance.detail("client"):
            return ()
        options = instance.detail("options").split("\n")
        words = ("env", "ETCDCTL_API=3", instance.detail("client"), *options)
        return (Check("the member is healthy", Command.of(*words, "endpoint", "health")),)


def _is_one_of_several(home: Home) -> bool:
    return "," in home.detail("cluster")


def _identity(home: Home) -> tuple[str, ...]:
    """The name and addresses under which the member is started: those of another would be another member."""
    name, peers = home.detail("name"), home.detail("peers")
    words = [f"--name={name}"] if name else []
    if name and peers:
        cluster = home.detail("cluster") or f"{name}={peers.partition(',')[0]}"
        words += [f"--initial-advertise-peer-urls={peers}", f"--initial-cluster={cluster}"]
    if home.detail("token"):
        words.append(f"--initial-cluster-token={home.detail('token')}")
    return tuple(words)
