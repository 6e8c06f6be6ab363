"""The bell of the workers. With `worker.py` the only module that knows RQ.

A job is a wake-up and nothing else: who is woken takes the run whose turn it is by the database
(`dispatch.py`), a lost or doubled job does no harm. What lies in Redis is not trusted: whoever can write
there must not be able to name a function, a callback or a URL that a worker then uses.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar

from django.conf import settings
from django.db import transaction
from django_rq.queues import DjangoRQ
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq.exceptions import NoSuchJobError
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

from backupsite.fleet.models import Device
from backupsite.repositories import nodes
from backupsite.runs import kinds

log = logging.getLogger(__name__)

RUN = "run"
NOTICES = "notices"
AFTERWORK = "afterwork"
CHORE = "chore"
INTERACTIVE: kinds.QueueName = "interactive"
BULK: kinds.QueueName = "bulk"
NAMES = (INTERACTIVE, BULK)
# More wake-ups than workers that sleep are of no use: who has worked looks for more by itself.
MOST_WAKES = 100
# Longer than a worker blocks for a job (45 s); redis-py gives up after 5 s by default.
WORKER_WAIT_S = 70


class RefusedJob(Exception):
    """A job names something that is not in the table of functions."""


class RunJob(Job):
    """RQ's job without anything that data in Redis could steer."""

    functions: ClassVar[Mapping[str, Callable[..., None]]] = MappingProxyType({})

    def __init__(
        self, id: str | None = None, connection: Redis | None = None, serializer: Any = None
    ) -> None:
        """Make a job that speaks JSON whatever the caller says: RQ's default, pickle, runs what it reads."""
        base: Any = super()
        base.__init__(id, connection, JSONSerializer)

    @property
    def func(self) -> Callable[..., None]:
        """Return the function that the job names. Raise RefusedJob; never import what Redis says."""
        name = self.func_name
        if not isinstance(name, str) or name not in self.functions:
            raise RefusedJob(f"A job asks for {str(name)[:80]!r}.")
        return self.functions[name]

    success_callback = None
    failure_callback = None
    stopped_callback = None
    should_retry = False

    def send_webhooks(self, *_: Any, **__: Any) -> None:
        """Never call a URL that was found in Redis."""

    def restore(self, raw_data: Any) -> None:
        """Read the hash. Never raises on a broken one: this runs in the worker itself, which would die of it.

        Such a job has no readable function and is refused by `func` inside of the work horse.
        """
        try:
            super().restore(raw_data)
        except NoSuchJobError:
            raise
        except Exception:  # noqa: BLE001 (whatever somebody wrote there; the job is refused, and logged then)
            self.data = b""
        self.timeout, self.result_ttl, self.failure_ttl, self.ttl = -1, 0, 60, None
        self.retries_left = self.repeats_left = self.number_of_retries = None
        self.rate_limit_key = self.group_id = None
        self.webhooks, self.meta, self.description = [], {}, ""
        self._dependency_ids = []


class RunQueue(DjangoRQ):
    """A queue that forces our job class and JSON, whatever the caller or a command line says."""

    forced_job_class: ClassVar[type[RunJob]] = RunJob

    def __init__(self, name: str, connection: Redis, **given: Any) -> None:
        given |= {"job_class": self.forced_job_class, "serializer": JSONSerializer, "commit_mode": "auto"}
        given["default_timeout"] = -1
        base: Any = super()
        base.__init__(name, connection=connection, **given)

    def push(self, function: str, *arguments: str, job_id: str, pipeline: Any = None) -> None:
        """Add a wake-up. Raise RedisError."""
        # RQ's own: django_rq's asks the settings about the queue, which know no node's.
        untyped: Any = Queue
        untyped.enqueue_call(
            self, function, args=arguments, job_id=job_id, description=function, pipeline=pipeline,
            timeout=-1, result_ttl=0, failure_ttl=60,
        )  # fmt: skip


