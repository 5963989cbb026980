"""An OpenID provider that is somebody else's: idpyoidc behind HTTP. It signs a user in, and sends logout tokens itself.

``python -m tests.support.openid_provider PORT RELYING_PARTY``: whoever asks is signed in as one user, without a
question.
"""

from __future__ import annotations

import json
import socketserver
import sys
from collections.abc import Callable, Iterable
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import parse_qsl
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import requests
from idpyoidc.server import Server
from idpyoidc.server.configure import OPConfiguration

CLIENT_ID, CLIENT_SECRET = "shop", "a secret that is long enough for everybody"
SUBJECT = "diana"


def configuration(issuer: str) -> dict[str, Any]:
    """What idpyoidc needs to be told."""
    scope_keys = ["openid", "profile"]
    keys = {"key_defs": [{"type": "OCT", "kid": "code", "use": ["enc"], "bytes": 24}]}
    lifetimes = {"lifetime": 3600}
    return {
        "issuer": issuer,
        "httpc_params": {"timeout": 5},
        # Its access tokens, which nobody here reads, are signed with the second one.
        "key_conf": {
            "key_defs": [{"type": "RSA", "use": ["sig"]}, {"type": "EC", "crv": "P-256", "use": ["sig"]}],
            "uri_path": "jwks",
        },
        "endpoint": {
            "authorization": {
                "path": "authorization",
                "class": "idpyoidc.server.oidc.authorization.Authorization",
                "kwargs": {"client_authn_method": None, "response_types_supported": ["code"]},
            },
            "token": {
                "path": "token",
                "class": "idpyoidc.server.oidc.token.Token",
                "kwargs": {"client_authn_method": ["client_secret_post", "client_secret_basic"]},
            },
            "end_session": {
                "path": "session",
                "class": "idpyoidc.server.oidc.session.Session",
                "kwargs": {
                    "logout_verify_url": f"{issuer}/verify_logout",
                    "post_logout_uri_path": "post_logout",
                    "signing_alg": "RS256",
                },
            },
        },
        "authentication": {
            "anonymous": {
                "acr": "http://www.swamid.se/policy/assurance/al1",
                "class": "idpyoidc.server.user_authn.user.NoAuthn",
                "kwargs": {"user": SUBJECT},
            }
        },
        "userinfo": {"class": "idpyoidc.server.user_info.UserInfo", "kwargs": {"db": {SUBJECT: {"name": "Diana"}}}},
        "cookie_handler": {
            "class": "idpyoidc.server.cookie_handler.CookieHandler",
            "kwargs": {
                "keys": {
                    "key_defs": [{"type": "OCT", "kid": kid, "use": [kid], "bytes": 24} for kid in ("enc", "sig")]
                },
                "name": {"session": "op", "register": "op_rp", "session_management": "op_sman"},
            },
        },
        "token_handler_args": {
            "jwks_def": keys,
            "code": {"lifetime": 600},
            "token": {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": lifetimes},
            "id_token": {"class": "idpyoidc.server.token.id_token.IDToken", "kwargs": {}},
        },
        "session_params": {"encrypter": {"kwargs": {"keys": keys}}},
        "scopes_supported": scope_keys,
    }


class Provider:
    """A WSGI application."""

    def __init__(self, issuer: str, relying_party: str) -> None:
        self.issuer = issuer
        self.server = Server(OPConfiguration(configuration(issuer), base_path=""), httpc=requests.request)
        self.context = self.server.context
        self.context.cdb[CLIENT_ID] = {
            "client_id": CLIENT_ID,
            "client_secret": CLIENT_SECRET,
            "redirect_uris": [(f"{relying_party}/openid/callback/", {})],
            "token_endpoint_auth_method": "client_secret_post",
            "response_types_supported": ["code"],
            "allowed_scopes": ["openid", "profile"],
            "backchannel_logout_uri": f"{relying_party}/openid/backchannel-logout/",
            "backchannel_logout_session_required": True,
        }
        # Who signs out has a cookie, and needs no client's credentials.
        self.server.get_endpoint("session").client_authentication = lambda *args, **kwargs: {}
        self.server.keyjar.add_symmetric(CLIENT_ID, CLIENT_SECRET)

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        text = environ["wsgi.input"].read(length).decode() if length else environ["QUERY_STRING"]
        cookies = [
            {"name": name, "value": morsel.value}
            for name, morsel in SimpleCookie(environ.get("HTTP_COOKIE", "")).items()
        ]
        status, headers, body = self.answer(path, dict(parse_qsl(text)), cookies)
        start_response(status, headers)
        return [body.encode()]

    def answer(self, path: str, asked: dict[str, str], cookies: list[Any]) -> tuple[str, list[tuple[str, str]], str]:
        """Status, headers, body."""
        if path == "/jwks":
            return "200 OK", [("Content-Type", "application/json")], self.server.keyjar.export_jwks_as_json()
        if path == "/verify_logout":
            session = self.server.get_endpoint("session")
            claims = session.unpack_signed_jwt(asked["sjwt"], "RS256")
            # Each client of the session is told, by the library.
            session.do_verified_logout(claims["sid"], alla="all" in asked)
            return "200 OK", [], ""
        names = {"/authorization": "authorization", "/token": "token", "/session": "session"}
        if path not in names:
            return "404 Not Found", [], ""
        endpoint = self.server.get_endpoint(names[path])
        info = {"headers": {}, "method": "GET", "url": self.issuer + path, "cookie": cookies}
        request = endpoint.parse_request(asked, http_info=info)
        done = endpoint.process_request(request, http_info=info)
        if "redirect_location" in done:
            return "303 See Other", [("Location", done["redirect_location"])], ""
        found = endpoint.do_response(request=request, **done)
        headers = [(str(name), str(value)) for name, value in found.get("http_headers", [])]
        for cookie in done.get("cookie") or []:
            headers.append(("Set-Cookie", f"{cookie['name']}={cookie['value']}; Path=/; HttpOnly"))
        if path == "/authorization":
            return "303 See Other", [*headers, ("Location", found["response"])], ""
        response = found["response"]
        return "200 OK", headers, response if isinstance(response, str) else json.dumps(response)


class _Threading(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *args: Any) -> None:
        """Not to the log, where the errors are."""


def main() -> None:
    port, relying_party = int(sys.argv[1]), sys.argv[2]
    application = Provider(f"http://127.0.0.1:{port}", relying_party)
    with make_server("127.0.0.1", port, application, server_class=_Threading, handler_class=_Quiet) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
