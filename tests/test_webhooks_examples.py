"""The examples of the specifications that webhooks follow, against what is sent: RFC 8417, RFC 8935, RFC 9493, OpenID
CAEP 1.0 and the OpenID Shared Signals Framework 1.0."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import jwt
import pytest
from django.conf import settings as django_settings
from rest_framework_simplejwt.exceptions import TokenError

from jwt_redis.contrib.webhooks.models import Delivery, Receiver
from jwt_redis.contrib.webhooks.sending import Tally, deliver
from jwt_redis.contrib.webhooks.tokens import SESSION_REVOKED, STREAM_UPDATED, VERIFICATION, claims_of
from jwt_redis.tokens import AccessToken, RefreshToken, SlidingToken, UntypedToken
from tests.support.receiver import Endpoint, Handler, answering, listening
from tests.test_webhooks import QUICK, end_one, receiver_at

pytestmark = pytest.mark.django_db

Configure = Any


@pytest.fixture(autouse=True)
def configure(settings: Any) -> Configure:
    def change(**more: Any) -> None:
        settings.JWT_REDIS = {"ALIAS": "sessions", "WEBHOOKS": {**QUICK, **more}}

    change()
    return change


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with listening() as made:
        yield made


# RFC 8417, section 2 --------------------------------------------------------------------------------------------------

SETS: dict[str, dict[str, Any]] = {
    "figure 1, a password was reset": {
        "iss": "https://scim.example.com",
        "iat": 1458496025,
        "jti": "3d0c3cf797584bd193bd0fb1bd4e7d30",
        "aud": [
            "https://jhub.example.com/Feeds/98d52461fa5bbc879593b7754",
            "https://jhub.example.com/Feeds/5d7604516b1d08641d7676ee7",
        ],
        "sub": "https://scim.example.com/Users/44f6142df96bd6ab61e7521d9",
        "events": {
            "urn:ietf:params:scim:event:passwordReset": {"id": "44f6142df96bd6ab61e7521d9"},
            "https://example.com/scim/event/passwordResetExt": {"resetAttempts": 5},
        },
    },
    "figure 2, a logout": {
        "iss": "https://server.example.com",
        "sub": "248289761001",
        "aud": "s6BhdRkqt3",
        "iat": 1471566154,
        "jti": "bWJq",
        "sid": "08a5019c-17e1-4977-8f42-65a12843ea02",
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
    },
    "figure 3, a consent": {
        "iss": "https://my.med.example.org",
        "iat": 1458496025,
        "jti": "fb4e75b5411e4e19b6c0fe87950f7749",
        "aud": ["https://rp.example.com"],
        "events": {
            "https://openid.net/heart/specs/consent.html": {
                "iss": "https://connect.example.com",
                "sub": "248289761001",
                "consentUri": ["https://terms.med.example.org/labdisclosure.html#Agree"],
            }
        },
    },
    "figure 4, an account was disabled": {
        "iss": "https://idp.example.com/",
        "jti": "756E69717565206964656E746966696572",
        "iat": 1508184845,
        "aud": "636C69656E745F6964",
        "events": {
            "https://schemas.openid.net/secevent/risc/event-type/account-disabled": {
                "subject": {
                    "subject_type": "iss-sub",
                    "iss": "https://idp.example.com/",
                    "sub": "7375626A656374",
                },
                "reason": "hijacking",
            }
        },
    },
    "figure 5, an account was made": {
        "iss": "https://scim.example.com",
        "iat": 1458496404,
        "jti": "4d3559ec67504aaba65d40b0363faad8",
        "aud": [
            "https://scim.example.com/Feeds/98d52461fa5bbc879593b7754",
            "https://scim.example.com/Feeds/5d7604516b1d08641d7676ee7",
        ],
        "events": {
            "urn:ietf:params:scim:event:create": {
                "ref": "https://scim.example.com/Users/44f6142df96bd6ab61e7521d9",
                "attributes": ["id", "name", "userName", "password", "emails"],
            }
        },
    },
}
# Figure 6: figure 5 without a signature.
UNSECURED = (
    "eyJ0eXAiOiJzZWNldmVudCtqd3QiLCJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL3NjaW0uZXhhbXBsZS5jb20iLCJpYXQiOjE0NTg0OTY0MD"
    "QsImp0aSI6IjRkMzU1OWVjNjc1MDRhYWJhNjVkNDBiMDM2M2ZhYWQ4IiwiYXVkIjpbImh0dHBzOi8vc2NpbS5leGFtcGxlLmNvbS9GZWVkcy85OGQ1"
    "MjQ2MWZhNWJiYzg3OTU5M2I3NzU0IiwiaHR0cHM6Ly9zY2ltLmV4YW1wbGUuY29tL0ZlZWRzLzVkNzYwNDUxNmIxZDA4NjQxZDc2NzZlZTciXSwiZX"
    "ZlbnRzIjp7InVybjppZXRmOnBhcmFtczpzY2ltOmV2ZW50OmNyZWF0ZSI6eyJyZWYiOiJodHRwczovL3NjaW0uZXhhbXBsZS5jb20vVXNlcnMvNDRm"
    "NjE0MmRmOTZiZDZhYjYxZTc1MjFkOSIsImF0dHJpYnV0ZXMiOlsiaWQiLCJuYW1lIiwidXNlck5hbWUiLCJwYXNzd29yZCIsImVtYWlscyJdfX19."
)


def broken_rules(claims: Mapping[str, Any]) -> list[str]:
    """Sections 1.2, 2 and 2.2."""
    audience, events = claims.get("aud", ""), claims.get("events")
    rules = {
        "iss": isinstance(claims.get("iss"), str),
        "iat": isinstance(claims.get("iat"), (int, float)),
        "jti": isinstance(claims.get("jti"), str),
        "aud": all(isinstance(one, str) for one in (audience if isinstance(audience, list) else [audience])),
        "txn": isinstance(claims.get("txn", ""), str),
        "toe": isinstance(claims.get("toe", 0), (int, float)),
        "events": isinstance(events, dict) and bool(events),
        "identifiers": isinstance(events, dict) and all(re.match(r"[a-z][a-z0-9+.-]*:", name) for name in events),
        "payloads": isinstance(events, dict) and all(isinstance(value, dict) for value in events.values()),
    }
    return [name for name, holds in rules.items() if not holds]


@pytest.mark.parametrize("which", SETS)
def test_the_rules_fit_the_examples_of_rfc_8417(which: str) -> None:
    claims = SETS[which]
    assert broken_rules(claims) == []
    for name in ("iss", "iat", "jti", "events"):
        assert name in broken_rules({**claims, name: None})


def sent(kind: Delivery.Kind, *, target: str = "", user: str = "7", **more: Any) -> dict[str, Any]:
    receiver = Receiver(audience="partner-client", stream="f67e39a0a4d34d56b3aa1bc4cff0069f")
    fields = {"initiator": "admin", "happened_at": 1600975810, "key": "8675309", **more}
    return claims_of(Delivery(receiver=receiver, kind=kind, target=target, user=user, **fields))


@pytest.mark.parametrize("kind", Delivery.Kind)
@pytest.mark.parametrize("more", [{}, {"reason": "incident", "before_ms": 1600975810500}], ids=["bare", "more"])
def test_whatever_is_sent_keeps_the_rules_of_rfc_8417_and_of_the_framework(
    kind: Delivery.Kind, more: dict[str, Any]
) -> None:
    claims = json.loads(json.dumps(sent(kind, target="target", **more)))
    assert broken_rules(claims) == []
    # The framework's sections 3.1, 4.1.2, 4.1.7, 4.1.9 and 4.2.1.
    assert not {"sub", "exp", "nbf"} & claims.keys()
    assert {"sub_id", "txn", "aud"} <= claims.keys() and len(claims["events"]) == 1
    (event,) = claims["events"].values()
    assert "subject" not in event


@pytest.mark.parametrize("which", SETS)
def test_no_example_of_rfc_8417_is_a_token_of_ours(which: str) -> None:
    """Section 4, even if our own key has signed it."""
    raw = jwt.encode(SETS[which], django_settings.SECRET_KEY, "HS256", headers={"typ": "secevent+jwt"})
    for cls in (AccessToken, RefreshToken, SlidingToken, UntypedToken):
        for token in (raw, UNSECURED):
            with pytest.raises(TokenError):
                cls(token)  # type: ignore[arg-type]


# OpenID CAEP 1.0, section 3.1.2 ---------------------------------------------------------------------------------------

IDP = "https://idp.example.com/123456789/"
REVOKED: dict[str, Any] = {
    "iss": IDP,
    "jti": "24c63fb56e5a2d77a6b512616ca9fa24",
    "iat": 1615305159,
    "aud": "https://sp.example.com/caep",
    "txn": "8675309",
    "sub_id": {
        "format": "complex",
        "session": {"format": "opaque", "id": "dMTlD|1600802906337.16|16008.16"},
        "user": {"format": "iss_sub", "iss": IDP, "sub": "99beb27c-c1c2-4955-882a-e0dc4996fcbc"},
        "tenant": {"format": "opaque", "id": "123456789"},
    },
    "events": {
        "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
            "initiating_entity": "policy",
            "reason_admin": {"en": "Landspeed Policy Violation: C076E82F"},
            "reason_user": {
                "en": "Access attempt from multiple regions.",
                "es-410": "Intento de acceso desde varias regiones.",
            },
            "event_timestamp": 1615304991,
        }
    },
}


@pytest.mark.parametrize("kind", [Delivery.Kind.SESSION, Delivery.Kind.USER])
def test_the_end_of_a_session_is_said_as_caeps_example_says_it(kind: Delivery.Kind, configure: Configure) -> None:
    configure(issuer=IDP)
    said = REVOKED["events"][SESSION_REVOKED]
    delivery = Delivery(
        receiver=Receiver(audience=REVOKED["aud"]),
        kind=kind,
        key=REVOKED["txn"],
        jti=REVOKED["jti"],
        user=REVOKED["sub_id"]["user"]["sub"],
        target=REVOKED["sub_id"]["session"]["id"],
        reason=said["reason_admin"]["en"],
        initiator=said["initiating_entity"],
        happened_at=said["event_timestamp"],
    )
    expected = deepcopy(REVOKED)
    # What is not said here; and it is issued at the time of the event, which toe has too.
    del expected["sub_id"]["tenant"], expected["events"][SESSION_REVOKED]["reason_user"]
    if kind == Delivery.Kind.USER:
        del expected["sub_id"]["session"]
    expected["iat"] = expected["toe"] = said["event_timestamp"]
    assert claims_of(delivery) == expected


# The framework, sections 8.1.4.2 and 8.1.5 ----------------------------------------------------------------------------

OF_A_STREAM: dict[str, Any] = {
    "iss": "https://transmitter.example.com",
    "aud": "partner-client",
    "iat": 1600975810,
    "sub_id": {"format": "opaque", "id": "f67e39a0a4d34d56b3aa1bc4cff0069f"},
}


@pytest.mark.parametrize(
    ("kind", "target", "events"),
    [
        (Delivery.Kind.VERIFICATION, "", {VERIFICATION: {}}),
        (Delivery.Kind.STREAM, "disabled", {STREAM_UPDATED: {"status": "disabled"}}),
        (Delivery.Kind.STREAM, "enabled", {STREAM_UPDATED: {"status": "enabled"}}),
    ],
)
def test_what_is_said_of_a_stream_is_said_as_in_the_frameworks_examples(
    kind: Delivery.Kind, target: str, events: dict[str, Any], configure: Configure
) -> None:
    configure(issuer=OF_A_STREAM["iss"])
    claims = sent(kind, target=target, jti="123456")
    assert claims == {**OF_A_STREAM, "jti": "123456", "txn": "8675309", "events": events}


def test_an_issuer_that_is_no_uri_is_a_tenant_all_the_same(configure: Configure) -> None:
    """RFC 9493 section 3.2.7."""
    for issuer, named in (
        ("https://issuer.example.com", {"format": "uri", "uri": "https://issuer.example.com"}),
        ("the shop", {"format": "opaque", "id": "the shop"}),
        ("https://bücher.example", {"format": "opaque", "id": "https://bücher.example"}),
    ):
        configure(issuer=issuer)
        assert sent(Delivery.Kind.ALL)["sub_id"] == {"format": "complex", "tenant": named}


# RFC 9493, section 3.2, and the framework's section 3.5 ---------------------------------------------------------------

IDENTIFIERS: list[dict[str, Any]] = [
    {"format": "account", "uri": "acct:example.user@service.example.com"},
    {"format": "email", "email": "user@example.com"},
    {"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": "145234573"},
    {"format": "opaque", "id": "11112222333344445555"},
    {"format": "phone_number", "phone_number": "+12065550100"},
    {"format": "did", "url": "did:example:123456"},
    {"format": "did", "url": "did:example:123456/did/url/path?versionId=1"},
    {"format": "uri", "uri": "https://user.example.com/"},
    {"format": "uri", "uri": "urn:uuid:4e851e98-83c4-4743-a5da-150ecb53042f"},
    {
        "format": "aliases",
        "identifiers": [
            {"format": "email", "email": "user@example.com"},
            {"format": "phone_number", "phone_number": "+12065550100"},
            {"format": "email", "email": "user+qualifier@example.com"},
        ],
    },
    {"format": "phone_number", "phone_number": "+1 206 555 0123"},
    {"format": "jwt_id", "iss": "https://idp.example.com/123456789/", "jti": "B70BA622-9515-4353-A866-823539EECBC8"},
    {
        "format": "saml_assertion_id",
        "issuer": "https://idp.example.com/123456789/",
        "assertion_id": "_8e8dc5f69a98cc4c1ff3427e5ce34606fd672f91e6",
    },
    {"format": "ip-addresses", "ip-addresses": ["10.29.37.75", "2001:0db8:0000:0000:0000:8a2e:0370:7334"]},
    {"format": "catalog_item", "catalog_id": "c0384/winter/2354122"},
]
NONE: list[dict[str, Any]] = [
    {"format": "account", "uri": "mailto:example.user@service.example.com"},
    {"format": "account", "uri": "acct:example.user"},
    {"format": "email", "email": "user"},
    {"format": "email", "email": "user@"},
    {"format": "phone_number", "phone_number": "12065550100"},
    {"format": "phone_number", "phone_number": "+1206555010012345"},
    {"format": "phone_number", "phone_number": "+1 call me"},
    {"format": "did", "url": "example:123456"},
    {"format": "uri", "uri": "user.example.com"},
    {"format": "uri", "uri": "https://user.example.com/a b"},
    {"format": "iss_sub", "iss": "https://issuer.example.com/"},
    {"format": "iss_sub", "iss": "https://issuer.example.com/", "sub": ""},
    {"format": "ip-addresses", "ip-addresses": []},
    {"format": "ip-addresses", "ip-addresses": "10.29.37.75"},
    {"format": "ip-addresses", "ip-addresses": ["10.29.37"]},
]


def _id(identifier: dict[str, Any]) -> str:
    return "-".join(map(str, identifier.values()))[:50]


@pytest.mark.parametrize("identifier", IDENTIFIERS, ids=_id)
def test_the_identifiers_of_the_examples_go_out_as_they_are(identifier: dict[str, Any], configure: Configure) -> None:
    configure(user_subject=lambda user, audience: identifier)
    assert sent(Delivery.Kind.USER)["sub_id"] == {"format": "complex", "user": identifier}


@pytest.mark.parametrize("identifier", NONE, ids=_id)
def test_what_is_not_of_the_form_that_its_format_asks_for_is_not_sent(
    identifier: dict[str, Any], configure: Configure
) -> None:
    configure(user_subject=lambda user, audience: identifier)
    with pytest.raises(ValueError, match="RFC 9493"):
        sent(Delivery.Kind.USER)


# RFC 8935, section 2 --------------------------------------------------------------------------------------------------


def test_a_token_is_transmitted_as_the_rfcs_example_is(endpoint: Endpoint, alice: Any) -> None:
    """Figures 1 and 2."""
    methods: list[tuple[str, str]] = []

    def accept_bare(request: Handler) -> None:
        methods.append((request.command, request.path))
        request.wfile.write(b"HTTP/1.1 202 Accepted\r\n\r\n")
        request.close_connection = True

    endpoint.behave = accept_bare
    receiver_at(endpoint.url)
    end_one(alice)
    assert deliver() == Tally(delivered=1) and methods == [("POST", "/events")]
    ((headers, body),) = endpoint.seen
    assert headers["Host"] == f"127.0.0.1:{endpoint.server_port}"
    assert headers["Content-Type"] == "application/secevent+jwt" and headers["Accept"] == "application/json"
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", body)


@pytest.mark.parametrize(
    ("err", "description", "expected"),
    [
        # They pass with another key, and another secret.
        ("invalid_key", "Key ID 12345 has been revoked.", Tally(failed=1)),
        ("authentication_failed", "Access token has expired.", Tally(failed=1)),
        ("invalid_issuer", "Not authorized for issuer https://iss.example.com/", Tally(dead=1)),
        # OpenID Shared Signals Framework 1.0 section 8.1.4.1.
        ("invalid_state", "That is not the state.", Tally(dead=1)),
    ],
)
def test_the_errors_of_the_examples_are_understood(
    err: str, description: str, expected: Tally, endpoint: Endpoint, alice: Any
) -> None:
    """Figures 3 to 5."""
    body = json.dumps({"err": err, "description": description}, indent=2).encode()
    endpoint.behave = answering(400, body, Content_Language="en-US", Content_Type="application/json")
    receiver_at(endpoint.url)
    end_one(alice)
    assert deliver() == expected
    assert Delivery.objects.get().said == f"{err}: {description}"
