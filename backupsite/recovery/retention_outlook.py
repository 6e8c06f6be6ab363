"""What rules for retention mean: which moments will exist, how much room they take, what goes at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from django.db.models import Count, Max, Min, Sum
from django.utils.html import format_html
from django.utils.safestring import SafeString

from backupsite.fleet.models import Device
from backupsite.policies.effective import KEPT
from backupsite.policies.models import Override, Policy
from backupsite.policies.planning import Planner
from backupsite.policies.retention import Copy, Rules, judge
from backupsite.policies.schedule import find_zone
from backupsite.recovery import retiring
from backupsite.recovery.models import RestorePoint
from backupsite.recovery.retiring_history import find_needed, judge_device
from backupsite.recovery.retiring_holds import looked_at
from backupsite.web.charts import svg
from backupsite.web.charts.timeline import find_place
from backupsite.web.formatting import format_moment

LEFT, RIGHT, LANE = 0.22, 0.97, 24
LANES = ("last", "hour", "day", "week", "month", "year", "age")
NAMES = ("Last", "Hourly", "Daily", "Weekly", "Monthly", "Yearly", "Too young")
TICKS = (
    ("1 h", 3600),
    ("1 day", 86_400),
    ("1 week", 604_800),
    ("1 month", 2_592_000),
    ("1 year", 31_536_000),
)
# Of the newest time each run is imagined, before it one a day.
MOST_RUNS, MOST_DAYS = 2000, 3700
MOST_DEVICES = 50
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Outlook:
    """`kept` are the moments that will exist of each source, once it has been backed up for long. `least` and
    `most` bytes in the repositories, None without a restore point to reckon from. `goes` restore points would
    go at once of `looked` devices of `devices`."""

    kept: Sequence[tuple[datetime, Sequence[str]]]
    picture: SafeString
    least: int | None
    most: int | None
    goes: int
    goes_devices: int
    looked: int
    devices: int


def look_ahead(policy: Policy, rules: Rules, now: datetime) -> Outlook:
    """Given a stored policy and rules for it, return what they mean. Runs some five queries a device."""
    zone = find_zone(policy.time_zone)
    times = imagine_times(policy, now)
    fates = judge([Copy(at, at) for at in times], rules, now, zone)
    kept = [(fate.copy.made_at, fate.reasons) for fate in fates if fate.stays]
    least, most = estimate(policy, [at for at, _ in kept], now)
    # Not a join: it would sort all devices once for each of their restore points.
    owners = RestorePoint.objects.filter(policy=policy).order_by().values("device")
    found = Device.objects.filter(pk__in=owners).order_by("pk")
    devices = list(found[:MOST_DEVICES])
    going = [count_going(policy, rules, device, now) for device in devices]
    return Outlook(
        kept, draw(kept, now), least, most, sum(going), sum(map(bool, going)), len(devices), found.count()
    )


def imagine_times(policy: Policy, now: datetime) -> list[datetime]:
    """Given a policy, return moments as its runs will have made them: as far apart as they are from now on,
    those of a day's distance before. By hand: one a day. Runs two queries."""
    starts = [start.at for start in islice(Planner.of(policy).starts_after(now), 60)]
    gap = (starts[-1] - starts[0]) / (len(starts) - 1) if len(starts) > 1 else DAY
    recent = [now - gap * number for number in range(MOST_RUNS)]
    older = recent[-1]
    return [*recent, *(older - max(DAY, gap) * number for number in range(1, MOST_DAYS))]


def estimate(policy: Policy, kept: Sequence[datetime], now: datetime) -> tuple[int | None, int | None]:
    """Return about how much the restore points of a policy will take, at least and at most: the first copy of
    each source, and what is new in each one that stays, or all that was new since the oldest. One query."""
    rows = (
        RestorePoint.objects.filter(policy=policy, resting_since=None)
        .order_by()
        .values("device", "source", "part")
        .annotate(count=Count("pk"), stored=Sum("stored_bytes"), first=Max("stored_bytes"),
                  size=Min("size_bytes"), since=Min("made_at"), until=Max("made_at"))
    )  # fmt: skip
    if not kept:
        return None, None
    age_days = (now - min(kept)) / DAY
    least = most = 0
    is_known = False
    for row in rows:
        is_known = True
        first, news = row["first"], row["stored"] - row["first"]
        least += first + round(news / max(row["count"] - 1, 1) * (len(kept) - 1))
        days = max((row["until"] - row["since"]) / DAY, 1)
        most += first + round(news / days * age_days)
    return (min(least, most), max(least, most)) if is_known else (None, None)


def count_going(
    policy: Policy, rules: Rules, device: Device, now: datetime, *, for_device: bool = False
) -> int:
    """Return how many restore points of a device would go at the next look by these rules, meant for
    its policy, where the device's own come first, or for the device. Runs seven queries."""
    stored = retiring.read_stored(device)
    known = retiring.read_rules(stored)
    own = Override.objects.filter(assignment__policy=policy, assignment__device=device, field=KEPT)
    if for_device or not own.exists():
        known[policy.pk] = (rules, policy)
    judged = judge_device(
        stored, known, now, needed=find_needed(device.pk, stored), looked=looked_at(device.pk, now)
    )
    going = [each.stored for each in judged if not each.stays]
    return sum(len(each.points) for each in going if each.first.policy_id == policy.pk)


def draw(kept: Sequence[tuple[datetime, Sequence[str]]], now: datetime) -> SafeString:
    """Given the moments that will exist, each with its reasons, return them as a picture, a lane a rule."""
    lanes: dict[str, list[datetime]] = {}
    for at, reasons in kept:
        for reason in reasons:
            lanes.setdefault(lane_of(reason), []).append(at)
    shown = [(lane, name) for lane, name in zip(LANES, NAMES, strict=True) if lane in lanes]
    oldest = max((now - at for at, _ in kept), default=DAY) * 1.05
    bottom = LANE * max(len(shown), 1)
    body = _ticks(oldest, bottom)
    for number, (lane, name) in enumerate(shown):
        y = LANE * number + LANE / 2
        body.append(svg.line(svg.percent(LEFT), y, svg.percent(RIGHT), y, "grid-line"))
        body.append(svg.text("0", y + 4, name))
        for at in sorted(set(lanes[lane])):
            place = LEFT + (RIGHT - LEFT) * find_place(now - at, oldest)
            body.append(
                format_html(
                    '<circle cx="{}" cy="{}" r="4" class="mark running"><title>{}</title></circle>',
                    svg.percent(place), svg.number(y), format_moment(at),
                )
            )  # fmt: skip
    days = round(oldest / DAY / 1.05)
    noun = "moment" if len(kept) == 1 else "moments"
    summary = f"{len(kept):,} {noun} of each source, the oldest of about {days:,} days ago."
    return svg.figure(svg.chart("retention", "Moments that will exist", summary, bottom + 22, body), summary)


def lane_of(reason: str) -> str:
    """Given why a copy stays, return the lane of the picture."""
    if reason.startswith("the newest of the "):
        return reason.split()[4]
    return "age" if reason.startswith("younger") else "last"


def _ticks(oldest: timedelta, bottom: float) -> list[SafeString]:
    ticks = [svg.text(svg.percent(RIGHT), bottom + 16, "Now", "middle", "strong")]
    last = RIGHT
    for label, age_s in TICKS:
        place = LEFT + (RIGHT - LEFT) * find_place(timedelta(seconds=age_s), oldest)
        if age_s < oldest.total_seconds() and last - place >= 0.14:
            ticks.append(svg.text(svg.percent(place), bottom + 16, label, "middle"))
            last = place
    return ticks
