"""What is taken out of a worker is taken out before its first request."""

from __future__ import annotations

import logging

from django.apps import AppConfig
from django.conf import settings


class ChaosConfig(AppConfig):
    """The workers of the chaos suite."""

    name = "tests.chaos"
    label = "chaos"

    def ready(self) -> None:
        """Apply the sabotage that the environment names."""
        from django.contrib.auth.signals import user_logged_in

        from tests.chaos import hooks, sabotage

        logging.getLogger("jwt_redis").addHandler(hooks.PendingNoted())

        # A sign-in is to need no more of the database than this package does.
        user_logged_in.disconnect(dispatch_uid="update_last_login")

        for name in settings.CHAOS_SABOTAGE:
            getattr(sabotage, name)()
