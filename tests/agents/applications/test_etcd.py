"""What a member was started with becomes the way to ask it, or a reason why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.applications import Ground, Patience
from agents.applications.etcd import Etcd
from agents.errors import PlanRefused, ProtocolBroken
from agents.facts import Instance
from tests.agents.facts.samples import make_facts

CASES = Path(__file__).resolve().parents[2] / "cases" / "etcd"
SCATTERED = Ground(False, "its files lie on 2 volumes")
KUBEADM = """name=master1
data-dir=/var/lib/etcd
listen-client-urls=https://127.0.0.1:2379,https://10.0.0.4:2379
client-cert-auth=true
cert-file=/etc/kubernetes/pki/etcd/server.crt
key-file=/etc/kubernetes/pki/etcd/server.key
trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt"""


def parse(flags: str, said: str = "", *, contained: str = "0", client: str = "/usr/bin/etcdctl") -> Instance:
    row = ("0", "0", contained, "etcd.service", "/var/lib", client, "3.4.23", "1000", flags, said)
    (instance,) = Etcd().parse("".join(f"{each}\0" for each in row).encode(), make_facts())
    return instance


def test_a_recorded_answer_of_etcd_3_4() -> None:
    (instance,) = Etcd().parse((CASES / "look-3.4.bin").read_bytes(), make_facts())
    assert (instance.name, instance.label, instance.places) == (
        "/tmp/etcdx/data",
        "etcd m1",
        ("/tmp/etcdx/data",),
    )
    (offer,) = Etcd().offers(instance, SCATTERED, make_facts())
    assert (offer.method, offer.consistency.value) == ("stream", "application")
    recipe = Etcd().recipe(instance, "stream", Patience(), "/var/tmp/.run")
    (stream,) = recipe.streams
    options = ("--endpoints=http://127.0.0.1:12379", "--dial-timeout=5s")
    assert stream.producer.argv[3:] == ("save", "/var/tmp/.run", "/usr/bin/etcdctl", *options)
    assert recipe.scratch_bytes > 20480


def test_the_defaults_are_those_of_etcd() -> None:
    instance = parse("")
    assert (instance.name, instance.label) == ("/var/lib/default.etcd", "etcd default")
    assert instance.detail("options").startswith("--endpoints=http://localhost:2379")


def test_a_member_of_kubernetes_is_asked_with_its_own_certificate() -> None:
    instance = parse(KUBEADM)
    assert instance.detail("options").split("\n") == [
        "--endpoints=https://127.0.0.1:2379",
        "--dial-timeout=5s",
        "--cacert=/etc/kubernetes/pki/etcd/ca.crt",
        "--cert=/etc/kubernetes/pki/etcd/server.crt",
        "--key=/etc/kubernetes/pki/etcd/server.key",
    ]
    notes = Etcd().recipe(instance, "stream", Patience(), "/s").notes
    assert "--mark-compacted" in notes[1]


def test_a_configuration_file_replaces_everything_else() -> None:
    instance = parse("", "data-dir: '/srv/etcd'\nlisten-client-urls: http://0.0.0.0:2379\n")
    assert instance.places == ("/srv/etcd",)
    assert instance.detail("options").startswith("--endpoints=http://127.0.0.1:2379")


def test_a_log_of_its_own_is_a_place_too() -> None:
    assert parse("data-dir=/a\nwal-dir=/b").places == ("/a", "/b")


@pytest.mark.parametrize(
    ("instance", "missing"),
    [
        (parse(KUBEADM, client=""), "etcd-client"),
        (parse(KUBEADM.replace("key-file", "no-file")), "--key"),
        (parse(KUBEADM, contained="1"), "kubectl exec"),
        (parse("listen-client-urls=gopher://x"), "no address"),
    ],
)
def test_what_is_missing_is_said_and_nothing_is_offered(instance: Instance, missing: str) -> None:
    assert missing in " ".join(instance.problems)
    assert Etcd().offers(instance, SCATTERED, make_facts()) == ()
    with pytest.raises(PlanRefused):
        Etcd().recipe(instance, "stream", Patience(), "/s")


@pytest.mark.parametrize(
    "output",
    [b"0\0", b"x\0" * 10, b"0\x000\x002\0\0/\0\0\x00\x001\0\0\0", b"0\x000\x000\0\0.\0\0\x00\x001\0\0\0"],
)
def test_nonsense_is_refused(output: bytes) -> None:
    with pytest.raises(ProtocolBroken):
        Etcd().parse(output, make_facts())
