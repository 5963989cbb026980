"""Settings of the demo: for one's own machine, never for a server that others reach."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import jwt_redis

BASE_DIR = Path(__file__).resolve().parent.parent
# All that the demo writes: the database, and the files of its Redis.
VAR = Path(os.environ.get("DEMO_VAR") or BASE_DIR / "var")


def _redis_url() -> str:
    """What demo.py has written, while it runs: manage.py in a second terminal looks at the same sessions."""
    try:
        return (VAR / "redis-url").read_text()
    except FileNotFoundError:
        return "redis://127.0.0.1:6379/0"


REDIS_URL = os.environ.get("REDIS_URL") or _redis_url()
# Of the links in e-mails; demo.py knows the port.
BASE_URL = os.environ.get("DEMO_BASE_URL") or "http://127.0.0.1:8000"

# The page shows them to whoever opens it.
DEMO_USERS = {"alice": "correct horse", "bob": "battery staple"}

# In the open on purpose, and the same after a restart, so that tokens live on.
SECRET_KEY = "a secret of the demo that everybody knows: never use it for anything else"
DEBUG = True
USE_TZ = True
TIME_ZONE = "UTC"
# The package's own pages and Django's admin speak it; what is the demo's own is in English.
LANGUAGE_CODE = os.environ.get("DEMO_LANGUAGE") or "en-us"
ROOT_URLCONF = "config.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
LOGIN_URL = "sign_in"
# Cookies know no ports: other projects on 127.0.0.1 have theirs under the usual names.
SESSION_COOKIE_NAME = "demo_django_session"
CSRF_COOKIE_NAME = "demo_csrf"
# A file a message, for the page that shows them.
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = VAR / "mail"
DEFAULT_FROM_EMAIL = "The demo <demo@example.com>"

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "rest_framework",
    # In front of jwt_redis: its base.html goes around jwt_redis' pages too.
    "notes",
    "jwt_redis",
]
MIDDLEWARE = [
    "notes.middleware.content_security_policy",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    # Behind Django's own: for plain views, which DRF's authentication does not reach.
    "jwt_redis.middleware.JWTAuthenticationMiddleware",
    "notes.middleware.RefreshInPassing",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        # The server has a thread for each request: one that writes takes its turn, it does not fail.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# What jwt_redis needs, as in the README ---------------------------------------------------------------------------

CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    "sessions": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": REDIS_URL,
        # Only here: the package's own limit, a quarter of a second, is not for a laptop that does all else, too.
        "OPTIONS": {"SOCKET_TIMEOUT": 2.0, "SOCKET_CONNECT_TIMEOUT": 2.0},
    },
}
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["jwt_redis.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
}
SIMPLE_JWT = {
    **jwt_redis.simplejwt_settings(),
    # Short, so that there is something to refresh while one watches.
    "ACCESS_TOKEN_LIFETIME": timedelta(seconds=60),
}
JWT_REDIS = {
    "ALIAS": "sessions",
    "COOKIE": {
        "access": "demo_access",
        "refresh": "demo_refresh",
        # Pages without a script can be refreshed in passing only where the cookie is sent: everywhere, here.
        "refresh_path": "/",
        # Over http Safari takes no Secure cookie, not even from this machine. Never so on a server.
        "secure": False,
    },
    "PAGES": {"password_url": "password"},
    "SIGN_IN_NOTICE": {"base_url": BASE_URL},
}

# The terminal shows what happens to sessions, and not the page's polling. A 503 of jwt_redis has a line of its own.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "no_503": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", None) != 503,
        }
    },
    "formatters": {"line": {"format": "{asctime} {message}", "style": "{", "datefmt": "%H:%M:%S"}},
    "handlers": {"terminal": {"class": "logging.StreamHandler", "formatter": "line"}},
    "loggers": {
        "jwt_redis": {"handlers": ["terminal"], "level": "INFO"},
        "django.server": {"level": "ERROR", "filters": ["no_503"]},
        "django.request": {"level": "ERROR", "filters": ["no_503"]},
    },
}
