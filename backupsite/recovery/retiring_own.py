"""A device that leaves a policy has no rules of its own there any more: what they kept is held then.

By the policy's own rules years of restore points could go within hours, and nobody has agreed to that: the
removal of an own value by a person counts what goes, but a tag that is taken off, or a device that is taken
out of service, does not.
"""

from __future__ import annotations

from datetime import datetime

from backupsite.policies.effective import KEPT
from backupsite.policies.models import Override, Policy
from backupsite.recovery.models import RetentionHold
from backupsite.recovery.retiring_holds import hold


def hold_what_they_kept(policy: Policy, device_ids: list[int], now: datetime) -> None:
    """Given a policy and devices that leave it, hold those that have rules of their own there."""
    own = Override.objects.filter(assignment__policy=policy, assignment__device__in=device_ids, field=KEPT)
    for override in own.select_related("assignment__device"):
        device = override.assignment.device
        text = (
            f"{device.name} left the policy {policy.name}, and its own rules of what stays went with that. "
            "By the policy's rules its restore points may go. Lift this hold when they may; or add the "
            "device to the policy again, give it its own rules, and lift it then."
        )
        hold(device, RetentionHold.PERSON, text, now)
