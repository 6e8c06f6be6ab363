"""A service with two files that agree only while it is stopped: `entries` (one "number amount" a line) and
`balance` ("number sum"). A copy that is made while it works is caught by `check`.

    ledger.py write FOLDER     works until SIGTERM, which it obeys between two entries
    ledger.py check FOLDER     prints the balance; status 1 and a sentence when the files disagree
"""

import os
import signal
import sys
import time
from pathlib import Path

PAUSE_S = 0.02


def read_entries(folder: Path) -> tuple[int, int]:
    """Given the ledger's folder, return how many entries there are and their sum. Raise ValueError when one
    is missing or torn."""
    count = total = 0
    for line in (folder / "entries").read_text().splitlines():
        number, amount = line.split()
        count += 1
        if int(number) != count:
            raise ValueError(f"entry {number} stands at place {count}")
        total += int(amount)
    return count, total


def read_balance(folder: Path) -> tuple[int, int]:
    count, total = (folder / "balance").read_text().split()
    return int(count), int(total)


def drop_torn_entry(path: Path) -> None:
    content = path.read_bytes() if path.exists() else b""
    with path.open("ab") as file:
        file.truncate(content.rfind(b"\n") + 1)


def write(folder: Path) -> None:
    is_over = False

    def stop(*_: object) -> None:
        nonlocal is_over
        is_over = True

    signal.signal(signal.SIGTERM, stop)
    drop_torn_entry(folder / "entries")
    count, total = read_entries(folder)  # an entry that was not booked when the power failed is booked now
    balance = os.open(folder / "balance", os.O_WRONLY | os.O_CREAT, 0o644)
    with (folder / "entries").open("a") as entries:
        while not is_over:
            os.pwrite(balance, f"{count:020d} {total:020d}\n".encode(), 0)
            time.sleep(PAUSE_S)
            count, total = count + 1, total + count % 97
            entries.write(f"{count} {(count - 1) % 97}\n")
            entries.flush()
            time.sleep(PAUSE_S)
    os.pwrite(balance, f"{count:020d} {total:020d}\n".encode(), 0)
    os.close(balance)


def check(folder: Path) -> None:
    entries, balance = read_entries(folder), read_balance(folder)
    if entries != balance:
        sys.exit(f"the balance is {balance}, the entries make {entries}")
    print(*balance)


if __name__ == "__main__":
    {"write": write, "check": check}[sys.argv[1]](Path(sys.argv[2]))
