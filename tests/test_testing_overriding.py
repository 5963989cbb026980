"""override_jwt_settings reaches what Simple JWT has copied at import, and puts everything back."""

from __future__ import annotations

import asyncio
import io
import sys
import unittest
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, SimpleTestCase, override_settings
from rest_framework_simplejwt import authentication, backends, serializers, state, tokens, views
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt.exceptions import TokenBackendError, TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.state import token_backend

from jwt_redis import conf, sessions
from jwt_redis import tokens as ours
from jwt_redis.testing import override_jwt_settings

SECOND_KEY = "another key for tests that is long enough for HS256 to be content"


def everything_frozen() -> dict[str, Any]:
    """What Simple JWT has made of its settings when it was imported, by what it is and what is in it."""
    return {
        "object": id(simplejwt.api_settings),
        "objects": [id(module.api_settings) for module in (authentication, serializers, state, tokens, views)],
        "settings": {name: getattr(api_settings, name) for name in simplejwt.DEFAULTS},
        "backend": {name: value for name, value in vars(state.token_backend).items() if "prepared" not in name},
        "backend object": id(state.token_backend),
        "lifetimes": [cls.lifetime for cls in (*STOCK_TOKENS, *OUR_TOKENS)],
        "own": ["lifetime" in vars(cls) for cls in (*STOCK_TOKENS, *OUR_TOKENS)],
        "not copied": [cls.no_copy_claims for cls in (tokens.RefreshToken, ours.RefreshToken)],
        "views": [view._serializer_class for view in VIEWS],
        "headers": [authentication.AUTH_HEADER_TYPES, views.AUTH_HEADER_TYPES],
        "header bytes": (id(authentication.AUTH_HEADER_TYPE_BYTES), set(authentication.AUTH_HEADER_TYPE_BYTES)),
        "blacklist": hasattr(serializers, "BlacklistedToken"),
    }


STOCK_TOKENS = (tokens.AccessToken, tokens.RefreshToken, tokens.SlidingToken)
OUR_TOKENS = (ours.AccessToken, ours.RefreshToken, ours.SlidingToken)
VIEWS = (
    views.TokenObtainPairView,
    views.TokenRefreshView,
    views.TokenVerifyView,
    views.TokenBlacklistView,
    views.TokenObtainSlidingView,
    views.TokenRefreshSlidingView,
)


@pytest.fixture(autouse=True)
def _all_is_put_back() -> Iterator[None]:
    before, config = everything_frozen(), conf.config()
    yield
    assert everything_frozen() == before
    assert conf.config() == config


# Each thing that is frozen ----------------------------------------------------------------------------------------


def test_the_settings_object_that_modules_have_imported() -> None:
    with override_jwt_settings(LEEWAY=7):
        assert api_settings.LEEWAY == simplejwt.api_settings.LEEWAY == 7
        assert simplejwt.api_settings is tokens.api_settings is authentication.api_settings  # type: ignore[attr-defined]
        # What was not given stays, and is not Simple JWT's default.
        assert [
            ours.AccessToken
        ] == api_settings.AUTH_TOKEN_CLASSES or ours.AccessToken in api_settings.AUTH_TOKEN_CLASSES


@pytest.mark.parametrize(
    ("cls", "name"),
    [
        (tokens.AccessToken, "ACCESS_TOKEN_LIFETIME"),
        (ours.AccessToken, "ACCESS_TOKEN_LIFETIME"),
        (tokens.RefreshToken, "REFRESH_TOKEN_LIFETIME"),
        (ours.RefreshToken, "REFRESH_TOKEN_LIFETIME"),
        (tokens.SlidingToken, "SLIDING_TOKEN_LIFETIME"),
        (ours.SlidingToken, "SLIDING_TOKEN_LIFETIME"),
    ],
)
def test_the_lifetimes_of_token_classes(cls: Any, name: str) -> None:
    with override_jwt_settings(**{name: timedelta(seconds=77)}):
        token = cls()
        assert token.payload["exp"] - token.payload["iat"] == 77


def test_a_lifetime_of_a_project_s_own_class_stays() -> None:
    class Long(ours.AccessToken):
        lifetime = timedelta(days=3)

    with override_jwt_settings(ACCESS_TOKEN_LIFETIME=timedelta(seconds=77)):
        assert Long.lifetime == timedelta(days=3)


