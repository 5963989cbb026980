"""What this site says of itself (RFC 8414)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.urls import NoReverseMatch, reverse
from django.utils.cache import patch_cache_control
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from jwt_redis.conf import ASYMMETRIC_ALGORITHMS, config
from jwt_redis.oauth.issuing import is_url, issuer, own_url
from jwt_redis.oauth.protocol import JSONView

__all__ = ["MetadataView", "metadata", "replaced"]


def _mounted(named: str, url_name: str) -> str | None:
    try:
        return own_url(named, reverse(url_name))
    except NoReverseMatch:
        return None


def metadata(named: str) -> dict[str, Any]:
    """The members, for the issuer that is ``named``. None of them is an empty list (RFC 8414 section 3.2)."""
    more = {name: value for name, value in config().oauth.metadata.items() if value not in ([], ())}
    return {**more, **_own(named)}


def replaced(named: str) -> list[str]:
    """Members in ``OAUTH["metadata"]`` that this site says of itself, so that they have no effect."""
    return sorted(config().oauth.metadata.keys() & _own(named).keys())


def _own(named: str) -> dict[str, Any]:
    methods = config().oauth.methods
    # No response_types_supported, no grant_types_supported: tokens come from a sign-in that is this project's own, and
    # from no grant. A project that has one says so.
    found: dict[str, Any] = {"issuer": named}
    introspecting = tuple(method for method in methods if method != "none")
    if config().oauth.bearer_permission is not None:
        introspecting += ("Bearer",)
    for endpoint, url_name, taken in (
        ("revocation_endpoint", "jwt_redis_revoke", methods),
        ("introspection_endpoint", "jwt_redis_introspect", introspecting),
    ):
        # Where nobody may ask, there is nothing to be told of.
        if not taken or (url := _mounted(named, url_name)) is None:
            continue
        found[endpoint] = url
        found[f"{endpoint}_auth_methods_supported"] = list(taken)
        if "private_key_jwt" in taken:
            found[f"{endpoint}_auth_signing_alg_values_supported"] = list(ASYMMETRIC_ALGORITHMS)
    if (keys := _mounted(named, "jwt_redis_jwks")) is not None:
        found["jwks_uri"] = keys
    return found


class MetadataView(JSONView):
    """``/.well-known/oauth-authorization-server``, and behind it the issuer's path, if it has one."""

    def get(self, request: Request, issuer_path: str | None = None) -> Response:
        """The metadata; 404 for the path of another issuer, or where none is configured."""
        named = issuer()
        if not is_url(named) or urlsplit(named).path.rstrip("/") != (issuer_path or "").rstrip("/"):
            raise NotFound
        response = Response(metadata(named))
        patch_cache_control(response, public=True, max_age=300)
        return response
