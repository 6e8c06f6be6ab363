"""Servers of OpenLDAP of the tests, on directories of their own; and a writer that leaves an invariant."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from urllib.parse import quote

from agents.plan import SourceRequest
from tests.live.daemons import Daemon
from tests.live.ground import wait_until

_ME = "gidNumber=0+uidNumber=0,cn=peercred,cn=external,cn=auth"
_CONFIG = """dn: cn=config
objectClass: olcGlobal
cn: config
olcPidFile: {pid}
olcSizeLimit: unlimited

dn: cn=module{{0}},cn=config
objectClass: olcModuleList
cn: module{{0}}
olcModulePath: /usr/lib/ldap
olcModuleLoad: back_mdb

dn: cn=schema,cn=config
objectClass: olcSchemaConfig
cn: schema

include: file:///etc/ldap/schema/core.ldif

dn: olcDatabase={{0}}config,cn=config
objectClass: olcDatabaseConfig
olcDatabase: {{0}}config
olcRootPW: hidden-in-the-configuration

dn: olcDatabase={{1}}mdb,cn=config
objectClass: olcDatabaseConfig
objectClass: olcMdbConfig
olcDatabase: {{1}}mdb
olcSuffix: dc=example,dc=org
olcDbDirectory: {data}
olcDbMaxSize: 268435456
olcAccess: to * by dn.exact={me} manage by * none
"""
_TREE = """dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

"""


class Slapd:
    """A slapd on directories of its own, below a path that needs no permission of anybody else."""

    def __init__(self, folder: Path) -> None:
        self.config, self.data = folder / "slapd.d", folder / "data"
        # The path of a socket has 107 bytes at most; pytest's own folders are longer.
        short = Path(tempfile.mkdtemp(prefix="hotfleet-ldap-", dir="/tmp"))
        atexit.register(shutil.rmtree, short, ignore_errors=True)
        self.socket, self._pid_file = short / "ldapi", folder / "slapd.pid"
        for path in (self.config, self.data):
            path.mkdir(parents=True)

    def create(self) -> Slapd:
        text = _CONFIG.format(pid=self._pid_file, data=self.data, me=_ME)
        self.add(0, text)
        self.add(1, _TREE)
        return self

    def add(self, number: int, ldif: str) -> None:
        words = ["slapadd", "-q", "-F", str(self.config), "-n", str(number)]
        subprocess.run(words, input=ldif.encode("utf-8", "surrogateescape"), check=True, timeout=120)

    def start(self) -> None:
        url = f"ldapi://{quote(str(self.socket), safe='')}"
        # In the foreground, so that it is our child and ends with us.
        words = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "--",
            "slapd",
            "-d",
            "0",
            "-F",
            str(self.config),
            "-h",
            url,
        ]
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        wait_until(lambda: self._process.poll() is not None or self._answers(), timeout_s=60, what="slapd")
        assert self._process.poll() is None, "slapd ended"

    def _answers(self) -> bool:
        try:
            return bool(self.client("ldapwhoami"))
        except subprocess.CalledProcessError:
            return False

    def stop(self, how: int = signal.SIGTERM) -> None:
        self._process.send_signal(how)
        self._process.wait(60)
        self._pid_file.unlink(missing_ok=True)

    def client(self, program: str, *words: str, ldif: str = "") -> str:
        url = f"ldapi://{quote(str(self.socket), safe='')}"
        done = subprocess.run(
            [program, "-Q", "-Y", "EXTERNAL", "-H", url, *words],
            input=ldif, capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return done.stdout

    def count_broken(self) -> tuple[int, int]:
        """Return how many accounts there are, and how many of them break the invariant: the account that the
        writer made after another one says its name, so each but the first must find the one before it."""
        words = ("-LLL", "-o", "ldif-wrap=no", "-b", "dc=example,dc=org", "cn=*", "cn", "sn")
        said = self.client("ldapsearch", *words)
        pairs = {}
        for block in said.split("\n\n"):
            lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "cn" in lines:
                pairs[lines["cn"]] = lines["sn"]
        return len(pairs), sum(before not in pairs for name, before in pairs.items() if name != "0")


class Writer(threading.Thread):
    """Adds accounts one after the other until it is told to end; each names the one before it."""

    def __init__(self, slapd: Slapd) -> None:
        super().__init__()
        self._slapd = slapd
        self.ended = threading.Event()
        self.count = 0
        self.errors: list[str] = []

    def run(self) -> None:
        while not self.ended.is_set():
            entries = []
            for number in range(self.count, self.count + 50):
                name, before = str(number), str(max(number - 1, 0))
                entries.append(
                    f"dn: cn={name},dc=example,dc=org\nobjectClass: person\ncn: {name}\nsn: {before}\n"
                    f"description: {'x' * 500}\n"
                )
            try:
                self._slapd.client("ldapadd", ldif="\n".join(entries))
            except subprocess.CalledProcessError as error:
                self.errors.append(error.stderr)
                return
            self.count += 50


def request_for(slapd: Slapd, method: str = "") -> SourceRequest:
    return SourceRequest(application="openldap", instance=str(slapd.config), method=method)


class Service(Slapd):
    """A slapd that is a service of the device."""

    def __init__(self, folder: Path, state: Path, name: str) -> None:
        super().__init__(folder)
        url = f"ldapi://{quote(str(self.socket), safe='')}"
        self.daemon = Daemon(
            state, name, self.data, ["slapd", "-d", "0", "-F", self.config, "-h", url], "TERM"
        )

    def start(self) -> None:
        assert self.daemon.call("start") == 0
        self.wait()

    def wait(self) -> None:
        wait_until(self.answers, timeout_s=60, what="an answer of slapd")

    def answers(self) -> bool:
        try:
            self.client("ldapsearch", "-b", "dc=example,dc=org", "-s", "base")
        except Exception:
            return False
        return True

    def stop(self, how: int = 0) -> None:
        self.daemon.__exit__(None, None, None)
