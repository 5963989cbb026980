"""Names in Redis."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from django.test import override_settings

from jwt_redis import keys

ODD = [
    "1",
    "a b",
    "a{b}c",
    "{",
    "}",
    "log",
    "{log}",
    "x:y",
    "ü",
    "",
    "%",
    "~x",
    "a/b",
    "\x00",
    "\n",
    "*",
    "\ud800",
    "é" * 99,
]


def test_every_user_has_a_key_of_its_own_and_none_has_the_logs() -> None:
    made = {keys.user_key(user) for user in ODD if user}
    assert len(made) == len([user for user in ODD if user])
    assert keys.log_key() not in made and keys.marker_key() not in made


@pytest.mark.parametrize("user", [user for user in ODD if user])
def test_a_users_keys_share_a_slot_and_are_recognised(user: str) -> None:
    own, devices = keys.user_key(user), keys.devices_key(user)
    slot = redis.crc.key_slot
    assert slot(own.encode()) == slot(devices.encode())
    assert own.count("{") == own.count("}") == 1 and own.isascii() and own.isprintable() and len(own) < 120
    assert keys.user_key_of(own) == keys.user_key_of(devices) == own
    assert all(keys.is_of_user(key) for key in (own, devices, keys.known_key(user)))


def test_a_plain_id_stays_readable() -> None:
    assert keys.user_key("42") == "jwt:{42}"
    assert keys.user_key("a@b.example") == "jwt:{a@b.example}"


@pytest.mark.parametrize("key", ["jwt:{log}", "jwt:{log}:marker", "other:{1}", "jwt:1", "jwt:{}", "jwt:{1}x", "jwt:"])
def test_foreign_keys_are_nobodys(key: str) -> None:
    assert keys.user_key_of(key) is None
    assert not keys.is_of_user(key) and not keys.is_of_user(f"{key}:known")


def test_the_id_of_a_user() -> None:
    number = uuid.uuid4()
    assert keys.user_id(5) == keys.user_id("5") == "5"
    assert keys.user_id(number) == keys.user_id(SimpleNamespace(pk=number, id=number)) == str(number)


@pytest.mark.parametrize("user", ["", None, True, 1.5, [], {}, b"x", SimpleNamespace(pk=None, id=None)])
def test_what_is_no_user_is_named(user: Any) -> None:
    with pytest.raises(ValueError, match="is not a user"):
        keys.user_id(user)


def test_the_prefix() -> None:
    with override_settings(JWT_REDIS={"KEY_PREFIX": "shop:"}):
        assert keys.user_key("1") == "shop:{1}" and keys.log_key() == "shop:{log}"
        assert keys.user_key_of("jwt:{1}") is None and keys.user_key_of("shop:{1}:devices") == "shop:{1}"
