"""An ended session tells its live sockets; without Redis it ends all the same."""

from __future__ import annotations

from typing import Any

import pytest
from asgiref.sync import async_to_sync
from channels.layers import channel_layers, get_channel_layer
from django.test import Client
from pytest_django import DjangoCaptureOnCommitCallbacks, Settings

from backupsite.accounts.models import StoredSession, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def layer(settings: Settings, person: User) -> Any:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    channel_layers.backends.clear()
    layer = get_channel_layer()
    async_to_sync(layer.group_add)(f"user.{person.pk}", "socket")
    yield layer
    channel_layers.backends.clear()


def test_signing_out_tells_the_sockets_which_session_ended(
    operator: Client, layer: Any, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    key_hash = StoredSession.objects.get().key_hash
    with django_capture_on_commit_callbacks(execute=True):
        operator.post("/logout/")
    assert async_to_sync(layer.receive)("socket") == {"type": "signed.out", "session": key_hash}


def test_without_redis_the_session_ends_all_the_same(
    operator: Client,
    caplog: pytest.LogCaptureFixture,
    django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks,
) -> None:
    channel_layers.backends.clear()
    with django_capture_on_commit_callbacks(execute=True):
        operator.post("/logout/")
    assert not StoredSession.objects.exists()
    assert "were not told" in caplog.text
