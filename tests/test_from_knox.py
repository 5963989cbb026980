"""The view of docs/how-to/from-knox.md, as it stands there, in a project with knox."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.shop import a_shop

PAGE = Path(__file__).parent.parent / "docs/how-to/from-knox.md"
KNOXED = """
from shop.switched import *

INSTALLED_APPS += ["knox"]
ROOT_URLCONF = "shop.knoxed_urls"
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


@pytest.mark.slow
def test_a_knox_token_is_exchanged_for_a_session_once(tmp_path: Path) -> None:
    authentication, exchange = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    with a_shop(tmp_path) as shop:
        (tmp_path / "shop/knoxed.py").write_text(KNOXED + authentication)
        (tmp_path / "shop/knoxed_urls.py").write_text(URLS)
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
