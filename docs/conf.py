"""The documentation as a site: ``make docs``. The pages are Markdown, so that the code host shows them as well."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import django

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS.parent), str(DOCS)]
os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
django.setup()

import jwt_redis  # noqa: E402

project = "jwt_redis"
author = "the jwt_redis maintainers"
copyright = author
release = jwt_redis.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
# Links lead to headings by the names that the code host gives them.
myst_heading_anchors = 4

html_theme = "furo"
html_title = "jwt_redis"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {"navigation_with_keys": True}

# Every name that a docstring refers to has to be there. Other projects' lead nowhere, as that would take the network;
# neither do private base classes.
nitpicky = True
nitpick_ignore_regex = [
    (r"py:.*", r"(django|rest_framework|rest_framework_simplejwt|redis)\..*"),
    (r"py:class", r"jwt_redis\.\w+\._\w+"),
]
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True, "show-inheritance": True}


def copy_images(app: Any, error: Exception | None) -> None:
    """``<picture>`` is HTML, whose files Sphinx does not look for: they go where the page expects them."""
    if error is None and app.builder.format == "html":
        shutil.copytree(DOCS / "images", Path(app.outdir) / "images", dirs_exist_ok=True)


def is_elsewhere(app: Any, domain: Any, node: Any) -> bool | None:
    """A name that one of our modules has from another project, such as ``TokenError``: no warning."""
    name = node["reftarget"]
    modules = [module for path, module in sys.modules.items() if path.startswith("jwt_redis.")]
    # Also those that are named by way of their module, as in ``signing.BadSignature``.
    modules += [value for module in modules for value in vars(module).values() if isinstance(value, ModuleType)]
    found = [vars(module)[name] for module in modules if name in vars(module)]
    return all(not thing.__module__.startswith("jwt_redis") for thing in found) if found else None


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("warn-missing-reference", is_elsewhere)
    app.connect("build-finished", copy_images)
