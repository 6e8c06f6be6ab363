"""Who may use the console, their sessions, and the trail of what they did."""

from __future__ import annotations

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models


class UserManager(BaseUserManager["User"]):
    def create_user(self, name: str, password: str, *, is_superuser: bool = False) -> User:
        """Create a person who signs in with this name and password. Raise IntegrityError when it is taken."""
        user = User(name=name, is_superuser=is_superuser)
        user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person. `is_superuser` is the administrator until roles come. The theme is a cookie."""

    name = models.CharField(max_length=64, unique=True)
    time_zone = models.CharField(max_length=64, default="UTC")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = UserManager()

    USERNAME_FIELD = "name"

    def __str__(self) -> str:
        return self.name


class StoredSession(models.Model):
    """A browser's session. The table holds SHA-256 of the cookie's value: a stolen table logs nobody in."""

    key_hash = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sessions")
    data = models.TextField()
    expires_at = models.DateTimeField(db_index=True)
    created_at = models.DateTimeField(auto_now_add=True)


class SignInAttempts(models.Model):
    """How often somebody failed to sign in lately. `key` is SHA-256 of what is limited (see throttle.py)."""

    key = models.CharField(max_length=64, primary_key=True)
    count = models.PositiveIntegerField(default=0)
    blocked_until = models.DateTimeField(null=True, blank=True)
    last_at = models.DateTimeField(db_index=True)


class AuditEvent(models.Model):
    """Who did what, from where. Append-only (triggers refuse UPDATE and DELETE) and hash-chained.

    `previous_hash` is unique: the database itself refuses a fork of the chain.
    """

    at = models.DateTimeField()
    actor = models.CharField(max_length=64)
    address = models.CharField(max_length=64, blank=True)
    verb = models.CharField(max_length=64)
    subject = models.CharField(max_length=200)
    detail = models.JSONField(default=dict)
    previous_hash = models.CharField(max_length=64, unique=True)
    hash = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["id"]
