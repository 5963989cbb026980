"""Several signing keys: who verifies what, what is refused, and that nobody is logged out by a change."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from rest_framework_simplejwt import state
from rest_framework_simplejwt.backends import TokenBackend
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken as StockRefreshToken

from jwt_redis import token_memo
from jwt_redis.checks import check_keys, check_keys_for_deployment, check_settings
from jwt_redis.conf import config
from jwt_redis.decoding import claims_of, decode, decode_to_end
from jwt_redis.exceptions import NoSigningKey
from jwt_redis.signing import backends, key_files
from jwt_redis.signing.backends import KeyedBackend
from jwt_redis.signing.keys import ALGORITHMS, generate, make_key, public_jwk, thumbprint
from jwt_redis.tokens import AccessToken
from jwt_redis.verdicts import NO_KID
from tests.support.jwk_examples import PRIVATE_SET, PUBLIC_SET, SECRET_SET

SECRET = "a secret of today that is long enough for HS256 to be content with"
OTHER = "a secret of tomorrow that is long enough for HS256 to be content with"


def keys(**kwargs: Any) -> Any:
    return override_settings(JWT_REDIS={**settings.JWT_REDIS, "KEYS": kwargs})


def pem(private: Any) -> str:
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(private: Any) -> str:
    return (
        private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
TWO = {"one": {"alg": "HS256", "key": SECRET}, "two": {"alg": "ES256", "key": pem(EC_KEY)}}


def access(**claims: Any) -> str:
    token = AccessToken()
    token.payload.update({"user_id": "7", "sid": "s" * 22, **claims})
    return str(token)


def header(token: str) -> dict[str, Any]:
    return jwt.get_unverified_header(token)


def forged(head: dict[str, Any], key: bytes | Any = b"", payload: dict[str, Any] | None = None) -> str:
    """Signed as the forger likes: by HMAC under ``key``, or not at all."""
    now = int(time.time())
    body = {"token_type": "access", "user_id": "7", "jti": "j", "sid": "s" * 22, "iat": now, "exp": now + 100}

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    text = part(json.dumps(head).encode()) + "." + part(json.dumps({**body, **(payload or {})}).encode())
    signature = hmac.new(key, text.encode(), hashlib.sha256).digest() if key else b""
    return f"{text}.{part(signature)}"


# Off --------------------------------------------------------------------------------------------------------------


def test_without_the_setting_simple_jwts_own_backend_stays() -> None:
    assert type(state.token_backend) is TokenBackend
    assert "kid" not in header(access())
    assert claims_of(AccessToken(access())).key == NO_KID
    with keys(keys=TWO, signing="two"):
        assert type(state.token_backend) is KeyedBackend
    assert type(state.token_backend) is TokenBackend


# Verifying --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_what_a_key_signs_names_it_and_is_verified_by_it(alg: str) -> None:
    key, jwk = generate(alg)
    with keys(keys={key.kid: {"alg": alg, "key": jwk}}, signing=key.kid):
        token = access()
        assert (header(token)["kid"], header(token)["alg"]) == (key.kid, alg)
        assert claims_of(AccessToken(token)).key == key.kid
        assert StockRefreshToken(str(StockRefreshToken())).payload
        assert decode_to_end(token)["user_id"] == "7"


def test_switching_it_on_and_changing_the_key_logs_nobody_out() -> None:
    before = access()
    with keys(keys=TWO, signing="one"):
        first = access()
        assert AccessToken(before).payload["user_id"] == "7"
    with keys(keys=TWO, signing="two"):
        for token in (before, first, access()):
            assert AccessToken(token).payload["user_id"] == "7"
            assert decode(token)["user_id"] == "7"
    with keys(keys=TWO, signing="two", without_kid=False), pytest.raises(TokenError):
        AccessToken(before)


def test_an_unknown_kid_is_refused_and_fetched_from_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **kwargs: asked.append(args))
    with keys(keys=TWO, signing="one"):
        for kid in ("three", "no-kid", "", "../one", "one ", "ONE"):
            token = jwt.encode(jwt.decode(access(), SECRET, algorithms=["HS256"]), SECRET, headers={"kid": kid})
            with pytest.raises(TokenError):
                AccessToken(token)
        own = jwt.decode(access(), SECRET, algorithms=["HS256"])
        tokens = [jwt.encode(own, settings.SECRET_KEY, headers={"kid": "one"})]
        # Where to fetch a key is what a forger would like to say.
        mine = ec.generate_private_key(ec.SECP256R1())
        jwk = public_jwk(make_key("mine", "ES256", public_pem(mine)))
        for more in ({"jku": "http://127.0.0.1:1/"}, {"x5u": "http://127.0.0.1:1/"}, {"jwk": jwk}):
            tokens += [jwt.encode(own, pem(mine), algorithm="ES256", headers={"kid": kid, **more}) for kid in TWO]
            tokens.append(jwt.encode(own, pem(mine), algorithm="ES256", headers=more))
        for token in tokens:
            with pytest.raises(TokenError):
                AccessToken(token)
    assert asked == []


@pytest.mark.parametrize("url", [None, "http://127.0.0.1:9/jwks"])
def test_where_simple_jwt_has_no_key_of_its_own_named_ones_are_good(
    url: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = access()
    monkeypatch.setattr(state, "token_backend", TokenBackend("RS256", "", "", jwk_url=url))
    with keys(keys=TWO, signing="two"):
        token = access()
        for _ in range(2):
            assert AccessToken(token)["user_id"]
            with pytest.raises(TokenError):
                AccessToken(plain)
    assert [one.event for one in caplog.records if hasattr(one, "event")] == ["own_key_unusable"]


def test_the_algorithm_is_the_keys_and_not_the_tokens() -> None:
    made = {
        "rsa": {"alg": "RS256", "key": pem(RSA_KEY)},
        "ec": {"alg": "ES256", "key": pem(EC_KEY)},
        "secret": {"alg": "HS256", "key": SECRET},
    }
    with keys(keys=made, signing="ec"):
        assert AccessToken(forged({"alg": "HS256", "kid": "secret"}, SECRET.encode())).payload
        for kid, private in (("rsa", RSA_KEY), ("ec", EC_KEY)):
            public = public_pem(private).encode()
            jwk = json.dumps(public_jwk(make_key("k", made[kid]["alg"], public))).encode()
            # The classic: what everybody knows as the secret of an HMAC.
            for known in (public, public.strip(), jwk):
                with pytest.raises(TokenError):
                    AccessToken(forged({"alg": "HS256", "kid": kid}, known))
                with pytest.raises(TokenError):
                    AccessToken(forged({"alg": made[kid]["alg"], "kid": kid}, known))
        for alg in ("none", "None", "", "HS384", "RS256", None):
            for kid in made:
                if (kid, alg) == ("rsa", "RS256"):
                    continue
                with pytest.raises(TokenError):
                    AccessToken(forged({"alg": alg, "kid": kid}))
                with pytest.raises(TokenError):
                    AccessToken(forged({"alg": alg, "kid": kid}, SECRET.encode()))
        # A key's own signature under another hash.
        payload = jwt.decode(access(), public_pem(EC_KEY), algorithms=["ES256"])
        for alg in ("RS512", "PS256"):
            with pytest.raises(TokenError):
                AccessToken(jwt.encode(payload, pem(RSA_KEY), algorithm=alg, headers={"kid": "rsa"}))
        with pytest.raises(TokenError):
            AccessToken(jwt.encode(payload, SECRET, algorithm="HS512", headers={"kid": "secret"}))


@pytest.mark.parametrize(
    "head",
    [
        "[]",
        "5",
        '"kid"',
        "{",
        "",
        '{"alg":"HS256","kid":5}',
        '{"alg":"HS256","kid":null}',
        '{"alg":"HS256","kid":["one"]}',
        '{"alg":"HS256","kid":"one","crit":["b64"],"b64":false}',
        '{"kid":' + "[" * 700 + "}",
        '{"alg":"HS256","kid":"' + "x" * 5000 + '"}',
        '{"alg":"HS256","kid":"\\ud800"}',
    ],
)
def test_a_header_that_is_none_is_a_bad_token_and_no_crash(head: str) -> None:
    with keys(keys=TWO, signing="one"):
        good = access()
        text = base64.urlsafe_b64encode(head.encode("utf-8", "surrogatepass")).rstrip(b"=").decode()
        text += "." + good.split(".")[1]
        signature = hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()
        token = text + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
        for raw in (token, token.encode(), text, head):
            with pytest.raises(TokenError):
                AccessToken(raw)  # type: ignore[arg-type]


def test_truncated_and_changed_tokens_are_refused() -> None:
    with keys(keys=TWO, signing="two"):
        good = access()
        for end in range(0, len(good), 7):
            with pytest.raises(TokenError):
                AccessToken(good[:end])
        head, body, signature = good.split(".")
        other = access(user_id="8").split(".")
        with pytest.raises(TokenError):
            AccessToken(f"{head}.{other[1]}.{signature}")
        assert AccessToken(good.encode()).payload["user_id"] == "7"
        expired = access(exp=int(time.time()) - 10)
        with pytest.raises(TokenError, match="expired"):
            AccessToken(expired)
        assert decode_to_end(expired)["user_id"] == "7"
        assert body


def test_the_memo_keeps_a_named_keys_tokens_and_drops_them_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[Any] = []
    real = jwt.decode
    monkeypatch.setattr(jwt, "decode", lambda *args, **kwargs: verified.append(args) or real(*args, **kwargs))
    token_memo.clear()
    with keys(keys=TWO, signing="two"):
        token, other = access(), None
        for _ in range(5):
            AccessToken(token)
        assert len(verified) == 1
        backends.refuse(frozenset({"two"}))
        try:
            with pytest.raises(TokenError):
                AccessToken(token)
            with pytest.raises(NoSigningKey):
                other = access()
            assert other is None
        finally:
            backends.refuse(frozenset())
        assert AccessToken(token).payload


def test_secret_key_fallbacks_verify_where_they_are_asked_to() -> None:
    former = jwt.encode(AccessToken().payload | {"user_id": "7"}, OTHER)
    with override_settings(SECRET_KEY_FALLBACKS=[OTHER]):
        with pytest.raises(TokenError):
            AccessToken(former)
        with keys(secret_key_fallbacks=True):
            assert AccessToken(former).payload["user_id"] == "7"
            assert "kid" not in header(access())
            assert AccessToken(access()).payload
            with pytest.raises(TokenError):
                AccessToken(jwt.encode(AccessToken().payload, SECRET))
            backends.refuse(frozenset({NO_KID}))
            try:
                with pytest.raises(TokenError):
                    AccessToken(former)
            finally:
                backends.refuse(frozenset())
        with keys(), pytest.raises(TokenError):
            AccessToken(former)
        # Were it refused by its name, what it signs without one would be good.
        twins = {"old": {"alg": "HS256", "key": OTHER}}
        with keys(keys=twins, secret_key_fallbacks=True), pytest.raises(ImproperlyConfigured, match="old and one of"):
            access()


def test_audience_and_issuer_hold_for_named_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with keys(keys=TWO, signing="two"):
        plain = access()
        monkeypatch.setattr(state.token_backend, "audience", "us")
        monkeypatch.setattr(state.token_backend, "issuer", "me")
        token = access()
        assert AccessToken(token).payload["aud"] == "us"
        with pytest.raises(TokenError):
            AccessToken(plain)
        monkeypatch.setattr(state.token_backend, "audience", "them")
        with pytest.raises(TokenError):
            AccessToken(token)


# Keys -------------------------------------------------------------------------------------------------------------


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    # RFC 7638 section 3.1: the RSA key of RFC 7517's examples.
    (rsa_key,) = (one for one in PUBLIC_SET["keys"] if one["kty"] == "RSA")
    key = make_key("rfc", "RS256", rsa_key)
    assert thumbprint("RS256", key.verifying) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    # RFC 8037 appendix A.3.
    okp = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert thumbprint("EdDSA", make_key("rfc", "EdDSA", okp).verifying) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_private_keys_of_the_rfc_are_read_and_published_as_its_public_ones() -> None:
    """RFC 7517 appendices A.1 and A.2."""
    for private, public in zip(PRIVATE_SET["keys"], PUBLIC_SET["keys"], strict=True):
        alg = "RS256" if private["kty"] == "RSA" else "ES256"
        # One of the two says that it is for encryption.
        key = make_key(private["kid"], alg, {**private, "use": "sig"})
        assert public_jwk(key) == {**public, "alg": alg, "use": "sig"}
        signed = jwt.encode({"a": 1}, key.signing, alg)
        assert jwt.decode(signed, make_key("k", alg, {**public, "use": "sig"}).verifying, algorithms=[alg]) == {"a": 1}


def test_the_secrets_of_the_rfc_are_read_and_never_published() -> None:
    """RFC 7517 appendix A.3, the token of RFC 7515 appendix A.1."""
    wrapping, signing = SECRET_SET["keys"]
    with pytest.raises(ValueError, match="says that it is for 'A128KW'"):
        make_key("k", "HS256", wrapping)
    key = make_key("k", "HS256", signing)
    token = (
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLm"
        "NvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    )
    options: Any = {"verify_exp": False}
    claims = jwt.decode(token, key.verifying, algorithms=["HS256"], options=options)
    assert claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    with pytest.raises(ValueError, match="no public half"):
        public_jwk(key)


@pytest.mark.parametrize(
    ("kid", "alg", "material", "said"),
    [
        ("k", "none", SECRET, "alg is one of"),
        ("k", "HS256", "short", "at least 32 bytes"),
        ("k", "HS512", "x" * 63, "at least 64 bytes"),
        ("k", "HS256", public_pem(EC_KEY), "no key for HS256"),
        ("k", "ES256", pem(RSA_KEY), "no key for ES256"),
        ("k", "ES256", "hello", "no key for ES256"),
        ("k", "ES256", pem(ec.generate_private_key(ec.SECP384R1())), "curve|no key for ES256"),
        ("k", "RS256", pem(rsa.generate_private_key(public_exponent=65537, key_size=1024)), "1024 bits"),  # noqa: S505
        ("k", "RS256", pem(ED_KEY), "no key for RS256"),
        ("k", "RS256", {"kty": "oct", "k": "AAAA", "alg": "HS256"}, "says that it is for 'HS256'"),
        ("k", "ES256", PRIVATE_SET["keys"][0], "says that it is for 'enc'"),
        ("k", "RS256", {**PUBLIC_SET["keys"][1], "key_ops": ["encrypt"]}, "signs and verifies nothing"),
        ("k", "EdDSA", pem(EC_KEY), "no key for EdDSA|another curve"),
        ("-k", "HS256", SECRET, "kid"),
        ("a,b", "HS256", SECRET, "kid"),
        ("", "HS256", SECRET, "kid"),
        ("k" * 65, "HS256", SECRET, "kid"),
        ("no-kid", "HS256", SECRET, "that name stands for"),
    ],
)
def test_a_key_that_will_not_do_is_named_and_never_shown(kid: str, alg: str, material: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        make_key(kid, alg, material)
    text = str(material)
    assert text not in str(raised.value)
    assert not any(line and len(line) > 20 and line in str(raised.value) for line in text.splitlines())


@pytest.mark.parametrize("alg", ["ES256", "RS256", "EdDSA"])
def test_what_is_published_has_nothing_of_the_private_half(alg: str) -> None:
    key, private = generate(alg)
    made = public_jwk(key)
    assert {"kty", "use", "alg", "kid"} <= set(made)
    assert set(made) <= {"kty", "use", "alg", "kid", "crv", "x", "y", "n", "e"}
    hidden = {private[name] for name in ("d", "p", "q", "dp", "dq", "qi") if name in private}
    assert hidden
    assert not hidden & set(made.values())
    assert private["d"] not in repr(key)
    secret, _ = generate("HS256")
    with pytest.raises(ValueError, match="no public half"):
        public_jwk(secret)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "dict"),
        ({"nope": 1}, "'nope'"),
        ({"directory": ""}, "a path"),
        ({"directory": "/k", "signing": "a"}, "directory"),
        ({"signing": "a"}, "no key 'a'"),
        ({"keys": {"a": {"alg": "HS256"}}}, "'alg' and one of"),
        ({"keys": {"a": {"key": SECRET}}}, "'alg' and one of"),
        ({"keys": {"a": {"alg": "HS256", "key": SECRET, "file": "/x"}}}, "'alg' and one of"),
        ({"keys": {5: {"alg": "HS256", "key": SECRET}}}, "5 is no kid"),
        ({"keys": {"a": {"alg": "HS256", "load": None}}}, "callable"),
        ({"without_kid": False}, "without_kid"),
        ({"max_age": 5}, "max_age"),
    ],
)
def test_settings_that_are_wrong_are_named(value: Any, said: str) -> None:
    with override_settings(JWT_REDIS={**settings.JWT_REDIS, "KEYS": value}):
        (found,) = check_settings()
        assert found.id == "jwt_redis.E002"
        assert said in found.msg
        assert SECRET not in found.msg


def test_no_settings_show_the_material() -> None:
    """An error report has what the variables were."""
    with keys(keys=TWO, signing="two"):
        shown = [repr(config().keys), repr(config()), repr(state.token_backend), repr(state.token_backend.key_set)]
        assert "two" in shown[0]
        assert not any(SECRET in text for text in shown)


def test_material_comes_from_a_text_a_file_or_a_callable(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem(EC_KEY))
    asked: list[str] = []

    def vault(kid: str) -> str:
        asked.append(kid)
        return OTHER

    made = {
        "text": {"alg": "HS256", "key": SECRET},
        "file": {"alg": "ES256", "file": file},
        "vault": {"alg": "HS256", "load": vault},
    }
    for kid in made:
        with keys(keys=made, signing=kid):
            token = access()
            assert header(token)["kid"] == kid
            assert AccessToken(token).payload
    assert set(asked) == {"vault"}
    with keys(keys={"gone": {"alg": "ES256", "file": tmp_path / "gone"}}, signing="gone"):
        assert [message.id for message in check_keys()] == ["jwt_redis.E020"]
        with pytest.raises(ImproperlyConfigured, match="gone"):
            access()
    with keys(keys={"vault": {"alg": "HS256", "load": lambda kid: None}}, signing="vault"):
        assert "NoneType" in check_keys()[0].msg
    with keys(keys={"half": {"alg": "ES256", "key": public_pem(EC_KEY)}}, signing="half"):
        assert "public half" in check_keys()[0].msg
    twins = {"a": {"alg": "ES256", "key": pem(EC_KEY)}, "b": {"alg": "ES256", "key": public_pem(EC_KEY)}}
    with keys(keys=twins, signing="a"):
        assert "one key" in check_keys()[0].msg
    with keys(keys={"a": {"alg": "HS256", "key": settings.SECRET_KEY}}, signing="a"):
        assert "SIMPLE_JWT's own key and a" in check_keys()[0].msg or "one key" in check_keys()[0].msg


# The directory ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "keys"
    with keys(directory=str(path)):
        yield path


def looked() -> None:
    """A second later: what has changed is seen."""
    state.token_backend.source._next_look = 0.0


def test_a_directory_is_followed(folder: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match="no such directory"):
        access()
    with key_files.changing(str(folder)) as change:
        kid = change.create("ES256", "HS256")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    before = access()
    assert "kid" not in header(before)
    with key_files.changing(str(folder)) as change:
        change.activate(kid)
        other = change.create("EdDSA", "HS256")
    looked()
    first = access()
    assert header(first)["kid"] == kid
    assert AccessToken(before).payload
    # Another process signs already with what this one has not heard of.
    with key_files.changing(str(folder)) as change:
        change.activate(other)
    key = make_key(other, "EdDSA", (folder / f"{other}.jwk").read_bytes())
    theirs = jwt.encode(AccessToken(first).payload, key.signing, algorithm="EdDSA", headers={"kid": other})
    assert AccessToken(theirs).payload
    # Within the second, however long it takes here.
    state.token_backend.source._next_look = time.monotonic() + 60
    with key_files.changing(str(folder)) as change:
        change.retire(kid, key_files.RETIRED)
    assert not (folder / f"{kid}.jwk").exists()
    assert AccessToken(first).payload
    looked()
    with pytest.raises(TokenError):
        AccessToken(first)
    with key_files.changing(str(folder)) as change:
        change.retire(NO_KID, key_files.RETIRED)
    looked()
    with pytest.raises(TokenError):
        AccessToken(before)
    assert AccessToken(theirs).payload


def test_a_change_is_noticed_within_the_second_by_itself(folder: Path) -> None:
    with key_files.changing(str(folder)) as change:
        kid = change.create("ES256", "HS256")
    access()
    with key_files.changing(str(folder)) as change:
        change.activate(kid)
    deadline = time.monotonic() + 10
    while "kid" not in header(access()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2, "keys": {}}', '{"version": 1, "keys": {"../x": {}}}', '{"version": 1}']
)
def test_a_directory_that_is_damaged_is_named_and_logs_nobody_out(
    folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with key_files.changing(str(folder)) as change:
        change.activate(change.create("ES256", "HS256"))
    token = access()
    (folder / "keys.json").write_text(text)
    looked()
    assert AccessToken(token).payload
    looked()
    assert AccessToken(access()).payload
    assert [record.event for record in caplog.records if record.name == "jwt_redis.signing.backends"] == [
        "keys_unreadable"
    ]
    assert [message.id for message in check_keys()] == ["jwt_redis.E020"]
    assert "keys.json" in check_keys()[0].msg
    with pytest.raises(ValueError, match=r"keys\.json"), key_files.changing(str(folder)):
        pass


def test_keys_whose_refusal_nobody_would_remember_are_warned_of(folder: Path) -> None:
    def ids(journal: bool, **given: Any) -> list[str | None]:
        with override_settings(JWT_REDIS={**settings.JWT_REDIS, "JOURNAL": journal, "KEYS": given}):
            return [message.id for message in check_keys()]

    assert ids(False, keys=TWO, signing="one") == ["jwt_redis.W022"]
    assert ids(True, keys=TWO, signing="one") == []
    # There the list of keys remembers.
    folder.mkdir()
    assert ids(False, directory=str(folder)) == []
    # And here no key has a name.
    assert ids(False, secret_key_fallbacks=True) == []


def test_a_key_whose_file_is_gone_or_whose_list_is_gone_is_named(folder: Path) -> None:
    with key_files.changing(str(folder)) as change:
        kid = change.create("ES256", "HS256")
    (folder / f"{kid}.jwk").rename(folder / "away")
    assert kid in check_keys()[0].msg
    (folder / "away").rename(folder / f"{kid}.jwk")
    assert check_keys() == []
    (folder / "keys.json").unlink()
    assert "it is missing, and there are keys beside it" in check_keys()[0].msg


def test_keys_that_everybody_can_read_are_an_error(folder: Path) -> None:
    with key_files.changing(str(folder)) as change:
        kid = change.create("ES256", "HS256")
    assert check_keys() == []
    (folder / f"{kid}.jwk").chmod(0o644)
    assert [message.id for message in check_keys()] == ["jwt_redis.E021"]


def test_a_directory_within_a_repository_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    with pytest.raises(ValueError, match="repository"), key_files.changing(str(tmp_path / "keys")):
        pass
    assert not (tmp_path / "keys").exists()


def test_a_writer_that_is_killed_leaves_the_keys_from_before(folder: Path) -> None:
    code = (
        "import os, sys\n"
        "from jwt_redis.signing import key_files\n"
        "count = 0\n"
        "real = os.fsync\n"
        "def fsync(fd):\n"
        "    global count\n"
        "    count += 1\n"
        "    if count == int(sys.argv[2]): os.kill(os.getpid(), 9)\n"
        "    real(fd)\n"
        "os.fsync = fsync\n"
        "with key_files.changing(sys.argv[1]) as change:\n"
        "    change.activate(change.create('ES256', 'HS256'))\n"
    )
    with key_files.changing(str(folder)) as change:
        change.activate(change.create("ES256", "HS256"))
        kid = change.signing
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    # Six syncs: of the key, of the list, of the list once more, and of the folder behind each.
    for step in range(1, 7):
        setup = "import django; django.setup()\n"
        done = subprocess.run([sys.executable, "-c", setup + code, str(folder), str(step)], env=env, check=False)
        assert done.returncode == -9
        read = key_files.KeyFiles(str(folder))
        assert read.key_set().signing == (kid if step < 6 else read.signing)
    # Nor is the lock held by who is dead.
    with key_files.changing(str(folder)) as change:
        change.activate(change.create("ES256", "HS256"))


def test_two_writers_do_not_lose_each_others_keys(folder: Path) -> None:
    code = (
        "import django, sys; django.setup()\n"
        "from jwt_redis.signing import key_files\n"
        "for _ in range(5):\n"
        "    with key_files.changing(sys.argv[1]) as change: change.create('ES256', 'HS256')\n"
    )
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    writers = [subprocess.Popen([sys.executable, "-c", code, str(folder)], env=env) for _ in range(3)]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert len(key_files.KeyFiles(str(folder)).key_set().keys) == 15


# Checks -----------------------------------------------------------------------------------------------------------


def test_simple_jwts_own_key_is_looked_at_for_deployment(tmp_path: Path) -> None:
    def ids() -> list[str]:
        return [str(message.id) for message in check_keys_for_deployment()]

    assert ids() == ["jwt_redis.W021"]
    simple = {**settings.SIMPLE_JWT}
    with override_settings(SIMPLE_JWT={**simple, "SIGNING_KEY": "short"}):
        assert ids() == ["jwt_redis.W020"]
        with keys(keys=TWO, signing="two"):
            assert ids() == ["jwt_redis.W020"]
        with keys(keys=TWO, signing="two", without_kid=False):
            assert ids() == []
    with override_settings(SIMPLE_JWT={**simple, "SIGNING_KEY": "", "ALGORITHM": "RS256"}):
        assert ids() == []
    with (
        override_settings(SIMPLE_JWT={**simple, "JWK_URL": "https://example.com/jwks"}),
        keys(keys=TWO, signing="two"),
    ):
        assert [message.id for message in check_keys()] == ["jwt_redis.E022"]


def test_a_copied_backend_has_the_keys_too() -> None:
    with keys(keys=TWO, signing="two"):
        backend = copy.copy(state.token_backend)
        backend.leeway = timedelta(days=1)
        assert backend.decode(access(exp=int(time.time()) - 10))["user_id"] == "7"
