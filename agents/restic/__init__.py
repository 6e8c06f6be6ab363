"""The backup engine: what restic is called with, what it says, its keys, and repositories on this machine."""
