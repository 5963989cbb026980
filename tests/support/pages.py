"""What the project around the pages brings: a strict policy, and where an address is; and how tests read HTML."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

from django.http import HttpRequest, HttpResponse

POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'"
)
PLACES = {"192.0.2.1": "Berlin, Germany", "198.51.100.7": "  Tōkyō,\n Japan "}


def strict_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def respond(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = POLICY
        return response

    return respond


def claimed_ip(request: HttpRequest) -> str | None:
    """What the client says: for tests alone."""
    ip: str | None = request.META.get("HTTP_X_TEST_IP") or request.META.get("REMOTE_ADDR")
    return ip


def locate(ip: str) -> str | None:
    if ip == "203.0.113.66":
        raise OSError("the database of places is gone")
    return PLACES.get(ip)


_VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
# Elements that contain nothing that is a block (HTML Living Standard, phrasing content).
_PHRASING = {"p", "span", "h1", "h2", "h3", "bdi", "button", "label", "summary", "a", "time", "strong"}
_BLOCKS = {"div", "p", "ul", "li", "form", "section", "h1", "h2", "h3", "dl", "details", "nav", "main"}


class Document(HTMLParser):
    """A page that was read, and what is wrong with it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        # By tag, the text in each element of it.
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, int]] = []
        self.feed(html)
        self.close()
        self.problems += [f"<{tag}> is not closed" for tag, _ in self._open]
        self._check_ids()
        self._check_labels()
        self._check_headings()
        self._check_policy()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        if len(names) != len(set(names)):
            self.problems.append(f"<{tag}> has an attribute twice: {names}")
        within = {name for name, _ in self._open}
        if tag in _BLOCKS and (outer := within & _PHRASING):
            self.problems.append(f"<{tag}> within {outer}")
        if tag == "form" and "form" in within:
            self.problems.append("a form within a form")
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append((tag, len(self.text)))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1][0] != tag:
            self.problems.append(f"</{tag}> where {[name for name, _ in self._open]} is open")
            return
        _, start = self._open.pop()
        self.texts.setdefault(tag, []).append(" ".join(self.text[start:].split()))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        """The attributes of each such element. ``class_``: one of its classes."""
        found = []
        for name, attributes in self.elements:
            classes = (attributes.get("class") or "").split()
            is_wanted = all(
                value in classes if key == "class_" else attributes.get(key.replace("_", "-")) == value
                for key, value in wanted.items()
            )
            if name == tag and is_wanted:
                found.append(attributes)
        return found

    def _check_ids(self) -> None:
        ids = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        self.problems += [f"the id {one} comes twice" for one in set(ids) if ids.count(one) > 1]
        for _, attributes in self.elements:
            for name in ("for", "aria-labelledby", "aria-describedby"):
                if (target := attributes.get(name)) is not None and target not in ids:
                    self.problems.append(f"{name}={target} leads nowhere")

    def _check_labels(self) -> None:
        labelled = {attributes.get("for") for attributes in self.all("label")}
        for attributes in self.all("input"):
            if attributes.get("type") != "hidden" and attributes.get("id") not in labelled:
                self.problems.append(f"an input without a label: {attributes}")
        self.problems += ["a button that says nothing" for text in self.texts.get("button", []) if not text]

    def _check_headings(self) -> None:
        levels = [int(tag[1]) for tag, _ in self.elements if tag in ("h1", "h2", "h3", "h4")]
        if any(two > one + 1 for one, two in pairwise(levels)):
            self.problems.append(f"headings leave out a level: {levels}")

    def _check_policy(self) -> None:
        for tag, attributes in self.elements:
            inline = [name for name in attributes if name.startswith(("on", "style", "hx-on"))]
            if inline or tag in ("style", "script"):
                self.problems.append(f"<{tag}> {inline} breaks a strict policy")


def read(response: Any) -> Document:
    """A response's page, which is flawless."""
    document = Document(response.content.decode())
    assert document.problems == [], document.problems
    return document
