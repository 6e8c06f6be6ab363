"""The record of every piece of work. The database is the only truth; Redis may be lost at any moment."""

from __future__ import annotations

import uuid

from django.db import models
from django.urls import reverse
from django.utils import timezone

from backupsite.fleet.models import Device, JumpHost, Tag
from backupsite.policies.models import Policy
from backupsite.repositories.models import Node
from backupsite.runs.states import State


class Run(models.Model):
    """One piece of work on one device, with exactly one final state.

    `request` says what to do (ids and paths, no secrets); `lease_token` is the worker that may write;
    `sequence` grows with every change that a page can show. `place` is where a run stands among those that
    wait: the earliest goes first (`places.py`). `beside`: the node of that device works on it, because what
    is restored onto this one lies there; None: the node of its own device.
    """

    BACKUP, RESTORE, PROBE, SCAN = "backup", "restore", "probe", "scan"
    COMEBACK, FORECAST, DRILL = "comeback", "forecast", "drill"
    BROWSE, DOWNLOAD, LOG, SAMPLE = "browse", "download", "log", "sample"
    CHECK, PRUNE, COPY, ADOPT = "check", "prune", "copy", "adopt"
    # These work on the device itself, or write to its repository; the others only read it, beside whatever
    # runs.
    KINDS_ON_DEVICE = [BACKUP, RESTORE, COMEBACK, FORECAST, PROBE, SCAN, LOG]
    # These work on a device's repository, without the device. A repository belongs to one device, so that the
    # same rule keeps them apart from its backups.
    KINDS_ON_REPOSITORY = [CHECK, PRUNE, COPY, ADOPT]
    KINDS = [
        (BACKUP, "Backup"),
        (RESTORE, "Restore"),
        (COMEBACK, "Restore of an application"),
        (FORECAST, "Forecast of a restore"),
        (DRILL, "Restore drill"),
        (SAMPLE, "Sample of a restore point"),
        (PROBE, "Device check"),
        (SCAN, "Host key scan"),
        (BROWSE, "Look into a restore point"),
        (DOWNLOAD, "Download"),
        (LOG, "Log of a database"),
        (CHECK, "Check of a repository"),
        (PRUNE, "Removal of old data"),
        (COPY, "Second copy"),
        (ADOPT, "Adoption of a repository"),
    ]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.PositiveBigIntegerField(unique=True)
    kind = models.CharField(max_length=8, choices=KINDS)
    # Without an index of its own: one of those below begins with it.
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="runs", db_index=False)
    policy = models.ForeignKey(Policy, null=True, blank=True, on_delete=models.SET_NULL, related_name="runs")
    request = models.JSONField(default=dict)
    requested_by = models.CharField(max_length=64)  # a user's name, or "schedule"
    # With an index of its own, below, of the few that have one.
    beside = models.ForeignKey(
        Device, null=True, blank=True, on_delete=models.SET_NULL, related_name="+", db_index=False
    )
    retry_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="retries"
    )
    attempt = models.PositiveSmallIntegerField(default=1)
    not_before = models.DateTimeField(null=True, blank=True)

    state = models.CharField(max_length=12, choices=State.choices, default=State.QUEUED)
    phase = models.CharField(max_length=12, blank=True)
    queued_at = models.DateTimeField()
    place = models.DateTimeField(default=timezone.now)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_by = models.CharField(max_length=64, blank=True)
    lease_token = models.CharField(max_length=32, blank=True)
    lease_until = models.DateTimeField(null=True, blank=True, db_index=True)
    worker = models.CharField(max_length=64, blank=True)

    sequence = models.PositiveIntegerField(default=0)
    bytes_done = models.BigIntegerField(default=0)
    bytes_total = models.BigIntegerField(null=True, blank=True)
    files_done = models.BigIntegerField(default=0)
    files_total = models.BigIntegerField(null=True, blank=True)
    stored_bytes = models.BigIntegerField(default=0)
    problem_count = models.PositiveIntegerField(default=0)
    freeze_ms = models.FloatField(null=True, blank=True)
    freeze_limit_ms = models.FloatField(null=True, blank=True)
    error_code = models.CharField(max_length=40, blank=True)
    error_text = models.TextField(blank=True)
    error_remedy = models.TextField(blank=True)
    error_detail = models.TextField(blank=True)

    class Meta:
        ordering = ["-number"]
        # SQLite knows no statistics: an index that begins with the kind would be taken for any query that
        # names one, and most runs are of one kind.
        indexes = [
            models.Index(fields=["device", "-number", "kind", "state"], name="runs_device_newest"),
            models.Index(fields=["state", "-number"], name="runs_state_newest"),
            # The pages about the fleet count a million runs from this alone, without reading the runs.
            models.Index(fields=["state", "kind", "queued_at", "device", "number"], name="runs_counted"),
            models.Index(
                fields=["-freeze_ms", "queued_at"],
                condition=models.Q(freeze_ms__isnull=False),
                name="runs_longest_freeze",
            ),
            models.Index(fields=["ended_at"], name="runs_ended"),
            models.Index(
                fields=["beside"], condition=models.Q(beside__isnull=False), name="runs_beside_another"
            ),
            # Of what has not ended: a few of the million, and in order.
            models.Index(
                fields=["state", "place", "number"],
                condition=models.Q(ended_at__isnull=True),
                name="runs_waiting",
            ),
        ]
        constraints = [
            # Two runs never work on one device at once: the database says so, not the code.
            models.UniqueConstraint(
                fields=["device"],
                condition=models.Q(
                    state="running",
                    kind__in=[
                        *("backup", "restore", "comeback", "forecast", "probe", "scan", "log"),
                        *("check", "prune", "copy", "adopt"),
                    ],
                ),
                name="runs_one_running_a_device",
            ),
            # Drills work on one machine, mostly the console's, whatever their device: one at a time.
            models.UniqueConstraint(
                fields=["kind"],
                condition=models.Q(state="running", kind="drill"),
                name="runs_one_running_drill",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.number}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.number])


