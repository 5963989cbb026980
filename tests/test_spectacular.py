"""The OpenAPI schema: valid, complete, and what the views really answer over HTTP."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import yaml
from django.test import override_settings
from django.urls import path
from django.utils.module_loading import import_string
from rest_framework import serializers
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt import serializers as stock_serializers
from rest_framework_simplejwt import views as stock

from jwt_redis import verdicts, views
from jwt_redis.authentication import JWTAuthentication, JWTStatelessUserAuthentication, RevocationCheckMixin
from jwt_redis.contrib import spectacular
from jwt_redis.contrib.endpoints import ENDPOINTS, SESSION_FIELDS
from jwt_redis.serializers import TokenObtainPairSerializer
from jwt_redis.testing.servers import RedisServer
from tests.support.openapi import documented, schema_of
from tests.support.server import ROOT, http_server


# Not at the top: what these import compiles the grammar of each format, and takes seconds in every process of a run.
def validate_specification(made: dict[str, Any]) -> None:
    import_module("openapi_spec_validator").validate(made)


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return schema_of()


# Valid ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "more",
    [{}, {"JWT_REDIS_TEST_OAS": "3.1.1"}, {"JWT_REDIS_TEST_SPLIT": "1"}, {"JWT_REDIS_TEST_COOKIES": "1"}],
    ids=str,
)
def test_the_command_makes_a_valid_schema_without_a_warning(more: dict[str, str], tmp_path: Path) -> None:
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.projects.schema_settings", **more}
    output = tmp_path / "schema.yml"
    command = ["-m", "django", "spectacular", "--validate", "--fail-on-warn", "--file", str(output)]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = yaml.safe_load(output.read_text())
    assert made["openapi"] == more.get("JWT_REDIS_TEST_OAS", "3.0.3")
    validate_specification(made)
    assert set(made["paths"]) >= {f"/auth/{part}" for part in ("token/", "logout/all/", "sessions/{sid}/")}
    assert made["components"]["securitySchemes"]["jwtAuth"]["scheme"] == "bearer"


def test_nothing_of_it_is_imported_where_it_is_not_installed() -> None:
    code = "import django, sys; django.setup(); print(*sys.modules)"
    loaded = {}
    for settings in ("tests.settings", "tests.projects.schema_settings"):
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": settings}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
        )
        loaded[settings] = {name for name in done.stdout.split() if "spectacular" in name or "ninja" in name}
    assert not loaded["tests.settings"]
    assert "jwt_redis.contrib.spectacular" in loaded["tests.projects.schema_settings"]


def test_every_view_is_described(schema: dict[str, Any]) -> None:
    # Keys are no part of the API that a schema describes, but of its metadata.
    ours = {name for name in views.__all__ if name.endswith("View")} - {"JWKSView"}
    described = {name.split(".")[-2] for name in ENDPOINTS}
    assert described == ours
    for name in ENDPOINTS:
        view, _, method = name.rpartition(".")
        assert callable(getattr(import_string(view), method))
    assert set(SESSION_FIELDS) == set(views.SessionSerializer().fields)
    for _, _, operation in operations(schema):
        assert operation["summary"] and operation["description"] and operation["tags"] == ["auth"]
    assert set(schema["components"]["schemas"]["JWTRefusalReason"]["enum"]) == {
        value for name, value in vars(verdicts).items() if name.isupper() and name in verdicts.__all__
    }


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for url, found in schema["paths"].items():
        for method, operation in found.items():
            if url.startswith("/auth/"):
                yield url, method, operation


def test_operation_ids_are_those_of_spectacular_for_the_views_of_simple_jwt(schema: dict[str, Any]) -> None:
    assert {operation["operationId"] for _, _, operation in operations(schema)} == {
        "auth_token_create",
        "auth_token_refresh_create",
        "auth_token_verify_create",
        "auth_token_blacklist_create",
        "auth_sliding_create",
        "auth_sliding_refresh_create",
        "auth_logout",
        "auth_logout_others",
        "auth_logout_all",
        "auth_sessions_list",
        "auth_sessions_partial_update",
        "auth_sessions_destroy",
    }


def test_who_needs_a_token_says_so(schema: dict[str, Any]) -> None:
    bears, may = [{"jwtAuth": []}], [{"jwtAuth": []}, {}]
    expected = {"auth_logout": may, "auth_logout_others": bears, "auth_logout_all": bears}
    expected |= {"auth_sessions_list": bears, "auth_sessions_destroy": bears, "auth_sessions_partial_update": bears}
    found = {operation["operationId"]: operation.get("security") for _, _, operation in operations(schema)}
    assert {name: security for name, security in found.items() if security} == expected


def test_examples_are_what_they_are_examples_of(schema: dict[str, Any]) -> None:
    schema_validators: Any = import_module("openapi_schema_validator")
    seen = 0
    for _, _, operation in operations(schema):
        bodies = [(answer, schema_validators.OAS30ReadValidator) for answer in operation["responses"].values()]
        bodies.append((operation.get("requestBody", {}), schema_validators.OAS30WriteValidator))
        for body, validator in bodies:
            for media in body.get("content", {}).values():
                for example in media.get("examples", {}).values():
                    seen += 1
                    validator(resolvable(media["schema"], schema)).validate(example["value"])
    assert seen > 30


def resolvable(part: dict[str, Any], schema: dict[str, Any], strict: bool = True) -> dict[str, Any]:
    """A schema on its own. ``strict``: an object has no property that is not described."""
    components = copy.deepcopy(schema["components"])
    for component in components["schemas"].values():
        if strict and "properties" in component:
            component.setdefault("additionalProperties", False)
    return {"allOf": [part], "components": components}


# True ----------------------------------------------------------------------------------------------------------------


class Api:
    """What a client does."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.browser = requests.Session()
        self.seen: dict[tuple[str, str], dict[str, list[requests.Response]]] = {}

    def ask(self, method: str, url: str, template: str = "", **arguments: Any) -> requests.Response:
        response = self.browser.request(method, f"{self.base}{url}", timeout=10, **arguments)
        statuses = self.seen.setdefault((template or url, method.lower()), {})
        statuses.setdefault(str(response.status_code), []).append(response)
        return response

    def post(self, url: str, body: Any = None, token: str | None = None, **arguments: Any) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.ask("POST", url, json=body, headers=headers, **arguments)

    def get(self, url: str, token: str | None) -> requests.Response:
        return self.ask("GET", url, headers={} if token is None else {"Authorization": f"Bearer {token}"})

    def end(self, sid: str, token: str | None) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.ask("DELETE", f"/auth/sessions/{sid}/", "/auth/sessions/{sid}/", headers=headers)

    def name(self, sid: str, token: str | None, body: Any) -> requests.Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.ask("PATCH", f"/auth/sessions/{sid}/", "/auth/sessions/{sid}/", headers=headers, json=body)

    def sign_in(self, name: str = "alice", password: str = "correct horse") -> Any:
        return self.post("/auth/token/", {"username": name, "password": password}).json()

    def sign_in_sliding(self) -> Any:
        return self.post("/auth/sliding/", {"username": "alice", "password": "correct horse"}).json()


