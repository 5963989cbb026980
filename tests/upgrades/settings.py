"""As tests.settings, with tokens and sessions that are still good when the state is read years from now."""

from __future__ import annotations

from datetime import timedelta

from tests.settings import *  # noqa: F403
from tests.settings import JWT_REDIS as _SETTINGS
from tests.settings import SIMPLE_JWT as _LIFETIMES

# No longer: the log is trimmed to what is younger than an access token may be, and ids are not below zero.
AGES = timedelta(days=50 * 365)
DECADE = timedelta(days=3650)

SIMPLE_JWT = {
    **_LIFETIMES,
    "ACCESS_TOKEN_LIFETIME": AGES,
    "REFRESH_TOKEN_LIFETIME": AGES,
    "SLIDING_TOKEN_LIFETIME": AGES,
    "SLIDING_TOKEN_REFRESH_LIFETIME": AGES,
}
JWT_REDIS = {
    **_SETTINGS,
    "SESSION_MAX_AGE": AGES,
    # The longest that it takes.
    "SIGN_IN_NOTICE": {"base_url": "https://shop.example", "link_lifetime": DECADE, "known_for": DECADE},
}
ROOT_URLCONF = "tests.projects.page_urls"
LOGIN_URL = "login"
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
