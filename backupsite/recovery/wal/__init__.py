"""Logs of PostgreSQL that are followed, so that it can come back to any moment.

Words: a *stream* is the supervised reading of one log; a *wish* is a policy's that it exists; its *slot*
keeps on the device what was not read yet, up to a limit of the device's own; the *spool* holds the newest of
the log beside the repository; a *batch* is a part of it in the repository; a *window* is a span of moments
that can be reached, from a *base* (a restore point of the whole instance) on.
"""
