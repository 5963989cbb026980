"""dj-rest-auth on tokens that have a session. ``urls`` takes the place of ``dj_rest_auth.urls``."""
