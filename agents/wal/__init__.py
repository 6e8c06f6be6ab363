"""PostgreSQL's write-ahead log, streamed into the console: an instance comes back to any moment.

Words: the *stream* is a supervised program on the device that hands over the log, second by second; the
*spool* is a directory of the console with the newest of it, on disk before the device may forget it; a
*batch* is a restic snapshot of full segments; a *stretch* is log without a gap; a *tick* says up to where the
log was on the server's disk at a time; the *coverage* is the moments that can be reached.

    stream(request, open_session, *, tell, control)      until it is stopped; AgentError otherwise
    store_batch(place, binary, spool, host=..., ...)     full segments into the repository, out of the spool
    read_spool(spool) -> tuple[Piece, ...]               what is in the spool
    coverage(bases, pieces) -> tuple[Window, ...]        pure
    base_for(moment, bases, pieces) -> Base | None       pure
    drop_slot(request, open_session, *, tell)            nothing is left on the device
"""
