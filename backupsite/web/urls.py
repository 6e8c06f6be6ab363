"""Actions of the frame itself: no pages."""

from __future__ import annotations

from django.urls import path

from backupsite.web.theme import set_theme

urlpatterns = [path("theme/", set_theme, name="theme")]