def provoke(api: Api, server: RedisServer) -> None:
    """Each status of each endpoint, in all the ways that differ in their bodies."""
    # With the fields wrong, missing, and no JSON at all.
    for url, name in (
        ("/auth/token/", "username"),
        ("/auth/sliding/", "username"),
        ("/auth/token/refresh/", "refresh"),
        ("/auth/sliding/refresh/", "token"),
        ("/auth/token/verify/", "token"),
        ("/auth/token/blacklist/", "refresh"),
        ("/auth/logout/", "refresh"),
    ):
        for body in ({name: {}}, {name: ""}, [], {name: None}):
            assert api.post(url, body).status_code == 400
        assert api.ask("POST", url, data="{", headers={"Content-Type": "application/json"}).status_code == 400
    for url in ("/auth/token/", "/auth/sliding/"):
        assert api.post(url, {"username": "alice", "password": "wrong"}).status_code == 401

    pair, other, third = api.sign_in(), api.sign_in(), api.sign_in()
    access = pair["access"]
    sessions = api.get("/auth/sessions/", access).json()
    assert len(sessions) == 3 and sum(found["current"] for found in sessions) == 1
    sid = next(found["sid"] for found in sessions if not found["current"])
    assert api.name(sid, access, {"label": "The tablet"}).json()["label"] == "The tablet"
    for body in ({}, [], {"label": "x" * 5000}, {"label": None}):
        assert api.name(sid, access, body).status_code == 400
    assert api.end(sid, access).status_code == api.end(sid, access).status_code == 204
    assert api.name(sid, access, {"label": "The tablet"}).status_code == 404
    assert api.end("nobody-has-this-session", access).status_code == 404
    assert api.post("/auth/token/verify/", {"token": access}).status_code == 200
    refreshed = api.post("/auth/token/refresh/", {"refresh": pair["refresh"]}).json()
    sliding = api.sign_in_sliding()["token"]
    sliding = api.post("/auth/sliding/refresh/", {"token": sliding}).json()["token"]
    assert api.post("/auth/token/blacklist/", {"refresh": other["refresh"]}).status_code == 200
    assert api.post("/auth/logout/", {"refresh": third["refresh"]}).json() in (
        {"sessions_ended": 0},
        {"sessions_ended": 1},
    )
    assert api.post("/auth/logout/", token=sliding).status_code == 200
    assert api.post("/auth/logout/others/", token=access).status_code == 200
    assert api.post("/auth/logout/all/", token=access).json() == {"sessions_ended": 1}

    # Revoked, forged, malformed, none.
    for token in (access, access[:-3], "x.y.z", "two words", None):
        assert api.get("/auth/sessions/", token).status_code == 401
        assert api.end(sid, token).status_code == api.name(sid, token, {"label": ""}).status_code == 401
        for url in ("/auth/logout/others/", "/auth/logout/all/"):
            assert api.post(url, token=token).status_code == 401
    assert api.post("/auth/logout/").status_code == api.post("/auth/logout/", token="x.y.z").status_code == 401
    for url, name, revoked in (
        ("/auth/token/refresh/", "refresh", refreshed["refresh"]),
        ("/auth/sliding/refresh/", "token", sliding),
    ):
        assert api.post(url, {name: revoked}).json()["reason"] == "session_ended"
        assert api.post(url, {name: "x.y.z"}).status_code == 401
    assert api.post("/auth/token/verify/", {"token": access}).json()["reason"] == ["session_ended"]
    for url, name in (
        ("/auth/token/verify/", "token"),
        ("/auth/token/blacklist/", "refresh"),
        ("/auth/logout/", "refresh"),
    ):
        assert api.post(url, {name: "x.y.z"}).status_code == 401

    pair, sliding = api.sign_in("bob", "battery staple"), api.sign_in_sliding()["token"]
    server.kill()
    access, refresh = pair["access"], {"refresh": pair["refresh"]}
    answers = [
        api.post("/auth/token/", {"username": "alice", "password": "correct horse"}),
        api.post("/auth/sliding/", {"username": "alice", "password": "correct horse"}),
        api.post("/auth/token/refresh/", refresh),
        api.post("/auth/sliding/refresh/", {"token": sliding}),
        api.post("/auth/token/verify/", {"token": access}),
        api.post("/auth/token/blacklist/", refresh),
        api.post("/auth/logout/", refresh),
        api.post("/auth/logout/", token=access),
        api.post("/auth/logout/others/", token=access),
        api.post("/auth/logout/all/", token=access),
        api.get("/auth/sessions/", access),
        api.end(sid, access),
        api.name(sid, access, {"label": ""}),
    ]
    assert {answer.status_code for answer in answers} == {503}


