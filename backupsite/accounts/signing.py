"""Signing in and out: what happens to the session, its live sockets and the trail."""

from __future__ import annotations

import logging
from functools import partial

from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull
from channels.layers import get_channel_layer
from django.contrib.auth import login, logout
from django.core import signing as django_signing
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import get_random_string
from redis.exceptions import RedisError

from backupsite.accounts import throttle
from backupsite.accounts.audit import record
from backupsite.accounts.models import StoredSession, User
from backupsite.accounts.sessions import SessionStore, hash_key

log = logging.getLogger(__name__)
KNOWN_COOKIE = "known"
KNOWN_AGE_S = 180 * 86_400


def sign_in(request: HttpRequest, user: User) -> None:
    """Start a session with a new key, so that a key planted before is worth nothing.

    Also the moment to forget expired sessions and old failures: it comes often enough, and it writes anyway.
    """
    SessionStore.clear_expired()
    throttle.clear_old()
    with transaction.atomic():
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
        request.session["browser"] = request.META.get("HTTP_USER_AGENT", "")[:300]
        request.session["address"] = request.META.get("REMOTE_ADDR", "")
        record(request, "signed.in", user.name)


def sign_out(request: HttpRequest) -> None:
    """End this browser's session and its live sockets."""
    user, key = request.user, request.session.session_key
    if not user.is_authenticated:
        return
    with transaction.atomic():
        record(request, "signed.out", user.name)
        logout(request)
        if key is not None:
            _tell_on_commit(user.pk, hash_key(key))


def end_sessions(user: User, *, but: str | None = None, only: str | None = None) -> int:
    """End the person's sessions (all but one, or only one, by key hash). Return how many there were."""
    rows = StoredSession.objects.filter(user=user)
    if but is not None:
        rows = rows.exclude(key_hash=but)
    if only is not None:
        rows = rows.filter(key_hash=only)
    hashes = list(rows.values_list("key_hash", flat=True))
    with transaction.atomic():
        StoredSession.objects.filter(key_hash__in=hashes).delete()
        for key_hash in hashes:
            _tell_on_commit(user.pk, key_hash)
    return len(hashes)


def current_hash(request: HttpRequest) -> str:
    """Given a request, return the key hash of its session, or "" when it has none."""
    store = request.session
    return (store.key_hash or "") if isinstance(store, SessionStore) else ""


def read_known_browser(request: HttpRequest, name: str) -> str:
    """Given a request and a name, return the browser's mark when this person signed in with it before."""
    try:
        text = django_signing.loads(
            request.COOKIES.get(KNOWN_COOKIE, ""), salt="hotfleet.known", max_age=KNOWN_AGE_S
        )
    except django_signing.BadSignature:
        return ""
    known, _, mark = str(text).rpartition("\0")
    return mark if known.casefold() == name.casefold() else ""


def write_known_browser(response: HttpResponse, name: str, *, is_secure: bool) -> None:
    """Mark this browser as one that this person signed in with. It opens nothing by itself."""
    value = django_signing.dumps(f"{name}\0{get_random_string(16)}", salt="hotfleet.known")
    response.set_cookie(
        KNOWN_COOKIE,
        value,
        max_age=KNOWN_AGE_S,
        httponly=True,
        samesite="Strict",
        secure=is_secure,
        path="/login/",
    )


def _tell_on_commit(user_id: int, key_hash: str) -> None:
    transaction.on_commit(partial(_tell, user_id, key_hash), robust=True)


def _tell(user_id: int, key_hash: str) -> None:
    """Tell the session's live sockets. When Redis is away they notice at their own recheck."""
    layer = get_channel_layer()
    if layer is None:
        return
    try:
        async_to_sync(layer.group_send)(f"user.{user_id}", {"type": "signed.out", "session": key_hash})
    except (RedisError, OSError, ChannelFull) as error:
        log.warning("live sockets of user %s were not told about a signed-out session: %s", user_id, error)
