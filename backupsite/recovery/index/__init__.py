"""The index: every path of every restore point of a device, kept on the console.

A *series* is the restore points of one source and part, one after the other. A *state* is what one or more
of them hold, with an *ordinal* counted from 1 in its series: restore points of one tree share a state. A
*version* is one path as it was from its `first` state to its `last`; OPEN says that the newest state still
has it. So an unchanged file is one row however many restore points hold it.

One SQLite file for each device in HOTFLEET_HOME/index. Nothing in it is a record: a file that is lost, broken
or of another layout is removed and made again from the repository (`catching_up`). Readers answer None for a
restore point that is not in it; the repository itself must be asked then.
"""
