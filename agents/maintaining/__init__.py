"""Keeping repositories whole: reading what is stored, checking how it hangs together, removing what is old.

A *finding* is something of a repository that is not what was stored; a *stray* is a snapshot of restic that
no catalogue names; the *record* says when each file was last read and found whole.
"""
