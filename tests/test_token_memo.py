"""A signature is verified once, and nothing that Simple JWT would refuse is accepted because of that."""

from __future__ import annotations

import base64
import copy
import gc
import itertools
import json
import os
import pickle
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from django.conf import settings
from django.test import override_settings
from rest_framework.test import APIClient
from rest_framework_simplejwt import authentication as stock_authentication
from rest_framework_simplejwt import backends
from rest_framework_simplejwt import settings as simplejwt
from rest_framework_simplejwt import tokens as stock
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import InvalidToken, TokenError
from rest_framework_simplejwt.state import token_backend

from jwt_redis import sessions, token_memo
from jwt_redis.authentication import JWTStatelessUserAuthentication, RevocationCheckMixin
from jwt_redis.decoding import claims_of
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.tokens import AccessToken, RefreshToken, SlidingToken, UntypedToken
from jwt_redis.verdicts import read_claims

KEY = settings.SECRET_KEY
OTHER_KEY = "another key for tests that is long enough for HS256 to be content"
http = APIClient()


@pytest.fixture(autouse=True)
def _empty_memo() -> Iterator[None]:
    state = dict(vars(token_backend))
    token_memo.clear()
    yield
    vars(token_backend).clear()
    vars(token_backend).update(state)
    token_memo.clear()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What went through PyJWT: the signatures that were verified."""
    calls: list[Any] = []
    real = jwt.decode

    def counted(token: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(token)
        return real(token, *args, **kwargs)

    monkeypatch.setattr(backends.jwt, "decode", counted)
    return calls


def forge(key: Any = KEY, algorithm: str = "HS256", **changes: Any) -> bytes:
    """A token; a claim that is given as ``...`` is left out."""
    now = int(time.time())
    payload = {
        "token_type": "access",
        "exp": now + 300,
        "iat": now,
        "jti": "abc",
        "user_id": "1",
        "sid": "s" * 22,
        "auth_time": now,
        **changes,
    }
    return jwt.encode({k: v for k, v in payload.items() if v is not ...}, key, algorithm=algorithm).encode()


def change_key(key: str) -> None:
    token_backend.signing_key = key
    del token_backend.prepared_signing_key


def is_accepted(token: bytes, cls: type = AccessToken) -> bool:
    try:
        cls(token)
    except TokenError:
        return False
    return True


def remembered() -> int:
    return len(token_memo._memo._entries)


# What is remembered -------------------------------------------------------------------------------------------------


def test_a_signature_is_verified_once(decoded: list[Any]) -> None:
    token = forge()
    for _ in range(3):
        assert AccessToken(token).payload["jti"] == "abc"
    assert len(decoded) == 1


@pytest.mark.parametrize("cls", [AccessToken, RefreshToken, SlidingToken, UntypedToken])
def test_each_class_of_ours_profits(decoded: list[Any], cls: Any) -> None:
    token = forge(token_type=cls.token_type, rotation=0)
    for _ in range(3):
        cls(token)
    assert len(decoded) == 1


def test_bytes_and_text_are_one_token(decoded: list[Any]) -> None:
    token = forge()
    assert AccessToken(token).payload == AccessToken(token.decode()).payload == AccessToken(token).payload
    assert len(decoded) == 1
    assert isinstance(AccessToken(token.decode()).token, str) and isinstance(AccessToken(token).token, bytes)


def test_with_size_0_nothing_is_remembered(decoded: list[Any]) -> None:
    token = forge()
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "TOKEN_MEMO_SIZE": 0}):
        for _ in range(3):
            AccessToken(token)
        assert len(decoded) == 3 and remembered() == 0


def test_the_size_is_a_bound_and_the_least_recently_used_token_makes_room(decoded: list[Any]) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "TOKEN_MEMO_SIZE": 3}):
        tokens = [forge(jti=f"number {number}") for number in range(50)]
        for token in tokens:
            AccessToken(token)
            AccessToken(tokens[0])
            assert remembered() <= 3
        assert len(decoded) == 50
        AccessToken(tokens[-1])
        assert len(decoded) == 50
        AccessToken(tokens[1])
        assert len(decoded) == 51


@pytest.mark.parametrize(
    "changes",
    [
        {"essay": "x" * token_memo.MAX_LENGTH},
        {f"claim{n}": n for n in range(token_memo.MAX_CLAIMS)},
    ],
    ids=["long", "many claims"],
)
def test_what_is_large_is_decoded_each_time(decoded: list[Any], changes: dict[str, Any]) -> None:
    token = forge(**changes)
    for _ in range(2):
        assert AccessToken(token).payload.items() >= changes.items()
    assert len(decoded) == 2 and remembered() == 0


def test_what_is_nested_deep_is_the_same_each_time() -> None:
    deep: Any = []
    for _ in range(300):
        deep = [deep]
    token = forge(deep=deep)
    assert AccessToken(token).payload == AccessToken(token).payload == stock.AccessToken(token).payload


def test_what_cannot_be_written_as_it_was_read_is_decoded_each_time(decoded: list[Any]) -> None:
    # Two halves of one character, which a second reading would put together.
    body = b'{"token_type":"access","exp":%d,"jti":"a","user_id":"1","odd":["\xed\xa0\xbd\xed\xb8\x80"]}' % (
        time.time() + 300
    )
    signing_input = b".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=") for part in (b'{"alg":"HS256","typ":"JWT"}', body)
    )
    algorithm = jwt.get_algorithm_by_name("HS256")
    signature = base64.urlsafe_b64encode(algorithm.sign(signing_input, algorithm.prepare_key(KEY))).rstrip(b"=")
    token = signing_input + b"." + signature
    assert AccessToken(token).payload["odd"] == AccessToken(token).payload["odd"] == ["\ud83d\ude00"]
    assert len(decoded) == 2 and remembered() == 0


def test_the_text_of_a_token_is_nowhere_in_the_memo() -> None:
    token = forge(nested={"a": ["b"]})
    signature = token.rpartition(b".")[2]
    AccessToken(token)
    AccessToken(token.decode())
    assert remembered() == 1
    for found in everything_in(token_memo._memo):
        if isinstance(found, str):
            assert signature.decode() not in found
        elif isinstance(found, (bytes, bytearray)):
            assert signature not in found


def everything_in(root: object) -> Iterator[object]:
    """All objects that can be reached, but for classes, modules and functions: those lead everywhere."""
    seen, todo = set(), [root]
    while todo:
        found = todo.pop()
        if id(found) in seen or isinstance(found, type) or callable(found) or type(found).__name__ == "module":
            continue
        seen.add(id(found))
        yield found
        todo += gc.get_referents(found)


def test_a_memory_is_not_pickled_or_copied_with_its_token() -> None:
    for _ in range(2):
        token = AccessToken(forge(nested={"a": [1]}))
        for other in (copy.copy(token), copy.deepcopy(token), pickle.loads(pickle.dumps(token))):  # noqa: S301
            assert other.payload == token.payload and claims_of(other) == claims_of(token)


# What a token is made of it -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [AccessToken, RefreshToken, SlidingToken, UntypedToken])
@pytest.mark.parametrize("changes", [{}, {"nested": {"a": [1, {"b": None}]}, "pi": 3.14, "yes": True}])
def test_it_is_the_token_that_simple_jwt_makes(cls: Any, changes: dict[str, Any]) -> None:
    raw = forge(token_type=cls.token_type, rotation=0, **changes)
    theirs = getattr(stock, cls.__name__)(raw)
    for _ in range(3):
        ours = cls(raw)
        assert ours.payload == theirs.payload and list(ours.payload) == list(theirs.payload)
        assert type(ours.payload) is dict
        assert ours.token == theirs.token
        assert abs(ours.current_time - theirs.current_time) < timedelta(seconds=5)
        assert ours.get_token_backend() is theirs.get_token_backend()
        assert {name for name in vars(theirs) if not hasattr(ours, name)} == set()
        assert ours.verify() is None and ours.check_exp() is None


@override_settings(USE_TZ=False)
def test_its_time_is_naive_where_the_project_has_no_time_zones() -> None:
    raw = forge()
    for _ in range(2):
        assert AccessToken(raw).current_time.tzinfo is None


def test_when_it_was_read_stays_when_it_was_read() -> None:
    raw = forge()
    AccessToken(raw)
    token = AccessToken(raw)
    before = time.time()
    time.sleep(0.02)
    assert token.current_time.timestamp() <= before


def test_whoever_changes_a_payload_changes_the_own_one() -> None:
    raw = forge(flags=["a"], nested={"deep": {"list": [1]}})
    first = AccessToken(raw).payload
    for _ in range(3):
        payload = AccessToken(raw).payload
        assert payload == first
        payload["flags"].append("admin")
        payload["nested"]["deep"]["list"].clear()
        payload["nested"]["deep"]["more"] = 1
        payload["user_id"] = "2"
        del payload["sid"]
        assert AccessToken(raw).payload == first


def test_the_claims_are_those_of_the_payload_as_it_is_now() -> None:
    raw = forge()
    for _ in range(3):
        token = AccessToken(raw)
        assert claims_of(token) == read_claims(token.payload)
        token.payload["user_id"] = "2"
        assert claims_of(token) == read_claims(token.payload) and claims_of(token).user == "2"
        del token.payload["jti"]
        with pytest.raises(TokenError):
            claims_of(token)


def test_the_claims_are_those_that_the_settings_name_now(monkeypatch: pytest.MonkeyPatch) -> None:
    token = AccessToken(forge(sub="7"))
    assert claims_of(token).user == "1"
    monkeypatch.setattr(simplejwt.api_settings, "USER_ID_CLAIM", "sub", raising=False)
    assert claims_of(token).user == "7"


def test_a_class_that_wants_another_type_refuses_what_is_remembered() -> None:
    token = forge()
    for _ in range(3):
        assert is_accepted(token) and is_accepted(token, UntypedToken)
        assert not is_accepted(token, RefreshToken) and not is_accepted(token, SlidingToken)


def test_a_type_that_is_no_longer_wanted_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    token = forge()
    assert is_accepted(token) and is_accepted(token)
    monkeypatch.setattr(AccessToken, "token_type", "visa")
    assert not is_accepted(token)


def test_a_claim_that_is_called_otherwise_now_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    token = forge()
    assert is_accepted(token) and is_accepted(token)
    # Two objects, once the settings were overridden.
    for names in (simplejwt.api_settings, stock.api_settings):
        monkeypatch.setattr(names, "TOKEN_TYPE_CLAIM", "kind", raising=False)
    assert not is_accepted(token)


# What is refused ----------------------------------------------------------------------------------------------------


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def test_what_is_not_the_very_token_is_refused() -> None:
    token = forge()
    header, body, signature = token.split(b".")
    payload = json.loads(base64.urlsafe_b64decode(body + b"=="))
    other = b64(json.dumps({**payload, "user_id": "2"}).encode())
    none = b64(b'{"alg":"none","typ":"JWT"}')
    for _ in range(2):
        assert is_accepted(token)
        for bad in (
            b".".join((header, other, signature)),
            b".".join((none, body, b"")),
            b".".join((none, body, signature)),
            b".".join((header, body, b"")),
            b".".join((header, body, signature[::-1])),
            forge(OTHER_KEY),
            token.lower(),
            b" " + token,
            *(token[:length] for length in range(0, len(token), 7)),
        ):
            assert not is_accepted(bad), bad
    assert remembered() == 1


def test_one_that_failed_is_not_remembered_as_good(decoded: list[Any]) -> None:
    for bad in (forge(OTHER_KEY), forge(exp=1), forge(nbf=time.time() + 60), forge(iat=time.time() + 60)):
        for _ in range(2):
            assert not is_accepted(bad)
    assert remembered() == 0 and len(decoded) == 8


@pytest.mark.parametrize("token", [None, 5, "\ud800", "é.é.é", b"\xff.\xff.\xff", object(), ["a"]])
def test_what_is_no_token_is_refused_as_ever(token: Any) -> None:
    if token is not None:
        assert not is_accepted(token)


def test_one_that_expires_while_it_is_remembered_is_refused_and_says_so() -> None:
    token = forge(exp=int(time.time()) + 5)
    assert is_accepted(token) and is_accepted(token)
    time.sleep(5.1)
    for _ in range(2):
        with pytest.raises(TokenError, match="Token is expired"):
            AccessToken(token)
    assert remembered() == 0


@pytest.mark.parametrize(
    ("claim", "at"), [("exp", -5), ("nbf", 5), ("iat", 5)], ids=["expired", "not yet valid", "from the future"]
)
@pytest.mark.parametrize("leeway", [10, 10.0, timedelta(seconds=10)])
def test_the_leeway_is_that_of_the_moment(claim: str, at: int, leeway: Any) -> None:
    token = forge(**{claim: int(time.time()) + at})
    assert not is_accepted(token)
    token_backend.leeway = leeway
    assert is_accepted(token) and is_accepted(token)
    token_backend.leeway = 1
    assert not is_accepted(token)
    token_backend.leeway = leeway
    assert is_accepted(token) and is_accepted(token)
    token_backend.leeway = 0
    assert not is_accepted(token)


@pytest.mark.parametrize("leeway", [0, 2.5])
def test_its_time_ends_at_the_moment_at_which_pyjwt_ends_it(monkeypatch: pytest.MonkeyPatch, leeway: float) -> None:
    token_backend.leeway = leeway
    now = int(time.time())
    AccessToken(forge(exp=now + 100, nbf=now - 1))
    (found,) = token_memo._memo._entries.values()
    # PyJWT refuses exp <= now - leeway, and nbf or iat > now + leeway.
    assert found.until == now + 100 + leeway and found.from_ == now - leeway


def test_with_another_key_all_is_verified_anew() -> None:
    token = forge()
    assert is_accepted(token) and is_accepted(token)
    change_key(OTHER_KEY)
    assert not is_accepted(token) and not is_accepted(token)
    assert is_accepted(forge(OTHER_KEY))
    change_key(KEY)
    assert is_accepted(token) and not is_accepted(forge(OTHER_KEY))


def test_a_prepared_key_that_is_replaced_counts() -> None:
    token = forge()
    assert is_accepted(token) and is_accepted(token)
    token_backend.prepared_signing_key = OTHER_KEY.encode()
    assert not is_accepted(token)


def rsa_pair() -> tuple[Any, str]:
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return private, private.public_key().public_bytes(serialization.Encoding.PEM, form).decode()


def test_with_another_algorithm_or_public_key_all_is_verified_anew(decoded: list[Any]) -> None:
    token, (private, public), (_, other_public) = forge(), rsa_pair(), rsa_pair()
    assert is_accepted(token) and is_accepted(token)
    token_backend.algorithm = "HS512"
    assert not is_accepted(token)
    token_backend.algorithm, token_backend.verifying_key = "RS256", public
    assert not is_accepted(token)
    signed = forge(private, "RS256")
    before = len(decoded)
    assert is_accepted(signed) and is_accepted(signed) and len(decoded) == before + 1
    token_backend.verifying_key = other_public
    del token_backend.prepared_verifying_key
    assert not is_accepted(signed)


def test_with_another_audience_or_issuer_all_is_verified_anew() -> None:
    for name, claim in (("audience", "aud"), ("issuer", "iss")):
        plain, ours = forge(), forge(**{claim: "ours"})
        assert is_accepted(plain) and is_accepted(ours)
        setattr(token_backend, name, "ours")
        assert not is_accepted(plain)
        assert is_accepted(ours) and is_accepted(ours)
        setattr(token_backend, name, "theirs")
        assert not is_accepted(ours)
        setattr(token_backend, name, None)
        assert is_accepted(plain)


@pytest.mark.parametrize(("name", "claim"), [("audience", "aud"), ("issuer", "iss")])
def test_a_list_that_is_changed_in_its_place_counts(name: str, claim: str) -> None:
    accepted = ["ours", "theirs"]
    setattr(token_backend, name, accepted)
    token = forge(**{claim: "theirs"})
    assert is_accepted(token) and is_accepted(token)
    accepted.remove("theirs")
    assert not is_accepted(token)


def test_a_key_that_is_changed_while_a_signature_is_verified_gets_nothing_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = jwt.decode

    def decode(token: Any, key: Any, *args: Any, **kwargs: Any) -> Any:
        change_key(OTHER_KEY)
        return real(token, token_backend.get_verifying_key(token), *args, **kwargs)

    token = forge(OTHER_KEY)
    with monkeypatch.context() as patched:
        patched.setattr(backends.jwt, "decode", decode)
        assert is_accepted(token)
    change_key(KEY)
    token_backend.get_verifying_key("")
    assert not is_accepted(token)


@pytest.mark.parametrize("name", ["SIMPLE_JWT", "JWT_REDIS"])
def test_a_change_of_settings_forgets_all(name: str) -> None:
    AccessToken(forge())
    assert remembered() == 1
    with override_settings(**{name: {**getattr(settings, name)}}):
        assert remembered() == 0
        AccessToken(forge())
    assert remembered() == 0


def test_a_child_process_begins_with_nothing_and_is_not_stuck() -> None:
    token = forge()
    AccessToken(token)
    # As if another thread were at it in the moment of the fork.
    with token_memo._memo._lock:
        child = os.fork()
        if child == 0:
            os._exit(0 if remembered() == 0 and is_accepted(token) and remembered() == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert remembered() == 1


# A project's own code -----------------------------------------------------------------------------------------------


def calls_of(cls: type, token: bytes, times: int = 3) -> None:
    for _ in range(times):
        cls(token)


def test_a_verify_of_a_subclass_runs_on_each_request() -> None:
    calls = itertools.count()

    class Own(AccessToken):
        def verify(self) -> None:
            super().verify()
            next(calls)

    calls_of(Own, forge())
    assert next(calls) == 3


def test_a_subclass_may_change_its_mind() -> None:
    class Own(AccessToken):
        is_open = True

        def verify(self) -> None:
            if not self.is_open:
                raise TokenError("closed")
            super().verify()

    token = forge()
    assert is_accepted(token, Own) and is_accepted(token, Own)
    Own.is_open = False
    assert not is_accepted(token, Own) and is_accepted(token)


@pytest.mark.parametrize("name", ["check_exp", "verify_token_type", "get_token_backend"])
def test_the_other_methods_of_a_subclass_run_on_each_request(name: str) -> None:
    calls: list[str] = []

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return getattr(AccessToken, name)(self, *args, **kwargs)

    calls_of(type("Own", (AccessToken,), {name: method}), forge())
    assert len(calls) >= 3


def test_an_init_of_a_subclass_or_of_a_base_runs_on_each_request() -> None:
    calls: list[str] = []

    class Own(AccessToken):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            calls.append("above")

    class Base(stock.Token):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            calls.append("between")

    class Mixed(AccessToken, Base):
        pass

    calls_of(Own, forge())
    calls_of(Mixed, forge())
    assert calls == ["above"] * 3 + ["between"] * 3


def test_what_a_subclass_sets_before_it_is_read_counts() -> None:
    class Own(AccessToken):
        wanted = "access"

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.token_type = type(self).wanted
            super().__init__(*args, **kwargs)

    token = forge()
    assert is_accepted(token, Own) and is_accepted(token, Own)
    Own.wanted = "visa"
    assert not is_accepted(token, Own)


def test_a_method_that_is_replaced_later_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    token = forge()
    calls_of(AccessToken, token)

    def verify(self: Any) -> None:
        raise TokenError("not today")

    monkeypatch.setattr(AccessToken, "verify", verify)
    assert not is_accepted(token)


def test_a_payload_that_a_verify_changes_is_not_what_is_remembered() -> None:
    class Own(AccessToken):
        def verify(self) -> None:
            self.payload["user_id"] = "2"
            super().verify()

    token = forge()
    for _ in range(2):
        assert claims_of(Own(token)).user == Own(token).payload["user_id"] == "2"
        assert claims_of(AccessToken(token)).user == AccessToken(token).payload["user_id"] == "1"


class OwnBackend(TokenBackend):
    calls = 0
    is_open = True

    def decode(self, token: Any, verify: bool = True) -> dict[str, Any]:
        OwnBackend.calls += 1
        if not self.is_open:
            raise backends.TokenBackendError("closed")
        return super().decode(token, verify)


def test_a_backend_of_the_project_decodes_on_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OwnBackend("HS256", OTHER_KEY)

    class Own(AccessToken):
        def get_token_backend(self) -> TokenBackend:
            return own

    token = forge(OTHER_KEY)
    monkeypatch.setattr(OwnBackend, "calls", 0)
    calls_of(Own, token)
    assert OwnBackend.calls == 3 and not is_accepted(token)
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", own)
    calls_of(AccessToken, token)
    assert OwnBackend.calls == 6
    # Also one that holds the very same as the backend that has found the token good.
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", token_backend)
    calls_of(AccessToken, ours := forge())
    twin = object.__new__(OwnBackend)
    vars(twin).update(vars(token_backend))
    monkeypatch.setattr("rest_framework_simplejwt.state.token_backend", twin)
    calls_of(AccessToken, ours)
    assert OwnBackend.calls == 9


def test_another_backend_has_other_tokens() -> None:
    class Own(AccessToken):
        _token_backend = TokenBackend("HS256", OTHER_KEY)

    ours, theirs = forge(), forge(OTHER_KEY)
    for _ in range(3):
        assert is_accepted(ours) and not is_accepted(theirs)
        assert is_accepted(theirs, Own) and not is_accepted(ours, Own)


@pytest.mark.parametrize("name", ["decode", "get_verifying_key", "get_leeway"])
@pytest.mark.parametrize("target", [TokenBackend, token_backend], ids=["class", "object"])
def test_a_backend_whose_methods_were_replaced_is_asked_on_each_request(
    monkeypatch: pytest.MonkeyPatch, target: Any, name: str
) -> None:
    token = forge()
    calls_of(AccessToken, token)
    calls: list[str] = []
    real = getattr(target, name)

    def replaced(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(target, name, replaced)
        calls_of(AccessToken, token)
    assert len(calls) >= 3


def test_keys_from_a_url_are_asked_for_on_each_request() -> None:
    private, _ = rsa_pair()

    class Keys:
        key: Any = private.public_key()

        def get_signing_key_from_jwt(self, token: Any) -> Any:
            if self.key is None:
                raise jwt.PyJWKClientError("no such key")
            return self

    token_backend.algorithm, token_backend.jwks_client = "RS256", Keys()
    token = forge(private, "RS256")
    assert is_accepted(token) and is_accepted(token)
    token_backend.jwks_client.key = None
    assert not is_accepted(token)


def test_unverified_tokens_are_read_as_ever() -> None:
    for _ in range(2):
        assert AccessToken(forge(OTHER_KEY), verify=False).payload["jti"] == "abc"
    assert remembered() == 0


# In requests --------------------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_a_remembered_token_is_refused_once_its_session_has_ended(alice: Any, decoded: list[Any]) -> None:
    token = sessions.open_session(alice)
    bearer = {"HTTP_AUTHORIZATION": f"Bearer {token.access_token}"}
    for _ in range(3):
        assert http.get("/stateless/", **bearer).status_code == 200
    assert len(decoded) == 1
    sessions.revoke_token(token)
    assert http.get("/stateless/", **bearer).json()["reason"] == "session_ended"


@pytest.mark.django_db
def test_several_classes_are_tried_in_order_and_the_error_is_simple_jwts(
    alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simplejwt.api_settings, "AUTH_TOKEN_CLASSES", (AccessToken, SlidingToken), raising=False)
    monkeypatch.setattr(stock_authentication.api_settings, "AUTH_TOKEN_CLASSES", (AccessToken, SlidingToken))
    sliding, refresh = str(SlidingToken.for_user(alice)).encode(), str(RefreshToken.for_user(alice)).encode()
    ours, theirs = JWTStatelessUserAuthentication(), stock_authentication.JWTStatelessUserAuthentication()
    for _ in range(3):
        assert type(ours.get_validated_token(sliding)) is SlidingToken
        for bad in (refresh, forge(OTHER_KEY), forge(exp=1), b"nonsense"):
            errors = []
            for one in (ours, theirs):
                with pytest.raises(InvalidToken) as caught:
                    one.get_validated_token(bad)
                errors.append(caught.value.detail)
            assert errors[0] == errors[1] and len(errors[0]["messages"]) == 2


@pytest.mark.django_db
def test_the_methods_that_a_project_puts_in_are_asked(alice: Any, rf: Any) -> None:
    access = str(sessions.open_session(alice).access_token)
    calls: list[str] = []

    class Between(stock_authentication.JWTStatelessUserAuthentication):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            calls.append("__init__")
            super().__init__(*args, **kwargs)

        def authenticate(self, request: Any) -> Any:
            calls.append("authenticate")
            return super().authenticate(request)

    class Cookie(JWTStatelessUserAuthentication):
        def get_header(self, request: Any) -> Any:
            calls.append("get_header")
            return b"Bearer " + request.COOKIES["token"].encode()

        def get_raw_token(self, header: bytes) -> Any:
            calls.append("get_raw_token")
            return super().get_raw_token(header)

        def get_validated_token(self, raw_token: bytes) -> Any:
            calls.append("get_validated_token")
            return super().get_validated_token(raw_token)

        def get_user(self, validated_token: Any) -> Any:
            calls.append("get_user")
            return super().get_user(validated_token)

    request = rf.get("/", HTTP_COOKIE=f"token={access}", HTTP_AUTHORIZATION=f"Bearer {access}")
    result = Cookie().authenticate(request)
    assert result is not None and result[0].pk == str(alice.pk) and result[1].verdict.allowed
    assert calls == ["get_header", "get_raw_token", "get_validated_token", "get_user"]
    calls.clear()
    mixed = type("Mixed", (RevocationCheckMixin, Between), {})()
    assert mixed.authenticate(request) is not None and calls == ["__init__", "authenticate"]
    assert mixed.user_model is JWTStatelessUserAuthentication().user_model is type(alice)


def test_a_token_that_is_remembered_is_not_waved_through_without_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    token = forge()
    AccessToken(token)

    def check(*args: Any, **kwargs: Any) -> Any:
        raise RevocationUnavailable

    monkeypatch.setattr(sessions, "check", check)
    with pytest.raises(RevocationUnavailable):
        JWTStatelessUserAuthentication().get_validated_token(token)


def test_threads_that_change_the_key_and_evict_never_let_a_foreign_token_pass() -> None:
    """Each thread asks about tokens of both keys while the key changes; what is accepted is held against the key."""
    keys = (KEY, OTHER_KEY)
    tokens = {key: [forge(key, jti=f"number {number}") for number in range(40)] for key in keys}
    stop = threading.Event()
    # Counts the changes: odd while one is under way. A verdict counts where none began or ended meanwhile.
    changes = itertools.count(1)
    state = [0, 0]
    wrong: list[str] = []
    judged = [0] * 4

    def ask(number: int) -> None:
        turn = itertools.count(number)
        while not stop.is_set():
            asked = next(turn)
            of = asked % 2
            raw = tokens[keys[of]][asked * 7 % 40]
            before = tuple(state)
            accepted = is_accepted(raw)
            if before != tuple(state) or before[0] % 2:
                continue
            judged[number] += 1
            if accepted != (of == before[1]):
                wrong.append(f"{of} {before} {accepted}")

    with override_settings(JWT_REDIS={"ALIAS": "sessions", "TOKEN_MEMO_SIZE": 16}):
        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            state[0] = next(changes)
            state[1] = 1 - state[1]
            token_backend.signing_key = keys[state[1]]
            token_backend.prepared_signing_key = keys[state[1]].encode()
            state[0] = next(changes)
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        assert remembered() <= 16
    assert not wrong and min(judged) > 100
