"""The supervisor of one run on a device.

Words: a *step* is a command that ends soon; a *long program* runs for minutes in its own mount namespace;
the *journal* holds the undo steps that are still *owed*; *heartbeats* of the console extend the *deadline*;
the *reaper* ends the run on the device when the deadline passed, the channel ended or the supervisor died.
"""

from agents.binds import NO_LIMITS, Bind, Limits
from agents.runner.program import SupervisedProgram
from agents.runner.runner import Runner

__all__ = ["NO_LIMITS", "Bind", "Limits", "Runner", "SupervisedProgram"]
