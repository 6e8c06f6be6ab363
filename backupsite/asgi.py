"""What the web server calls: pages through Django, the live socket through Channels.

A socket of another site's page is refused by its whole origin (scheme, name and port): comparing the name
alone would let http://<name>:<other port> listen in.
"""

from __future__ import annotations

import os

from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import OriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backupsite.settings")
pages = get_asgi_application()

from backupsite.runs.consumers import LiveConsumer  # noqa: E402 (models can be imported only after the line above)

# The consumer finds out by itself whose session it is: it asks again while the socket is open.
sockets = URLRouter([path("ws/live/", LiveConsumer.as_asgi())])

application = ProtocolTypeRouter(
    {"http": pages, "websocket": OriginValidator(sockets, settings.HOTFLEET_ORIGINS)}
)
