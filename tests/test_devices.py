"""What is kept of a device."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory, override_settings

from jwt_redis.devices import (
    Device,
    behind_one_proxy,
    describe,
    device_of,
    kind_of,
    location_of,
    signing_in_device,
    signing_in_from,
)

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


@pytest.mark.parametrize(
    ("user_agent", "kind"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "computer"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/17.4 Safari/605.1.15",
            "computer",
        ),
        ("Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 Chrome/124.0.0.0 Safari/537.36", "computer"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148 Safari/604.1", "phone"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/124.0.0.0 Mobile Safari/537.36", "phone"),
        ("Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 Chrome/124.0.0.0 Safari/537.36", "tablet"),
        ("Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) Mobile/15E148 Safari/604.1", "tablet"),
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/538.1 TV Safari/538.1", "other"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "other"),
        ("curl/8.5.0", "other"),
        ("", "other"),
    ],
)
def test_what_is_drawn(user_agent: str, kind: str) -> None:
    assert kind_of(user_agent) == kind


def test_a_place_in_the_project_s_words() -> None:
    assert location_of("192.0.2.1") == ""
    with override_settings(JWT_REDIS={"LOCATION": "tests.support.pages.locate"}):
        assert [location_of(ip) for ip in ("192.0.2.1", "198.51.100.7", "127.0.0.1", "", "203.0.113.66")] == [
            "Berlin, Germany",
            "Tōkyō, Japan",
            "",
            "",
            "",
        ]
    with override_settings(JWT_REDIS={"LOCATION": lambda ip: "x" * 1000}):
        assert location_of("192.0.2.1") == "x" * 100
    with override_settings(JWT_REDIS={"LOCATION": lambda ip: {"city": "Berlin"}}):
        assert location_of("192.0.2.1") == ""
