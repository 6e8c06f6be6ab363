"""What is done at each start, in a child, before anything else runs: keys, tables, static files."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from urllib.parse import quote

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import OperationalError

from backupsite import setup_code, vault


def prepare(answer: int) -> None:
    """Make keys, tables and static files ready, and write the address to open to the descriptor `answer`.

    Raise SystemExit with one sentence when the settings or the database do not allow a start.
    """
    vault.create_keys()
    try:
        call_command("migrate", interactive=False, verbosity=0, skip_checks=False)
    except (CommandError, OperationalError) as error:
        raise SystemExit(str(error)) from error
    _collect_static_files()
    os.write(answer, _first_page().encode("ascii"))


def _first_page() -> str:
    origin = settings.HOTFLEET_ORIGINS[0]
    if get_user_model()._default_manager.filter(is_superuser=True, is_active=True).exists():
        setup_code.withdraw()
        return f"{origin}/login/"
    return f"{origin}/setup/?code={quote(setup_code.issue())}"


def _collect_static_files() -> None:
    manifest = Path(settings.STATIC_ROOT) / "staticfiles.json"
    made_at = manifest.stat().st_mtime if manifest.exists() else 0.0
    if any(_newest(Path(directory)) > made_at for directory in settings.STATICFILES_DIRS):
        # Django tells about each file, also at verbosity 0, when post-processing is on.
        call_command("collectstatic", interactive=False, clear=True, verbosity=0, stdout=StringIO())


def _newest(top: Path) -> float:
    """Return the time of the last change below a directory; a removed file changes its directory."""
    times = [top.stat().st_mtime]
    for folder, _, names in os.walk(top):
        times.append(os.stat(folder).st_mtime)
        times += [os.stat(os.path.join(folder, name)).st_mtime for name in names]
    return max(times)
