"""The parts of the flow by which an application comes back (agents/comeback.py).

Words: a *seat* is what is replaced (a directory, a file) with its folder; its *staging* is a fresh
directory of root's in that folder, with `raw/` (streams to be worked on), `new/` (what comes) and `old/`
(what was there).
"""
