"""The view of one peer (``BENCH_PEER``) behind a real server: gunicorn takes ``wsgi``, uvicorn takes ``asgi``."""

from __future__ import annotations

import logging
import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

__all__ = ["asgi", "wsgi"]

wsgi, asgi = get_wsgi_application(), get_asgi_application()

# Behind django.setup(), which the lines above have done.
from benchmarks.peers import urls  # noqa: E402
from benchmarks.peers.peers import PEERS  # noqa: E402

logging.disable(logging.WARNING)
_PEER = PEERS[os.environ["BENCH_PEER"]]
_PEER.setup.enter()
urls.show(_PEER.view())
