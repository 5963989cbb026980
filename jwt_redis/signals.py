"""What has happened, for whoever wants to know. Sent with ``send_robust``: a receiver that raises harms nothing.

The sender is always the string ``"jwt_redis"``; ``user`` is the value of the token's user-id claim, as a string.
"""

from __future__ import annotations

from django.dispatch import Signal

# The reference is made of what stands above each: what has happened, and the arguments.

#: A user signed in. Arguments: ``user``, ``sid``.
session_started = Signal()

#: A user signed in with a device that was not seen before, and is not the first: only with ``SIGN_IN_NOTICE``.
#: Arguments: ``user``, ``sid``, ``device`` (browser and system by family, "" if they are not known), ``ip`` ("" if it
#: is not known).
new_device_signed_in = Signal()

#: A refresh token was used. Arguments: ``user``, ``sid``, ``outcome`` ("rotated", "grace" or "touched").
session_refreshed = Signal()

#: A session is over. Arguments: ``user``, ``sid``, ``reason`` ("logout", "password_changed", "refresh_token_reused",
#: …).
session_ended = Signal()

#: A refresh token that was used already came back: somebody has a copy. Its session was ended. Arguments: ``user``,
#: ``sid``.
refresh_token_reused = Signal()

#: A refresh token came that is newer than the store knows: the store was rolled back. Arguments: ``user``, ``sid``.
store_rolled_back = Signal()

#: One token was put on the blacklist. Arguments: ``user``, ``jti``, ``reason``.
token_revoked = Signal()

#: All of a user's sessions were ended. Arguments: ``user``, ``sids`` (a tuple), ``reason``.
user_revoked = Signal()

#: Everything from before a moment is refused. Arguments: ``before`` (an aware datetime), ``reason``.
everything_revoked = Signal()

#: With ``OBSERVE``: something was let through that would have been refused. Arguments: ``user`` and ``sid`` (None where
#: there is none), ``reason`` (a refusal's, or one that the page on coming from Simple JWT has), ``use_case`` (where).
refusal_observed = Signal()

#: A signing key was revoked: what it signed is refused. Arguments: ``kid``, ``reason``.
key_revoked = Signal()

#: Redis could not be asked and ``ON_REDIS_FAILURE`` let a token through unchecked. Arguments: ``user``, ``sid``,
#: ``error``.
check_failed_open = Signal()

#: Redis could not be asked, so a request is answered with 503, a call with ``RevocationUnavailable``. Once for each of
#: them. Arguments: ``user`` and ``sid`` (None where they are not known), ``use_case`` (the function in
#: ``jwt_redis.sessions``, or ``jwt_redis.notices``), ``error``.
revocation_unavailable = Signal()