def provoke_with_cookies(api: Api, server: RedisServer) -> None:
    """The same where tokens travel in cookies: what differs, and each status."""
    cookies, headers = api.browser.cookies, api.browser.headers

    def sign_in(url: str = "/auth/token/") -> requests.Response:
        response = api.post(url, {"username": "alice", "password": "correct horse"})
        headers["X-CSRFToken"] = response.json()["csrf_token"]
        return response

    posts = ["token/", "sliding/", "token/refresh/", "sliding/refresh/", "token/blacklist/", "logout/"]
    for url in posts:
        assert api.post(f"/auth/{url}", {}).status_code == 403
    headers["X-CSRFToken"] = api.get("/auth/csrf/", None).json()["csrf_token"]
    for url in posts:
        assert api.post(f"/auth/{url}", []).status_code == 400
    assert api.post("/auth/token/verify/", []).status_code == 400
    for url in ("token/refresh/", "sliding/refresh/", "token/verify/"):
        assert api.post(f"/auth/{url}", {}).status_code == 401
    for url in ("token/blacklist/", "logout/"):
        assert api.post(f"/auth/{url}", {}).status_code == 200
        assert api.post(f"/auth/{url}", {"refresh": "x.y.z"}).status_code == 401
    for url in ("token/", "sliding/"):
        assert api.post(f"/auth/{url}", {"username": "alice", "password": "wrong"}).status_code == 401
    nobodys, label = "nobody-has-this-session", {"label": "The tablet"}
    assert api.get("/auth/sessions/", None).status_code == api.end(nobodys, None).status_code == 401
    assert api.name(nobodys, None, label).status_code == 401
    for url in ("logout/others/", "logout/all/"):
        assert api.post(f"/auth/{url}").status_code == 401

    assert sign_in("/auth/sliding/").status_code == api.post("/auth/sliding/refresh/", {}).status_code == 200
    cookies.clear()
    headers["X-CSRFToken"] = api.get("/auth/csrf/", None).json()["csrf_token"]
    assert sign_in().status_code == 200
    for url in ("token/refresh/", "token/verify/", "logout/others/"):
        assert api.post(f"/auth/{url}", {}).status_code == 200
    (found,) = api.get("/auth/sessions/", None).json()
    good = headers.pop("X-CSRFToken")
    assert api.end(nobodys, None).status_code == api.name(nobodys, None, label).status_code == 403
    for url in ("token/verify/", "logout/others/", "logout/all/"):
        assert api.post(f"/auth/{url}", {}).status_code == 403
    headers["X-CSRFToken"] = good
    assert api.end(nobodys, None).status_code == api.name(nobodys, None, label).status_code == 404
    assert api.name(found["sid"], None, label).json()["label"] == "The tablet"
    assert api.name(found["sid"], None, {}).status_code == 400
    assert api.end(found["sid"], None).status_code == 204
    assert not [cookie for cookie in cookies if "token" in cookie.name and cookie.name != "csrftoken"]
    sign_in()
    assert api.post("/auth/logout/all/").json() == {"sessions_ended": 1}

    sign_in("/auth/sliding/")
    sliding = cookies["access_token"]
    sign_in()
    server.kill()
    answers = [api.post(f"/auth/{url}", {"username": "alice", "password": "correct horse"}) for url in posts[:2]]
    answers += [
        api.post(f"/auth/{url}", {}) for url in ("token/refresh/", "token/verify/", "token/blacklist/", "logout/")
    ]
    answers += [api.post(f"/auth/{url}") for url in ("logout/others/", "logout/all/")]
    answers += [api.get("/auth/sessions/", None), api.end(nobodys, None), api.name(nobodys, None, label)]
    (access,) = (cookie for cookie in cookies if cookie.name == "access_token")
    access.value = sliding
    answers.append(api.post("/auth/sliding/refresh/", {}))
    assert {answer.status_code for answer in answers} == {503}


