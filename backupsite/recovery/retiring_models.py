"""By which clock restore points are removed."""

from __future__ import annotations

from django.db import models


class ClockMark(models.Model):
    """What the console's clock said, and how long its machine had been up: the two must go on alike. One row.

    `began_at` was read together with `began_s` (seconds since the start `boot_id`, sleep included). `seen_at`
    is what the clock said last.
    """

    boot_id = models.CharField(max_length=64)
    began_at = models.DateTimeField()
    began_s = models.FloatField()
    seen_at = models.DateTimeField()
