"""The web process: one uvicorn on a socket that the supervisor holds, so that a restart refuses nobody."""

from __future__ import annotations

import http.client
import socket
import warnings
from collections.abc import Callable
from urllib.parse import urlsplit

import uvicorn
from django.conf import settings
from django.db import connections

STOP_WITHIN_S = 10


class PortBusyError(Exception):
    """Somebody else listens there. Its text is for the person at the terminal."""


def reserve_port(port: int) -> socket.socket:
    """Given a port, return a socket bound to it on 127.0.0.1, not listening yet. Raise PortBusyError."""
    reserved = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind(("127.0.0.1", port))
    except OSError as error:
        reserved.close()
        raise PortBusyError(
            f"Port {port} on 127.0.0.1 cannot be used: {error.strerror}. "
            "Stop what listens there, or set HOTFLEET_PORT to another port."
        ) from error
    return reserved


def run(reserved: socket.socket) -> Callable[[], None]:
    """Given the reserved socket, return what the web process does."""

    def serve() -> None:
        use_connection_pool()
        # WhiteNoise reads a static file whole, in a thread: known, measured (2.5 ms) and fine for a console.
        warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")
        config = uvicorn.Config(
            "backupsite.asgi:application",
            workers=1,
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=settings.IS_BEHIND_TLS,
            forwarded_allow_ips="127.0.0.1",
            timeout_graceful_shutdown=STOP_WITHIN_S,
            ws_max_size=65536,
            ws_per_message_deflate=False,
        )
        uvicorn.Server(config).run(sockets=[reserved])

    return serve


def use_connection_pool() -> None:
    """Let the web process, which answers each request in a thread, keep PostgreSQL connections open.

    Nowhere else: each forked worker would hold a pool of its own.
    """
    database = connections.settings["default"]
    if database["ENGINE"] == "django.db.backends.postgresql":
        database["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 8, "timeout": 10}
        # Asked before use, so that a restart of PostgreSQL costs nobody an error page.
        database["CONN_HEALTH_CHECKS"] = True


def answers(port: int) -> bool:
    """Return True when the console answers at the port and can read its database."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz", headers={"Host": urlsplit(settings.HOTFLEET_ORIGINS[0]).netloc})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