class Answered(NamedTuple):
    api: Api
    schema: dict[str, Any]


@pytest.fixture(scope="module", params=["headers", "cookies"])
def answered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """A client that has provoked everything, over HTTP, and the schema that the server gives away."""
    folder = tmp_path_factory.mktemp(request.param)
    cookies = "1" if request.param == "cookies" else ""
    with (
        RedisServer() as server,
        http_server(
            folder,
            workers=2,
            settings="tests.projects.schema_settings",
            JWT_REDIS_TEST_URL=server.url,
            JWT_REDIS_TEST_COOKIES=cookies,
        ) as base,
    ):
        schema = requests.get(f"{base}/schema/?format=json", timeout=10).json()
        api = Api(base)
        (provoke_with_cookies if cookies else provoke)(api, server)
    return Answered(api, schema)


def test_every_status_that_is_documented_was_answered_and_no_other(answered: Answered) -> None:
    documented = {(url, method): set(found["responses"]) for url, method, found in operations(answered.schema)}
    assert {key: set(statuses) for key, statuses in answered.api.seen.items()} == documented


def test_every_answer_is_as_documented(answered: Answered) -> None:
    validator = import_module("openapi_schema_validator").OAS30ReadValidator
    seen = 0
    for url, method, operation in operations(answered.schema):
        for status, responses in answered.api.seen[url, method].items():
            documented = operation["responses"][status]
            for response in responses:
                seen += 1
                for name, header in documented.get("headers", {}).items():
                    value = response.headers[name]
                    assert value.isdigit() if header["schema"]["type"] == "integer" else value
                if "content" not in documented:
                    assert not response.content
                    continue
                media = documented["content"][response.headers["Content-Type"]]
                validator(resolvable(media["schema"], answered.schema)).validate(response.json())
    assert seen > 50


