"""Rings the pages that show a run: hints through Redis to the groups of the live sockets.

A hint is never state and never awaited: the pages also poll, so a bell that does not ring fails nothing.
"""

from __future__ import annotations

import logging
import time
import uuid
from functools import cache
from typing import Any

from channels.layers import get_channel_layer
from channels_redis.pubsub import RedisPubSubChannelLayer
from django.conf import settings
from django.db import transaction
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from backupsite.runs.models import Run

log = logging.getLogger(__name__)

FLEET = "fleet"
WARN_S = 60.0
_warned_at = float("-inf")


def group_of_run(run_id: uuid.UUID) -> str:
    return f"run.{run_id}"


def group_of_device(device_uuid: uuid.UUID) -> str:
    return f"device.{device_uuid}"


def group_of_user(user_id: int) -> str:
    return f"user.{user_id}"


def ring(run_id: uuid.UUID, device_uuid: uuid.UUID, sequence: int) -> None:
    """Tell the pages of a run, its device and the fleet that there is something new. Never raises."""
    message = {"type": "hint", "id": str(run_id), "seq": sequence}
    publish([group_of_run(run_id), group_of_device(device_uuid), FLEET], message)


def ring_on_commit(run: Run) -> None:
    """Ring for this run when the transaction commits; its pages look up what is new themselves."""
    transaction.on_commit(lambda: ring(run.pk, run.device.uuid, run.sequence), robust=True)


def publish(groups: list[str], message: dict[str, object]) -> None:
    """Send a message to groups of sockets from a process without an event loop. Never raises, logs instead.

    Speaks the wire format of RedisPubSubChannelLayer on one long-lived connection: its own `group_send` needs
    an event loop and, in a process without one, opens a connection for each call.
    """
    layer = get_channel_layer()
    if not isinstance(layer, RedisPubSubChannelLayer):
        raise TypeError("CHANNEL_LAYERS must name RedisPubSubChannelLayer.")
    config: Any = settings.CHANNEL_LAYERS["default"]["CONFIG"]
    prefix = config["prefix"]
    try:
        with _client(settings.REDIS_URL).pipeline(transaction=False) as pipeline:
            for group in groups:
                # The socket that gets it learns from `group` which of its topics this is.
                data = layer.serialize(message | {"group": group})
                pipeline.publish(f"{prefix}__group__{group}", data)
            pipeline.execute()
    except RedisError as error:
        _warn(error)


def _warn(error: RedisError) -> None:
    """Log it once a minute: each running run rings once a second."""
    global _warned_at
    if time.monotonic() - _warned_at > WARN_S:
        _warned_at = time.monotonic()
        log.warning("The live pages are not told: %s", error)


@cache
def _client(url: str) -> Redis:
    # Short: a page that is told late polls; a run must not wait for it.
    return Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, retry=Retry(NoBackoff(), 1))
