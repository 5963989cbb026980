"""OpenID Connect Back-Channel Logout 1.0, receiving: ``path("openid/", include("jwt_redis.openid.urls"))``.

Whose logout tokens count is for ``JWT_REDIS["OPENID_PROVIDERS"]`` to say.
"""

from __future__ import annotations
