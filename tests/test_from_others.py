"""The views by which clients of knox and of allauth get a session, as they stand in the how-to pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.shop import a_shop

PAGES = Path(__file__).parent.parent / "docs/how-to"
KNOXED = """
from shop.switched import *

INSTALLED_APPS += ["knox"]
ROOT_URLCONF = "shop.exchange_urls"
"""
URLS = """
from django.urls import path
from shop.exchange import Exchange
from shop.urls import urlpatterns

urlpatterns += [path("exchange/", Exchange.as_view())]
"""
STORY = """
import json
from django.contrib.auth.models import User
from django.test import Client
from jwt_redis import sessions
from knox.models import AuthToken

user = User.objects.get(username="user0")
_, text = AuthToken.objects.create(user)
ask = Client(raise_request_exception=False)
headers = {"Authorization": "Token " + text}
facts = {"me": ask.get("/me/", headers=headers).status_code}
answer = ask.post("/exchange/", headers=headers)
bearer = {"Authorization": "Bearer " + answer.json()["access"]}
facts["exchanged"] = [answer.status_code, ask.get("/me/", headers=bearer).status_code]
facts["again"] = [ask.post("/exchange/", headers=headers).status_code, ask.get("/me/", headers=headers).status_code]
facts["sessions"] = len(sessions.list_sessions(user))
print(json.dumps(facts))
"""
DOWN = """
import json
from django.contrib.auth.models import User
from django.test import Client
from knox.models import AuthToken

_, text = AuthToken.objects.create(User.objects.get(username="user1"))
ask = Client(raise_request_exception=False)
answer = ask.post("/exchange/", headers={"Authorization": "Token " + text})
print(json.dumps([answer.status_code, AuthToken.objects.filter(user__username="user1").count()]))
"""


ALLAUTHED = """
from shop.switched import *

INSTALLED_APPS += ["django.contrib.sessions", "django.contrib.messages"]
INSTALLED_APPS += ["allauth", "allauth.account", "allauth.headless"]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
]
HEADLESS_ONLY = True
ROOT_URLCONF = "shop.exchange_urls"
"""
SIGNED_IN = """
import json
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.test import Client

user = User.objects.get(username="user0")
session = import_module(settings.SESSION_ENGINE).SessionStore()
session[SESSION_KEY], session[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session.save()
ask = Client(raise_request_exception=False)
answer = ask.post("/exchange/", headers={"X-Session-Token": session.session_key})
bearer = {"Authorization": "Bearer " + answer.json()["access"]}
nobody = ask.post("/exchange/", headers={"X-Session-Token": "x" * 32})
print(json.dumps([answer.status_code, ask.get("/me/", headers=bearer).status_code, nobody.status_code in (401, 403)]))
"""


@pytest.mark.slow
def test_a_session_of_allauth_is_exchanged_for_one_of_ours(tmp_path: Path) -> None:
    [exchange] = re.findall(r"```python\n(.*?)```", (PAGES / "from-allauth.md").read_text(), re.S)
    with a_shop(tmp_path) as shop:
        (tmp_path / "shop/allauthed.py").write_text(ALLAUTHED)
        (tmp_path / "shop/exchange_urls.py").write_text(URLS)
        (tmp_path / "shop/exchange.py").write_text(exchange)
        shop.manage("allauthed", "migrate", "--verbosity", "0")
        assert json.loads(shop.script("allauthed", SIGNED_IN)) == [200, 200, True]


@pytest.mark.slow
def test_a_knox_token_is_exchanged_for_a_session_once(tmp_path: Path) -> None:
    authentication, exchange = re.findall(r"```python\n(.*?)```", (PAGES / "from-knox.md").read_text(), re.S)
    with a_shop(tmp_path) as shop:
        (tmp_path / "shop/knoxed.py").write_text(KNOXED + authentication)
        (tmp_path / "shop/exchange_urls.py").write_text(URLS)
        (tmp_path / "shop/exchange.py").write_text(exchange)
        shop.manage("knoxed", "migrate", "--verbosity", "0")
        assert json.loads(shop.script("knoxed", STORY)) == {
            "me": 200,
            "exchanged": [200, 200],
            "again": [401, 401],
            "sessions": 1,
        }
        # Redis does not answer: the old token is still there.
        shop.redis.stop()
        assert json.loads(shop.script("knoxed", DOWN)) == [503, 1]
        shop.redis.start()
