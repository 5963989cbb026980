"""OAuth endpoints: revocation (RFC 7009), introspection (RFC 7662), metadata (RFC 8414).

``path("oauth/", include("jwt_redis.oauth.urls"))`` and ``path("", include("jwt_redis.oauth.well_known"))``. Who may ask
is for ``JWT_REDIS["OAUTH"]`` to say.
"""

from __future__ import annotations
