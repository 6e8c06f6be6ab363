"""Settings of the tests: the console's own, with a home directory that exists only for this test session.

pytest-django reads the settings before any conftest.py, hence this module and not a fixture.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

# The last word on the home: a developer's own HOTFLEET_HOME must never be written to by tests.
os.environ["HOTFLEET_HOME"] = tempfile.mkdtemp(prefix="hotfleet-test-")
for _name in ("REDIS_URL", "HOTFLEET_ORIGIN", "HOTFLEET_PORT"):
    os.environ.pop(_name, None)

from backupsite.settings import *  # noqa: E402, F403 (the environment has to be set before this import)
from backupsite.settings import HOTFLEET_HOME, STATIC_ROOT, STORAGES  # noqa: E402

STATIC_ROOT.mkdir()  # WhiteNoise warns when it is missing
_owner = os.getpid()


def _remove_home() -> None:
    # Forked children (workers under test) run this too when they leave through sys.exit.
    if os.getpid() == _owner:
        shutil.rmtree(HOTFLEET_HOME, ignore_errors=True)


atexit.register(_remove_home)

# Hashing a password costs 0.3 s by design; the tests sign in often.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# No collectstatic before each session: templates name the files as they lie in static/.
STORAGES = STORAGES | {"staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}}
