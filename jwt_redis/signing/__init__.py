"""Several signing keys (``JWT_REDIS["KEYS"]``): what a good one is, where they lie, and which one verifies."""