def test_the_sliding_tokens_refresh_lifetime() -> None:
    with override_jwt_settings(
        SLIDING_TOKEN_REFRESH_LIFETIME=timedelta(seconds=99), SLIDING_TOKEN_REFRESH_EXP_CLAIM="until"
    ):
        token = ours.SlidingToken()
        assert token.payload["until"] - token.payload["iat"] == 99


def test_the_key_of_the_backend_and_of_whoever_has_imported_it() -> None:
    old = str(ours.AccessToken())
    with override_jwt_settings(SIGNING_KEY=SECOND_KEY):
        new = str(ours.AccessToken())
        assert backends.TokenBackend("HS256", SECOND_KEY).decode(new)
        assert token_backend.decode(new)
        with pytest.raises(TokenBackendError):
            token_backend.decode(old)
    assert token_backend.decode(old)
    with pytest.raises(TokenBackendError):
        token_backend.decode(new)


def test_a_token_that_was_found_good_before_is_looked_at_again(alice: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    ours.AccessToken(access)
    with override_jwt_settings(SIGNING_KEY=SECOND_KEY), pytest.raises(TokenError):
        ours.AccessToken(access)
    assert ours.AccessToken(access)


@pytest.mark.parametrize(
    ("name", "value"), [("AUDIENCE", "api"), ("ISSUER", "https://example.com"), ("ALGORITHM", "HS512")]
)
def test_what_else_the_backend_was_made_of(name: str, value: str) -> None:
    old = str(ours.AccessToken())
    keys = {"SIGNING_KEY": SECOND_KEY * 2} if name == "ALGORITHM" else {}
    with override_jwt_settings(**{name: value}, **keys):
        assert token_backend.decode(str(ours.AccessToken()))
        with pytest.raises(TokenBackendError):
            token_backend.decode(old)


def test_an_rsa_key_in_place_of_a_secret() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    with override_jwt_settings(ALGORITHM="RS256", SIGNING_KEY=private.decode(), VERIFYING_KEY=public.decode()):
        assert token_backend.decode(str(ours.AccessToken()))["token_type"] == "access"


def test_the_leeway_of_the_backend() -> None:
    token = ours.AccessToken()
    token.payload["exp"] = token.payload["iat"] - 10
    with pytest.raises(TokenBackendError):
        token_backend.decode(str(token))
    with override_jwt_settings(LEEWAY=60):
        assert token_backend.decode(str(token))
        assert token_backend.get_leeway() == timedelta(seconds=60)


def test_the_names_of_claims(alice: Any) -> None:
    with override_jwt_settings(USER_ID_CLAIM="uid", JTI_CLAIM="token_id", TOKEN_TYPE_CLAIM="kind"):
        refresh = sessions.open_session(alice)
        access = refresh.access_token
        assert (refresh["kind"], access["kind"]) == ("refresh", "access")
        assert access["token_id"] != refresh["token_id"] and access["uid"] == str(alice.pk)
        assert sessions.explain(str(access)).allowed


def test_the_header_and_its_word(alice: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    client = Client()
    with override_jwt_settings(AUTH_HEADER_TYPES=("JWT", "Token"), AUTH_HEADER_NAME="HTTP_X_TOKEN"):
        for url in ("/whoami/", "/plain/"):
            found = [client.get(url, headers={"X-Token": f"{word} {access}"}).json() for word in ("JWT", "Token")]
            assert [one.get("user") for one in found] == [str(alice.pk)] * 2
        assert client.get("/whoami/", headers={"X-Token": f"Bearer {access}"}).status_code == 401
        answer = client.post("/stock/token/verify/", {"token": "x"})
        assert answer.headers["WWW-Authenticate"].startswith("JWT ")
    assert client.get("/whoami/", headers={"Authorization": f"Bearer {access}"}).status_code == 200


def test_a_header_word_alone_is_no_list_of_letters() -> None:
    with override_jwt_settings(AUTH_HEADER_TYPES="Token"):
        assert authentication.AUTH_HEADER_TYPES == ("Token",)


class AnotherObtain(serializers.TokenObtainPairSerializer):
    def validate(self, attrs: dict[str, Any]) -> dict[str, str]:
        return {"it": "is me"}


@pytest.mark.parametrize("url", ["/stock/token/", "/auth/token/"])
def test_the_serializers_of_views(url: str, alice: Any) -> None:
    with override_jwt_settings(TOKEN_OBTAIN_SERIALIZER=f"{__name__}.AnotherObtain"):
        assert Client().post(url, {"username": "alice", "password": "correct horse"}).json()["it"] == "is me"


@pytest.mark.parametrize("view", VIEWS)
def test_each_view_has_its_own_setting(view: Any) -> None:
    names = {path: name for name, path in settings.SIMPLE_JWT.items() if name.endswith("_SERIALIZER")}
    name = names[view._serializer_class]
    with override_jwt_settings(**{name: f"{__name__}.AnotherObtain"}):
        assert view().get_serializer_class() is AnotherObtain
        assert [one for one in VIEWS if one._serializer_class.endswith("AnotherObtain")] == [view]


def test_token_classes_and_the_rule_which_are_imported_by_name() -> None:
    with override_jwt_settings(
        AUTH_TOKEN_CLASSES=("jwt_redis.tokens.SlidingToken",), USER_AUTHENTICATION_RULE=f"{__name__}.nobody"
    ):
        assert tuple(api_settings.AUTH_TOKEN_CLASSES) == (ours.SlidingToken,)
        assert api_settings.USER_AUTHENTICATION_RULE is nobody


def nobody(user: Any) -> bool:
    return False


def test_the_blacklist_app_s_name_in_the_verify_serializer() -> None:
    with override_jwt_settings(BLACKLIST_AFTER_ROTATION=True):
        assert hasattr(serializers, "BlacklistedToken")


def test_modules_of_a_project_that_have_imported_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("a_project_s_module")
    vars(module).update(api_settings=api_settings, AUTH_HEADER_TYPES=authentication.AUTH_HEADER_TYPES)
    # And one that was imported while settings were overridden by Django's own.
    with override_settings(SIMPLE_JWT={"LEEWAY": 3}):
        late = type(sys)("a_late_module")
        vars(late).update(api_settings=simplejwt.api_settings)
    simplejwt.api_settings = api_settings
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, late.__name__, late)
    with override_jwt_settings(LEEWAY=5, AUTH_HEADER_TYPES=("JWT",)):
        assert (module.api_settings.LEEWAY, module.AUTH_HEADER_TYPES, late.api_settings.LEEWAY) == (5, ("JWT",), 5)
    assert (module.AUTH_HEADER_TYPES, late.api_settings.LEEWAY) == (("Bearer",), 3)


# Ours -------------------------------------------------------------------------------------------------------------


def test_our_settings_by_either_way() -> None:
    with override_jwt_settings(STRATEGY="blacklist", JWT_REDIS={"MAX_SESSIONS": 3}):
        assert (conf.config().strategy, conf.config().max_sessions) == ("blacklist", 3)
        # The alias is still there.
        assert conf.config().alias == "sessions"


def test_a_prefix_of_another_kind_is_used_at_once(alice: Any, store: Any) -> None:
    with override_jwt_settings(KEY_PREFIX="other:"):
        sessions.open_session(alice)
    assert {key.partition(":")[0] for key in store.scan_iter()} == {"other"}


def test_keys_that_a_project_invents_are_for_the_dict() -> None:
    with override_jwt_settings(SIMPLE_JWT={"AUTH_COOKIE": "access"}):
        assert settings.SIMPLE_JWT["AUTH_COOKIE"] == "access"


# Wrong ------------------------------------------------------------------------------------------------------------


def test_a_keyword_that_nobody_knows() -> None:
    with pytest.raises(TypeError, match="'ACCESS_LIFETIME' is a key neither"):
        override_jwt_settings(ACCESS_LIFETIME=1)


def test_nothing_stays_changed_when_a_value_is_wrong() -> None:
    for wrong, error in (
        ({"STRATEGY": "greylist", "LEEWAY": 5}, ImproperlyConfigured),
        ({"JWT_REDIS": {"STRATEGI": 1}, "SIGNING_KEY": SECOND_KEY}, ImproperlyConfigured),
        ({"ALGORITHM": "XX1"}, TokenBackendError),
        ({"SIMPLE_JWT": {"SECRET_KEY": "removed"}}, RuntimeError),
    ):
        before = everything_frozen()
        override = override_jwt_settings(**wrong)  # type: ignore[arg-type]
        with pytest.raises(error), override:
            pass
        assert everything_frozen() == before


# Everywhere -------------------------------------------------------------------------------------------------------


def test_one_within_the_other_also_of_django_s() -> None:
    with override_jwt_settings(LEEWAY=1), override_jwt_settings(ISSUER="me"):
        assert (api_settings.LEEWAY, api_settings.ISSUER) == (1, "me")
        with override_settings(SIMPLE_JWT={"LEEWAY": 2}):
            with override_jwt_settings(AUDIENCE="you"):
                assert (api_settings.LEEWAY, api_settings.ISSUER, api_settings.AUDIENCE) == (2, None, "you")
            assert api_settings.LEEWAY == 1
        assert token_backend.issuer == "me"


def test_it_ends_after_an_exception() -> None:
    with pytest.raises(KeyError), override_jwt_settings(LEEWAY=1, STRATEGY="blacklist"):
        raise KeyError


@override_jwt_settings(LEEWAY=4)
def test_a_function(alice: Any) -> None:
    assert token_backend.leeway == 4


@override_jwt_settings(LEEWAY=4)
async def test_an_async_function() -> None:
    await asyncio.sleep(0)
    assert token_backend.leeway == 4


def test_a_function_that_calls_itself() -> None:
    @override_jwt_settings(LEEWAY=4)
    def deep(left: int) -> None:
        assert token_backend.leeway == 4
        if left:
            deep(left - 1)
        assert token_backend.leeway == 4

    deep(3)


@override_jwt_settings(LEEWAY=4)
class TestAClass:
    def test_one(self) -> None:
        assert token_backend.leeway == 4

    async def test_another(self) -> None:
        assert token_backend.leeway == 4

    @staticmethod
    def test_helper() -> None:
        """One that has no settings, and is none of the methods."""


@pytest.mark.jwt_settings(LEEWAY=4, ISSUER="class")
class TestMarker:
    def test_of_the_class(self) -> None:
        assert (token_backend.leeway, token_backend.issuer) == (4, "class")

    @pytest.mark.jwt_settings(ISSUER="test")
    def test_the_nearest_has_the_last_word(self) -> None:
        assert (token_backend.leeway, token_backend.issuer) == (4, "test")


def test_the_fixture(override_jwt_settings: Any) -> None:
    override_jwt_settings(LEEWAY=9)
    override_jwt_settings(ISSUER="fixture")
    assert (token_backend.leeway, token_backend.issuer) == (9, "fixture")


def _run(case: type[unittest.TestCase]) -> unittest.TestResult:
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    return unittest.TextTestRunner(io.StringIO()).run(suite)


def test_classes_of_unittest_from_set_up_class_to_tear_down_class() -> None:
    seen: list[Any] = []

    @override_jwt_settings(LEEWAY=1, ISSUER="parent")
    class Parent(SimpleTestCase):
        @classmethod
        def setUpClass(cls) -> None:
            super().setUpClass()
            seen.append(("set up", cls.__name__, token_backend.leeway, token_backend.issuer))

        @classmethod
        def tearDownClass(cls) -> None:
            seen.append(("tear down", cls.__name__, token_backend.leeway, token_backend.issuer))
            super().tearDownClass()

        def test_it(self) -> None:
            seen.append(("test", type(self).__name__, token_backend.leeway, token_backend.issuer))

    @override_jwt_settings(ISSUER="child")
    class Child(Parent):
        async def test_it(self) -> None:
            seen.append(("test", type(self).__name__, token_backend.leeway, token_backend.issuer))

    for case in (Parent, Child, Parent):
        assert _run(case).wasSuccessful()
        assert token_backend.leeway == 0
    parent = [(what, "Parent", 1, "parent") for what in ("set up", "test", "tear down")]
    child = [(what, "Child", 1, "child") for what in ("set up", "test", "tear down")]
    assert seen == parent + child + parent


def test_a_class_whose_set_up_fails_leaves_nothing() -> None:
    @override_jwt_settings(LEEWAY=1)
    class Broken(SimpleTestCase):
        @classmethod
        def setUpClass(cls) -> None:
            super().setUpClass()
            raise KeyError

        def test_it(self) -> None: ...

    assert len(_run(Broken).errors) == 1
    assert token_backend.leeway == 0
