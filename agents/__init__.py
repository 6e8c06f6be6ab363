"""What Hotfleet does *on* a device, from outside. No Django, no database: usable from a plain script.

device       a server that is backed up, reached over SSH, or the console's own machine
session      an open way to a device: it runs commands and carries byte streams (`session.py`)
runner       the POSIX-sh supervisor that runs on the device while a run lasts (`runner/`)
fact         something read from a device: a command and the parser of its output (`facts/`)
plan         what a run will do, decided from facts before anything is touched (`plan.py`)
snapshot     a frozen view of a file system on a device, gone after the run (`snapshots/`)
gateway      the only door to a repository during a run, served inside the worker (`gateway/`)
flow         one piece of work from start to end: `probe.py backup.py browse.py restore.py`

Text from a device is kept as `str` decoded with `surrogateescape`, so that every byte survives the way back.
"""