def connect(*, is_worker: bool = False) -> Redis:
    """Return a client of Redis. Only a worker waits long: a click in the browser must not."""
    if is_worker:
        return Redis.from_url(settings.REDIS_URL, socket_timeout=WORKER_WAIT_S)
    return Redis.from_url(
        settings.REDIS_URL, socket_timeout=5, socket_connect_timeout=2, retry=Retry(NoBackoff(), 1)
    )


@cache
def _client(url: str) -> Redis:
    return connect()


def find_queue(name: str, node: str | None = None) -> RunQueue:
    """Return the queue of this name of a node (None: of this process's) on this process's own connection."""
    return RunQueue(name_in_redis(name, node), connection=_client(settings.REDIS_URL))


def name_in_redis(name: str, node: str | None = None) -> str:
    """Return what a queue of a node (None: of this process's) is called in Redis. Each node has its own."""
    node = node or settings.HOTFLEET_NODE
    return name if node == nodes.CONSOLE else f"{node}:{name}"


def wake_on_commit(kind: str, device: Device) -> None:
    """Wake a worker of a device's node for a run of this kind on commit. Never raises: the sweep repeats what
    is lost."""
    transaction.on_commit(lambda: wake(queue_of(kind), node=nodes.find_node_of(device)), robust=True)


def wake(name: str, count: int = 1, node: str | None = None) -> int:
    """Wake up to `count` workers of a queue of a node (None: of this process's); return how many. Without
    Redis: 0, and a warning."""
    queue = find_queue(name, node)
    try:
        with queue.connection.pipeline() as pipeline:
            for _ in range(count):
                job_id = f"{RUN}-{secrets.token_hex(12)}"
                queue.push(RUN, name, job_id=job_id, pipeline=pipeline)
            pipeline.execute()
    except RedisError as error:
        log.warning("Redis does not answer, runs wait in the database: %s", error)
        return 0
    return count


def wake_up_to(name: str, count: int, node: str | None = None) -> int:
    """Have no fewer than `count` wake-ups lie in a queue, up to what is of use; return how many were added.

    Without Redis: 0, and a warning."""
    try:
        missing = min(count, MOST_WAKES) - _count_wakes(name, node)
    except RedisError as error:
        log.warning("Redis does not answer, runs wait in the database: %s", error)
        return 0
    return wake(name, missing, node) if missing > 0 else 0


def _count_wakes(name: str, node: str | None) -> int:
    queue: Any = find_queue(name, node)
    prefix = f"{RUN}-".encode()
    return sum(entry.startswith(prefix) for entry in queue.connection.lrange(queue.key, 0, -1))


def queue_of(kind: str) -> kinds.QueueName:
    """Given a run's kind, return its queue. An unknown kind goes to bulk, where it ends errored."""
    try:
        return kinds.find(kind).queue
    except LookupError:
        return BULK


def find_name(name: str) -> kinds.QueueName:
    """Given a word of Redis, return it as a queue's name. Raise ValueError when it is none."""
    for known in NAMES:
        if name == known:
            return known
    raise ValueError(f"No queue is called {name[:80]!r}.")


def enqueue_notices() -> None:
    """Have a worker send what is unsent. Only one such job waits at a time. Raise RedisError."""
    queue = find_queue(INTERACTIVE)
    if queue.connection.lpos(queue.key, NOTICES) is None:
        queue.push(NOTICES, job_id=NOTICES)


def enqueue_afterwork(device_id: int) -> None:
    """Have a worker do what comes after the runs of a device. One such job of a device waits at a time.

    Raise RedisError."""
    queue = find_queue(BULK)
    job_id = f"{AFTERWORK}-{device_id}"
    if queue.connection.lpos(queue.key, job_id) is None:
        queue.push(AFTERWORK, str(device_id), job_id=job_id)


def enqueue_chore(name: str) -> None:
    """Have a worker do a chore of the console: a short one, which must not wait behind long backups.

    One such job of it waits at a time. Raise RedisError."""
    queue = find_queue(INTERACTIVE)
    job_id = f"{CHORE}-{name}"
    if queue.connection.lpos(queue.key, job_id) is None:
        queue.push(CHORE, name, job_id=job_id)