def test_the_cookies_are_in_the_schema() -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "COOKIE": {}}):
        made = schema_of()
        in_body = schema_of(path("in/", views.TokenObtainPairView.as_view(uses_cookies=False)))
    validate_specification(made)
    found = {operation["operationId"]: operation.get("security") for _, _, operation in operations(made)}
    csrf = {"csrfToken": []}
    assert found["auth_sessions_list"] == [{"jwtAuth": []}, {"jwtCookie": []}]
    assert found["auth_sessions_destroy"] == [{"jwtAuth": []}, {"jwtCookie": [], **csrf}]
    assert found["auth_token_create"] == [csrf]
    assert found["auth_token_refresh_create"] == [csrf, {"jwtRefreshCookie": [], **csrf}]
    assert found["auth_token_verify_create"] == [{}, {"jwtCookie": [], **csrf}]
    assert found["auth_logout"] == [
        {"jwtAuth": []},
        {"jwtCookie": [], **csrf},
        csrf,
        {"jwtRefreshCookie": [], **csrf},
    ]
    schemes = made["components"]["securitySchemes"]
    assert (schemes["jwtCookie"]["in"], schemes["jwtCookie"]["name"]) == ("cookie", "__Host-access_token")
    assert (schemes["csrfToken"]["in"], schemes["csrfToken"]["name"]) == ("header", "X-Csrftoken")
    assert "403" not in in_body["paths"]["/in/"]["post"]["responses"]


def test_with_cookies_a_token_may_be_missing_from_the_body_and_a_project_may_have_it_there() -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "COOKIE": {"in_body": True, "csrf": False}}):
        made = schema_of()
    refresh = made["paths"]["/auth/token/refresh/"]["post"]
    assert "refresh" not in refresh["requestBody"]["content"]["application/json"]["schema"]["required"]
    assert refresh["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/TokenRefresh")
    assert "403" not in refresh["responses"]


# A project's own -----------------------------------------------------------------------------------------------------


class ObtainWithCode(TokenObtainPairSerializer):
    """With a second factor."""

    code = serializers.CharField(write_only=True, help_text="From the app.")


class ObtainView(stock.TokenObtainPairView):
    """Sign in with a code."""

    serializer_class = ObtainWithCode


def test_a_subclass_has_its_own_fields_and_words_and_our_errors() -> None:
    made = schema_of(path("in/", ObtainView.as_view()), path("out/", views.LogoutView.as_view()))
    operation = made["paths"]["/in/"]["post"]
    assert operation["description"] == "Sign in with a code."
    assert set(operation["responses"]) == {"200", "400", "401", "503"}
    component = made["components"]["schemas"]["ObtainWithCode"]
    assert set(component["properties"]) == {"username", "password", "code", "access", "refresh"}
    assert component["properties"]["access"]["readOnly"] and component["description"] == "With a second factor."


