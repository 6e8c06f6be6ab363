"""`manage.py serve`: everything that the console consists of, started, watched and stopped by one command.

A *program* is something that has to run (Valkey, web, a worker pool, the tick); a *child* is the process
that runs it now. Programs are forked from one parent that has loaded everything already: they share its
memory, and a restart takes milliseconds.
"""
