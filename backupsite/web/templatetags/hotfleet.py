"""Formatting tags and filters of every page (a builtin library: no `{% load %}` needed)."""

from __future__ import annotations

from django import template

register = template.Library()
