"""Settings and URLs of the projects that the tests run, beside ``tests.settings`` and ``tests.urls``."""