class Tagged(stock.TokenRefreshView):
    @documented(tags=["mine"], operation_id="renew")
    def post(self, request: Any, *args: Any, **kwargs: Any) -> Response:
        return super().post(request, *args, **kwargs)


@documented(responses={200: None}, description="Mine.")
class Replaced(stock.TokenRefreshView):
    pass


def test_what_a_project_says_itself_has_the_last_word() -> None:
    made = schema_of(
        path("a/", Tagged.as_view()), path("b/", Replaced.as_view()), path("c/", stock.TokenRefreshView.as_view())
    )
    tagged, replaced, plain = (made["paths"][f"/{name}/"]["post"] for name in "abc")
    assert (tagged["tags"], tagged["operationId"]) == (["mine"], "renew")
    assert tagged["responses"] == plain["responses"]
    assert replaced["responses"] == {"200": {"description": "No response body"}}
    assert replaced["description"] == "Mine." and replaced["summary"] == plain["summary"]
    # Nothing of it has stuck to the views themselves.
    assert schema_of(path("c/", stock.TokenRefreshView.as_view()))["paths"]["/c/"]["post"] == plain
    assert "schema" not in vars(stock.TokenRefreshView) and not hasattr(stock.TokenRefreshView.post, "kwargs")


class WithMore(stock.TokenObtainPairView):
    @documented(responses={200: str})
    def get(self, request: Any) -> Response:
        return Response("How to sign in.")

    def put(self, request: Any) -> Response:
        return Response()


def test_other_methods_of_a_subclass_are_not_ours_to_describe() -> None:
    made = schema_of(path("in/", WithMore.as_view()), path("out/", views.LogoutView.as_view()))
    assert set(made["paths"]["/in/"]["post"]["responses"]) == {"200", "400", "401", "503"}
    for method in ("get", "put"):
        assert set(made["paths"]["/in/"][method]["responses"]) == {"200"}
        assert "summary" not in made["paths"]["/in/"][method]


def hook(result: Any, **kwargs: Any) -> Any:
    result["components"]["schemas"]["JWTRefusal"]["properties"].clear()
    result["paths"]["/auth/token/verify/"]["post"]["responses"]["200"]["content"]["application/json"]["schema"].clear()
    return result


def test_a_projects_hooks_may_change_what_they_get() -> None:
    before = schema_of()
    assert schema_of(POSTPROCESSING_HOOKS=[f"{__name__}.hook"]) != before
    assert schema_of() == before


class StockView(stock.TokenObtainPairView):
    serializer_class = stock_serializers.TokenObtainPairSerializer


def test_a_view_with_a_serializer_of_simple_jwt_is_left_alone() -> None:
    made = schema_of(path("in/", StockView.as_view()))
    assert set(made["paths"]["/in/"]["post"]["responses"]) == {"200"}


class Mixed(RevocationCheckMixin):
    pass


class OfAProject(JWTAuthentication):
    pass


@pytest.mark.parametrize("authenticator", [JWTAuthentication, JWTStatelessUserAuthentication, Mixed, OfAProject])
def test_the_scheme_is_that_of_every_class_with_the_mixin(authenticator: Any) -> None:
    class View(APIView):
        authentication_classes = (authenticator,)
        permission_classes = (IsAuthenticated,)

        @documented(responses={204: None})
        def get(self, request: Any) -> Response:
            return Response(status=204)

    made = schema_of(path("view/", View.as_view()))
    assert made["paths"]["/view/"]["get"]["security"] == [{"jwtAuth": []}]
    assert made["components"]["securitySchemes"] == {
        "jwtAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }


def test_an_extension_of_a_project_goes_before_ours() -> None:
    class Theirs(spectacular.JWTScheme):
        target_class = Mixed
        priority = 0
        name = "theirs"

    try:

        class View(APIView):
            authentication_classes = (Mixed,)
            permission_classes = (AllowAny,)

            @documented(responses={204: None})
            def get(self, request: Any) -> Response:
                return Response(status=204)

        assert set(schema_of(path("view/", View.as_view()))["components"]["securitySchemes"]) == {"theirs"}
    finally:
        Theirs._registry.remove(Theirs)
