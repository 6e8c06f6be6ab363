"""The only door to a repository during a run: restic's REST protocol on any byte stream, append-only.

Words: a *target* is what a request names; an *upload* is a file on its way in, invisible until published; a
*refusal* is a request that was not served, with the reason; the *journal* lists every file that a run made.
"""

from agents.gateway.credentials import Credentials, KeyFile, make_credentials
from agents.gateway.gateway import Gateway
from agents.gateway.journal import Entry, Journal, read_broken_rule, read_journal
from agents.gateway.local import LocalStore
from agents.gateway.quarantine import set_aside
from agents.gateway.rules import Refusal, Rights
from agents.gateway.store import Store, StoreFailed
from agents.gateway.target import Kind, Target
from agents.gateway.wire import Timeouts

__all__ = [
    "Credentials",
    "Entry",
    "Gateway",
    "Journal",
    "KeyFile",
    "Kind",
    "LocalStore",
    "Refusal",
    "Rights",
    "Store",
    "StoreFailed",
    "Target",
    "Timeouts",
    "make_credentials",
    "read_broken_rule",
    "read_journal",
    "set_aside",
]
