"""``path("", include("jwt_redis.oauth.well_known"))``, at the root: where RFC 8414 section 3 looks for it."""

from __future__ import annotations

from django.urls import re_path

from jwt_redis.oauth.metadata import MetadataView

urlpatterns = [
    re_path(
        r"^\.well-known/oauth-authorization-server(?P<issuer_path>/.*)?$",
        MetadataView.as_view(),
        name="jwt_redis_oauth_metadata",
    ),
]
