"""What is kept of a device."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from jwt_redis.devices import Device, behind_one_proxy, describe, device_of, signing_in_device, signing_in_from

request = RequestFactory().get


def test_no_request_is_an_unknown_device() -> None:
    assert device_of(None) == Device() and Device().dump() == ""


@pytest.mark.parametrize("device", [Device("a", "::1"), Device("", "::1"), Device('"\\é😀', ""), Device()])
def test_it_comes_back_as_it_was_kept(device: Device) -> None:
    assert Device.load(device.dump()) == device


@pytest.mark.parametrize("text", [None, "", "{", "[]", "1", "null", '{"ua": 5}', '{"other": 1}'])
def test_a_damaged_text_is_an_unknown_device(text: Any) -> None:
    assert Device.load(text).ip == ""


def test_the_ip_is_an_ip_or_nothing() -> None:
    assert device_of(request("/", REMOTE_ADDR="::ffff:1.2.3.4")).ip == "1.2.3.4"
    for odd in ("", "unix:", "1.2.3.4:80", "<script>", "x" * 1000):
        assert device_of(request("/", REMOTE_ADDR=odd)).ip == ""


def test_forwarded_for_counts_only_when_told_to() -> None:
    forged = request("/", HTTP_X_FORWARDED_FOR="6.6.6.6, 9.9.9.9", REMOTE_ADDR="10.0.0.1")
    assert device_of(forged).ip == "10.0.0.1"
    with override_settings(JWT_REDIS={"CLIENT_IP": "jwt_redis.devices.behind_one_proxy"}):
        assert device_of(forged).ip == "9.9.9.9"
    assert behind_one_proxy(request("/", REMOTE_ADDR="10.0.0.1")) == "10.0.0.1"
    with override_settings(JWT_REDIS={"CLIENT_IP": None}):
        assert device_of(forged).ip == ""


def test_the_device_of_a_sign_in_is_known_within_and_no_longer() -> None:
    with signing_in_from(request("/", HTTP_USER_AGENT="a")):
        assert signing_in_device().user_agent == "a"
    assert signing_in_device() == Device()


@pytest.mark.parametrize(
    ("user_agent", "expected"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
        ("curl/8.5.0", "curl"),
        ("", ""),
        ("<script>alert(1)</script>", ""),
        ("x" * 10_000, ""),
    ],
)
def test_a_device_in_human_words(user_agent: str, expected: str) -> None:
    assert describe(user_agent) == expected


def test_without_the_parser_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ua_parser", None)
    assert describe("curl/8.5.0") == ""
