"""Other companies and services are told that a session is over: a signed Security Event Token (RFC 8417) of OpenID
CAEP's type ``session-revoked``, pushed to each receiver (RFC 8935) until it has it."""
