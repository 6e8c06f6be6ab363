"""Runs on a device: opens connections to a port, or a unix socket, and compares what comes back.

    tunnel_client.py <port or path> <connections> <bytes each> [<folder>]

Prints one line per connection: "same", "differs", or the name of the error. Each that has ended leaves a file
in the folder.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from pathlib import Path


def talk(place: str, size: int) -> str:
    sent = os.urandom(size)
    received = bytearray()
    try:
        family = socket.AF_INET if place.isdigit() else socket.AF_UNIX
        with socket.socket(family, socket.SOCK_STREAM) as connection:
            connection.settimeout(60)
            connection.connect(("127.0.0.1", int(place)) if place.isdigit() else place)
            sender = threading.Thread(target=connection.sendall, args=(sent,))
            sender.start()
            while len(received) < size and (data := connection.recv(65536)):
                received += data
            sender.join()
    except OSError as failure:
        return type(failure).__name__
    return "same" if received == sent else "differs"


def main(place: str, connections: int, size: int, *folder: str) -> None:
    results = [""] * connections

    def work(number: int) -> None:
        results[number] = talk(place, size)
        for each in folder:
            Path(each, str(number)).touch()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print("\n".join(results))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
