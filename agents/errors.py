"""One tree of errors. Each knows whether a retry can help and what the reader can do about it."""

from __future__ import annotations

from typing import ClassVar


class AgentError(Exception):
    """A piece of work ended without success for a reason that we understand.

    `message` is one sentence for the operator, `remedy` says what to do next, `detail` holds the last
    lines of a tool's output. All three may contain text from a device: escape them before showing.
    """

    code: ClassVar[str] = "failed"
    retryable: ClassVar[bool] = False
    # The tick of a check that it belongs to, where its class does not tell that.
    tick: str = ""

    def __init__(self, message: str, *, remedy: str = "", detail: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.detail = detail[-4000:]


class ConnectFailed(AgentError):
    """The device was not reached: DNS, routing, refused, or silent."""

    code = "unreachable"
    retryable = True


class ConnectionLost(AgentError):
    """The device was reached and then stopped answering."""

    code = "connection-lost"
    retryable = True


class HostKeyUnknown(AgentError):
    """Nobody approved a host key of this device yet."""

    code = "host-key-unknown"


class HostKeyChanged(AgentError):
    """The device shows another key than the approved one. Nothing was sent to it."""

    code = "host-key-changed"


class KeyRefused(AgentError):
    """The device does not accept the console's key for this user."""

    code = "key-refused"


class PrivilegeMissing(AgentError):
    """The user on the device may not do what the run needs."""

    code = "privilege-missing"


class ToolMissing(AgentError):
    """A program that the run needs is missing or too old on the device or on the console."""

    code = "tool-missing"


class PlatformRefused(AgentError):
    """The device is something that Hotfleet is not known to work on."""

    code = "platform-refused"


class ForwardingRefused(AgentError):
    """sshd on the device does not allow the reverse tunnel."""

    code = "forwarding-refused"


class SourceMissing(AgentError):
    """A path of the policy does not exist on the device, or an expected mount is not there."""

    code = "source-missing"


class PlanRefused(AgentError):
    """The facts do not allow what the policy demands (for example hot where no snapshot is possible)."""

    code = "plan-refused"


class CommandFailed(AgentError):
    """A command on the device ended with another status than the one that means success."""

    code = "command-failed"


class DeviceBusy(AgentError):
    """Another run of this or another console works on the device."""

    code = "device-busy"
    retryable = True


class HoursBlocked(AgentError):
    """The blocked hours of the policy began, and the run ends then. What was sent is kept."""

    code = "blocked-hours"


class FreezeTooLong(AgentError):
    """The application was held longer than the policy allows. It was resumed, the snapshot dropped."""

    code = "freeze-too-long"
    retryable = True


class QuiesceFailed(AgentError):
    """An application could not be held still, or did not let go by itself. It was resumed."""

    code = "quiesce-failed"
    retryable = True


class ServiceDown(AgentError):
    """A service that was stopped for a cold backup does not run again. The loudest alert there is."""

    code = "service-down"


class SnapshotBroken(AgentError):
    """The space for a snapshot is used up, or was about to be: what it shows cannot be trusted."""

    code = "snapshot-broken"
    retryable = True


class DeviceHealed(AgentError):
    """The reaper on the device ended the run because the console was silent for too long."""

    code = "device-healed"
    retryable = True


class ProtocolBroken(AgentError):
    """The device or restic said something that cannot be understood. Unknown is never success."""

    code = "protocol-broken"


class RepositoryRefused(AgentError):
    """The gateway gave a final refusal (a broken rule, a fenced run)."""

    code = "repository-refused"


class RepositoryFull(AgentError):
    """There is no space left where the repository lives."""

    code = "repository-full"
    retryable = True


class RepositoryBroken(AgentError):
    """The repository cannot be opened or read back."""

    code = "repository-broken"


class RepositoryDamaged(AgentError):
    """A check read the repository, and something of it is not what was stored."""

    code = "repository-damaged"


class ResticFailed(AgentError):
    """restic ended with a status that is not success. Unknown statuses land here too."""

    code = "restic-failed"
    retryable = True


class RestoreTargetRefused(AgentError):
    """The folder to restore into is unsafe: it exists with content, or others may write to its parents."""

    code = "restore-target-refused"


class ComebackFailed(AgentError):
    """An application did not work on the restored data. What was there before is in place again."""

    code = "comeback-failed"


class DrillRefuted(AgentError):
    """Restore points were restored and tried, and what came out is not good."""

    code = "drill-failed"


class Cancelled(AgentError):
    """A person asked the run to stop."""

    code = "cancelled"


class LeaseLost(AgentError):
    """Another worker holds the run now: this one must stop and must not write any more."""

    code = "lease-lost"