class RunPhase(models.Model):
    """How long a phase of a run took. `ended_at` None: it is the current one, or the run was cut there."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="phases")
    name = models.CharField(max_length=12)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["id"]


class RunLine(models.Model):
    """A line of a run's log: words, a command, or a file with a problem. Text of a device is bounded."""

    LINE, COMMAND, FILE = "line", "command", "file"
    KINDS = [(LINE, "Line"), (COMMAND, "Command"), (FILE, "File")]

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="lines")
    sequence = models.PositiveIntegerField()
    at = models.DateTimeField()
    kind = models.CharField(max_length=8, choices=KINDS, default=LINE)
    level = models.CharField(max_length=8, default="info")
    text = models.TextField()

    class Meta:
        ordering = ["sequence"]
        constraints = [models.UniqueConstraint(fields=["run", "sequence"], name="runs_line_once")]


class RunSample(models.Model):
    """Progress once a second at most: the throughput picture. Older samples of long runs are thinned."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    bytes_done = models.BigIntegerField()
    stored_bytes = models.BigIntegerField()
    files_done = models.BigIntegerField()

    class Meta:
        ordering = ["id"]


class RunFreeze(models.Model):
    """A line of the freeze receipt: what waited (or stood still) for how long. `steps` is a list of
    [name, milliseconds] in their order."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="freezes")
    at = models.DateTimeField()
    what = models.CharField(max_length=200)
    milliseconds = models.FloatField()
    limit_ms = models.FloatField()
    is_stop = models.BooleanField(default=False)
    steps = models.JSONField(default=list)

    class Meta:
        ordering = ["id"]


class RunImpact(models.Model):
    """What the device felt at a moment (events.Impact): shares are 0 to 1, None is not measured there."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="impacts")
    at = models.DateTimeField()
    cpu = models.FloatField()
    cpu_pressure = models.FloatField(null=True)
    io_pressure = models.FloatField(null=True)
    memory_pressure = models.FloatField(null=True)
    disk_busy = models.FloatField()
    disk_wait_ms = models.FloatField()
    network_bytes_s = models.FloatField()

    class Meta:
        ordering = ["id"]


class RunFigure(models.Model):
    """A line of the impact receipt (events.Felt): a quantity before, on average and at worst; with a
    `subject` what that application counted of its own work."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="figures")
    subject = models.CharField(max_length=200, blank=True)
    name = models.CharField(max_length=32)
    before = models.FloatField(null=True)
    mean = models.FloatField(null=True)
    worst = models.FloatField(null=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "subject", "name"], name="runs_figure_once")]


class RunPause(models.Model):
    """The backup stood still so that the application could work. `reason` is one of events.Throttled."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="pauses")
    at = models.DateTimeField()
    seconds = models.FloatField()
    reason = models.CharField(max_length=16)

    class Meta:
        ordering = ["id"]


class RunCheck(models.Model):
    """One tick of a device check (events.Checked)."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checks")
    name = models.CharField(max_length=64)
    state = models.CharField(max_length=8)
    text = models.TextField()
    remedy = models.TextField(blank=True)
    at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["run", "name"], name="runs_check_once")]


class Outage(models.Model):
    """A site, what is behind a jump host, what a node backs up, or the whole fleet (none is named) does not
    answer.

    Until `ended_at` its runs wait, but for one now and then that tries whether it is back: the next one not
    before `next_try_at`. `device_count` is how many had failed when it was found.
    """

    scope = models.CharField(max_length=40)  # "fleet", or which of the others: one outage of each lasts
    site = models.ForeignKey(Tag, null=True, blank=True, on_delete=models.CASCADE, related_name="outages")
    jump_host = models.ForeignKey(
        JumpHost, null=True, blank=True, on_delete=models.CASCADE, related_name="outages"
    )
    node = models.ForeignKey(Node, null=True, blank=True, on_delete=models.CASCADE, related_name="outages")
    since = models.DateTimeField()
    device_count = models.PositiveIntegerField()
    tried_at = models.DateTimeField(null=True, blank=True)
    next_try_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-since"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(site=None, jump_host=None)
                | models.Q(site=None, node=None)
                | models.Q(jump_host=None, node=None),
                name="runs_outage_of_one",
            ),
            models.UniqueConstraint(
                fields=["scope"], condition=models.Q(ended_at=None), name="runs_outage_once"
            ),
        ]


class Counter(models.Model):
    """The next number of a sequence, taken under a conditional UPDATE. One row a name."""

    name = models.CharField(max_length=32, primary_key=True)
    value = models.PositiveBigIntegerField(default=0)


class TickLease(models.Model):
    """The right to run the tick: one row, taken by a conditional UPDATE. Two schedulers do no harm."""

    name = models.CharField(max_length=32, primary_key=True)
    holder = models.CharField(max_length=64, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    ticked_at = models.DateTimeField(null=True, blank=True)
