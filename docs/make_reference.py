"""Writes what the reference can say by itself into its pages, from the code's own declarations: ``make reference``.

Between ``<!-- made:NAME -->`` and ``<!-- /made -->`` stands what :data:`MAKERS` makes under that name, in whichever
page. It is in the repository, so that the pages can be read as they are; a test makes it again and compares.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

DOCS = Path(__file__).resolve().parent
PACKAGE = DOCS.parent / "jwt_redis"
_PLACE = re.compile(r"(<!-- made:([\w.-]+) -->\n).*?(<!-- /made -->)", re.DOTALL)


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown. Line breaks end with the cell's own."""
    lines = ["| " + " | ".join(headings) + " |", "|" + " --- |" * len(headings)]
    for row in rows:
        lines.append("| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in row) + " |")
    return "\n".join(line.replace("|  |", "| |") for line in lines)


def as_markdown(text: str) -> str:
    """A docstring's or a comment's text: roles and double backticks become code."""
    text = re.sub(r":\w+:`~?([\w.]+)`", lambda found: f"`{found[1].rpartition('.')[2]}`", text)
    return text.replace("``", "`")


def first_sentence(thing: Any) -> str:
    """The first paragraph of its docstring."""
    doc = inspect.getdoc(thing)
    if not doc:
        raise SystemExit(f"{thing!r} has no docstring, so that the reference cannot say what it does.")
    return as_markdown(" ".join(doc.split("\n\n")[0].split()))


# Settings ------------------------------------------------------------------------------------------------------------

# Where there is more to read.
SEE = {
    "STRATEGY": "[Choose a strategy](../how-to/choose-a-strategy.md)",
    "CLIENT_FACTORY": "[Cluster](../how-to/cluster.md)",
    "JOURNAL": "[What is promised](../explanation/promises.md)",
    "NEAR_CACHE": "[The near cache](../explanation/near-cache.md)",
    "COOKIE": "[Keep tokens in cookies](../how-to/cookies.md)",
    "KEYS": "[Change the signing key](../how-to/rotate-keys.md)",
    "PAGES": "[The device page](../how-to/device-page.md)",
    "STATUS_LIST": "[Services without Redis](../how-to/status-list.md)",
    "SIGN_IN_NOTICE": "[Sign-in notices](../how-to/sign-in-notice.md)",
    "OAUTH": "[OAuth endpoints](../how-to/oauth-endpoints.md)",
    "OPENID_PROVIDERS": "[Back-channel logout](../how-to/backchannel-logout.md)",
    "WEBHOOKS": "[Webhooks](../how-to/webhooks.md)",
}


def value(default: Any) -> str:
    """As one would write it."""
    if isinstance(default, frozenset):
        default = sorted(default)
    if isinstance(default, float) and default.is_integer():
        default = int(default) if default >= 2 else default
    if isinstance(default, timedelta):
        given = f"days={default.days}" if default.days else f"minutes={default.seconds // 60}"
        return f"`timedelta({given})`"
    if callable(default):
        default = f"{default.__module__}.{default.__qualname__}"
    return "`" + re.sub(r"'([^'\"]*)'", r'"\1"', repr(default)) + "`"


_KINDS = {
    bool: "`True` or `False`",
    str: "text",
    float: "seconds, or a `timedelta`",
    int: "a whole number",
    timedelta: "a `timedelta`",
}


def _or(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def kind(hint: Any, name: str) -> str:
    """What may be put there, from the field's annotation."""
    if name == "LEGACY_TOKENS":
        return '`"refuse"`, `"adopt"`, or a dict'
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return _or(["`None`" if arg is type(None) else kind(arg, name) for arg in args])
    if origin is Literal:
        return _or([f'`"{arg}"`' for arg in args])
    if hint in _KINDS:
        return _KINDS[hint]
    if name == "WEBHOOKS: networks":
        return "a list of networks"
    if origin in (frozenset, tuple):
        return "a list of names"
    if origin is Mapping:
        return "a dict" if get_args(hint)[-1] is str else "a dict of dicts"
    if origin is type:
        return "a class or its dotted path"
    if origin is Callable or inspect.isfunction(hint) or "Callable" in str(hint):
        return "a callable or its dotted path"
    if hasattr(hint, "_fields"):
        return "a whole number, a pair" if name == "WAIT_REPLICAS" else "a dict"
    raise SystemExit(f"{name}: what may be put there? Nothing is known of {hint!r}.")


def code(text: str, names: Iterable[str]) -> str:
    """A setting's help: names and values as code."""
    text = re.sub(r"'([\w.]+)'", r'`"\1"`', as_markdown(text))
    words = "|".join(
        [*names, "None", "True", "False", r"\w+=(?:True|False)", r"(?:jwt_redis|redis)\.[\w.]*\w", "CACHES"]
    )
    return re.sub(rf"(?<![`\w.])({words})(?![`\w(=])", r"`\1`", text)


def settings() -> str:
    """One row a setting."""
    from jwt_redis import conf

    hints = get_type_hints(conf.Config)
    names = [field.name.upper() for field in fields(conf.Config)]
    rows = []
    for field in fields(conf.Config):
        name = field.name.upper()
        meaning = code(field.metadata["help"], names)
        if hasattr(_part_of(hints[field.name]), "_fields") and name != "WAIT_REPLICAS":
            meaning += f" [Its keys](#{name.lower()})."
        if name in SEE:
            meaning += f" {SEE[name]}."
        rows.append((f"`{name}`", value(field.default), kind(hints[field.name], name), meaning))
    return table(("key", "default", "kind", "meaning"), rows)


def _part_of(hint: Any) -> Any:
    """NearCache of ``NearCache | None``."""
    return next((arg for arg in get_args(hint) if arg is not type(None)), hint)


def _comments(cls: type) -> dict[str, str]:
    """What stands above each field."""
    found: dict[str, str] = {}
    above: list[str] = []
    for line in textwrap.dedent(inspect.getsource(cls)).splitlines():
        line = line.strip()
        if line.startswith("#"):
            above.append(line.lstrip("#: "))
        elif match := re.match(r"(\w+): ", line):
            found[match[1]] = " ".join(above)
            above = []
        else:
            above = []
    return found


def nested(name: str, given: dict[str, Any]) -> Callable[[], str]:
    """The keys of the dict that is ``JWT_REDIS[name]``. ``given``: the least that has to be there."""

    def make() -> str:
        from jwt_redis import conf

        field = next(field for field in fields(conf.Config) if field.name.upper() == name)
        cls = _part_of(get_type_hints(conf.Config)[field.name])
        # What is in force where nothing else is said is for the parser to say.
        defaults = field.metadata["parse"](given)._asdict()
        hints, comments = get_type_hints(cls), _comments(cls)
        rows = []
        for key in cls._fields:
            if not comments[key]:
                raise SystemExit(
                    f"conf.{cls.__name__}.{key} has no comment above it, which is what the reference says."
                )
            default = "needed" if key in given else value(defaults[key])
            rows.append((f"`{key}`", default, kind(hints[key], f"{name}: {key}"), code(comments[key], ())))
        return table(("key", "default", "kind", "meaning"), rows)

    return make


# System checks -------------------------------------------------------------------------------------------------------


class _Texts:
    """What the expressions of one module come to, as text: what is known only when it runs is an ellipsis."""

    def __init__(self, path: Path) -> None:
        self.tree = ast.parse(path.read_text())
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef)}
        self.parents = {child: node for node in ast.walk(self.tree) for child in ast.iter_child_nodes(node)}

    def of(self, node: ast.expr | None, at: ast.AST) -> list[str]:
        """The texts that it can be, in the order of the source."""
        if isinstance(node, ast.Constant):
            return [] if node.value is None else [str(node.value)]
        if isinstance(node, ast.JoinedStr):
            texts = [""]
            for part in node.values:
                inner = part.value if isinstance(part, ast.FormattedValue) else part
                # Of a name only what was put together before: an expression is what is found.
                ends = self.of(inner, at) if isinstance(inner, ast.Constant | ast.Name) else []
                unknown = inner.id.upper() if isinstance(inner, ast.Name) else "…"
                texts = [text + end for text in texts for end in ends or [unknown]]
            return texts
        if isinstance(node, ast.IfExp):
            return [*self.of(node.body, at), *self.of(node.orelse, at)]
        if isinstance(node, ast.Name):
            return self._named(node.id, at)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in self.functions:
            function = self.functions[node.func.id]
            found = [one.value for one in ast.walk(function) if isinstance(one, ast.Return)]
            return [text for one in found for text in self.of(one, function)]
        return []

    def function_of(self, node: ast.AST) -> ast.AST:
        """Where a node stands: its function, or the module."""
        while not isinstance(node, ast.FunctionDef | ast.Module):
            node = self.parents[node]
        return node

    def _named(self, name: str, at: ast.AST) -> list[str]:
        found: list[str] = []
        for scope in (at, self.tree):
            for node in ast.walk(scope):
                if isinstance(node, ast.Assign | ast.NamedExpr):
                    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                    found += self._taken(name, targets[0], node.value, scope)
                elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Call):
                    called = self.functions.get(getattr(node.iter.func, "id", ""))
                    for one in ast.walk(called) if called else ():
                        if isinstance(one, ast.Yield) and one.value is not None:
                            found += self._taken(name, node.target, one.value, called or scope)
            if found:
                return found
        return []

    def _taken(self, name: str, target: ast.expr, given: ast.expr, at: ast.AST) -> list[str]:
        if isinstance(target, ast.Name) and target.id == name:
            return self.of(given, at)
        if isinstance(target, ast.Tuple) and isinstance(given, ast.Tuple):
            pairs = zip(target.elts, given.elts, strict=False)
            return [text for one, other in pairs for text in self._taken(name, one, other, at)]
        return []


# Where another module has the text.
SAID_BY = {
    "jwt_redis.E001": "JWT_REDIS: KEY: there is no such key.",
    "jwt_redis.E002": "JWT_REDIS: KEY: and what kind of value is needed.",
    "jwt_redis.E004": "ALIAS is missing from CACHES, or is no django-redis cache.",
}


def _found_checks() -> Iterator[tuple[str, str, str]]:
    """Id, message and hint of each check in the package."""
    for path in sorted([*PACKAGE.glob("checks/*.py"), *PACKAGE.glob("**/checks.py")]):
        texts = _Texts(path)
        for node in ast.walk(texts.tree):
            named = {word.arg: word.value for word in node.keywords} if isinstance(node, ast.Call) else {}
            if not isinstance(node, ast.Call) or "id" not in named:
                continue
            at = texts.function_of(node)
            message, hint = texts.of(node.args[0], at), texts.of(named.get("hint"), at)
            for one in texts.of(named["id"], at):
                yield one, _one_of([SAID_BY[one]] if one in SAID_BY else message), _one_of(hint)


def _one_of(texts: list[str]) -> str:
    """On a line each. As it is: what stands there is no Markdown."""
    return "<br>".join(re.sub(r"([*<[])", r"\\\1", text) for text in dict.fromkeys(texts))


def checks(ids: str) -> Callable[[], str]:
    """Those of a pattern."""

    def make() -> str:
        found = sorted(one for one in _found_checks() if re.fullmatch(rf"jwt_redis\.(?:{ids})", one[0]))
        return table(("id", "says", "and advises"), [(f"`{name}`", *said) for name, *said in found])

    return make


# Commands ------------------------------------------------------------------------------------------------------------


def commands() -> str:
    """Each with its options, from its own parser."""
    parts = []
    found = [*PACKAGE.glob("management/commands/jwt_*.py"), *PACKAGE.glob("contrib/*/management/commands/jwt_*.py")]
    for path in sorted(found, key=lambda path: path.stem):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        command = import_module(module).Command()
        parser = argparse.ArgumentParser(add_help=False)
        command.add_arguments(parser)
        rows = list(_options(parser))
        if missing := [option for option, help in rows if not help]:
            raise SystemExit(f"{path.stem} {missing[0]} has no help, which is what the reference says.")
        parts.append(f"### `{path.stem}`\n\n{textwrap.fill(command.help, 120, break_on_hyphens=False)}")
        if rows:
            parts.append(table(("argument", "is"), rows))
    return "\n\n".join(parts)


def _options(parser: argparse.ArgumentParser, within: str = "") -> Iterator[tuple[str, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action._choices_actions:
                yield f"`{one.dest}`", one.help or ""
                yield from _options(action.choices[one.dest], f"{one.dest} ")
        elif not isinstance(action, argparse._HelpAction):
            option = f"`{within}{_option(action)[1:]}"
            yield option, (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))


def _option(action: argparse.Action) -> str:
    name = action.option_strings[-1] if action.option_strings else (action.metavar or action.dest)
    if not action.option_strings or action.nargs == 0:
        return f"`{name}`"
    return f"`{name} {action.metavar or action.dest.upper()}`"


# Python --------------------------------------------------------------------------------------------------------------


def _signature(function: Any) -> str:
    parts, is_open = [], True
    for one in inspect.signature(function).parameters.values():
        if one.kind is one.KEYWORD_ONLY and is_open:
            parts.append("*")
            is_open = False
        default = "" if one.default is one.empty else "=" + re.sub(r"'([^']*)'", r'"\1"', repr(one.default))
        parts.append(one.name + default)
    return ", ".join(parts)


def functions(module: str) -> Callable[[], str]:
    """Those that ``__all__`` names and that have a twin, or that stand alone; the twins and constants are left out."""

    def make() -> str:
        found = import_module(module)
        rows = []
        for name in found.__all__:
            thing = getattr(found, name)
            if not inspect.isfunction(thing) or (name[0] == "a" and name[1:] in found.__all__):
                continue
            rows.append((f"`{name}({_signature(thing)})`", first_sentence(thing)))
        return table(("function", "does"), rows)

    return make


def classes(*modules: str) -> Callable[[], str]:
    """The classes that ``__all__`` of these modules names."""

    def make() -> str:
        rows = []
        for module in modules:
            found = import_module(module)
            for name in found.__all__:
                if inspect.isclass(thing := getattr(found, name)):
                    rows.append((f"`{name}`", first_sentence(thing)))
        return table(("class", "is"), rows)

    return make


def signals() -> str:
    """From what stands above each."""
    rows = []
    for comment, name in re.findall(r"((?:^#.*\n)+)(\w+) = Signal\(\)", (PACKAGE / "signals.py").read_text(), re.M):
        text = " ".join(line.lstrip("#: ") for line in comment.splitlines())
        happened, _, arguments = text.partition(" Arguments: ")
        if not arguments:
            raise SystemExit(f"signals.{name}: the comment above it says no 'Arguments: ...'.")
        rows.append((f"`{name}`", as_markdown(arguments).rstrip("."), as_markdown(happened)))
    return table(("signal", "arguments", "when"), rows)


def exceptions() -> str:
    """With what HTTP makes of them."""
    from jwt_redis import exceptions as found

    rows = []
    for name in found.__all__:
        cls = getattr(found, name)
        answer = f"{cls.status_code} `{cls.default_code}`" if hasattr(cls, "status_code") else ""
        rows.append((f"`{name}`", answer, first_sentence(cls)))
    return table(("exception", "answered as", "means"), rows)


def reasons() -> str:
    """Why a token is refused."""
    from jwt_redis import sessions, verdicts

    known = {value for name, value in vars(verdicts).items() if name.isupper() and name in verdicts.__all__}
    if missing := known - set(sessions.RULES):
        raise SystemExit(f"sessions.RULES does not explain {missing}.")
    return table(("reason", "rule"), [(f"`{one}`", rule) for one, rule in sessions.RULES.items() if one in known])


def observer() -> str:
    """What an observer is told."""
    from jwt_redis.observers import Observer

    rows = [
        (f"`{name}({', '.join(list(inspect.signature(one).parameters)[1:])})`", first_sentence(one))
        for name, one in vars(Observer).items()
        if inspect.isfunction(one)
    ]
    return table(("method", "is called when"), rows)


# HTTP, metrics, logs -------------------------------------------------------------------------------------------------


def urls(module: str) -> Callable[[], str]:
    """What is served, by which view, under which name."""

    def make() -> str:
        found = import_module(module)
        namespace = f"{found.app_name}:" if hasattr(found, "app_name") else ""
        rows = []
        for one in found.urlpatterns:
            view = getattr(one.callback, "view_class", None) or one.callback.cls
            methods = [
                name for name in view.http_method_names if hasattr(view, name) and name not in ("head", "options")
            ]
            path = re.sub(r"<str:(\w+)>", lambda match: match[1].upper(), str(one.pattern)) or "(empty)"
            said = first_sentence(view)
            rows.append(
                (f"`{path}`", " ".join(methods).upper(), f"`{namespace}{one.name}`", f"`{view.__name__}`", said)
            )
        return table(("path", "methods", "name", "view", "does"), rows)

    return make


def metrics() -> str:
    """Of contrib.prometheus."""
    from jwt_redis.contrib.prometheus.metrics import METRICS

    rows = []
    for one in METRICS:
        suffix = "_total" if one._type == "counter" else ""
        labels = ", ".join(f"`{label}`" for label in one._labelnames)
        rows.append((f"`{one._name}{suffix}`", one._type, labels, one._documentation))
    return table(("metric", "type", "labels", "counts"), rows)


MAKERS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "settings.NEAR_CACHE": nested("NEAR_CACHE", {}),
    "settings.KEYS": nested("KEYS", {}),
    "settings.COOKIE": nested("COOKIE", {}),
    "settings.PAGES": nested("PAGES", {}),
    "settings.OAUTH": nested("OAUTH", {}),
    "settings.STATUS_LIST": nested("STATUS_LIST", {"uri": "https://example.com/status/"}),
    "settings.SIGN_IN_NOTICE": nested("SIGN_IN_NOTICE", {"base_url": "https://example.com"}),
    "settings.WEBHOOKS": nested("WEBHOOKS", {"issuer": "https://example.com"}),
    "checks": checks(r"[EW]0\d\d"),
    "checks.database": checks("W104"),
    "checks.deploy": checks(r"E1\d\d|W10[^4]"),
    "commands": commands,
    "sessions": functions("jwt_redis.sessions"),
    "sessions.values": classes("jwt_redis.sessions"),
    "signals": signals,
    "exceptions": exceptions,
    "reasons": reasons,
    "observer": observer,
    "urls": urls("jwt_redis.urls"),
    "urls.pages": urls("jwt_redis.pages.urls"),
    "urls.status": urls("jwt_redis.status_urls"),
    "metrics": metrics,
}


def pages() -> Iterator[tuple[Path, str, str]]:
    """Each page with a place for something: its path, its text, and what the text should be."""
    for path in sorted(DOCS.glob("**/*.md")):
        text = path.read_text()
        if "<!-- made:" in text:
            yield path, text, _PLACE.sub(lambda found: f"{found[1]}\n{MAKERS[found[2]]()}\n\n{found[3]}", text)


def main() -> int:
    """Write them. With ``--check`` only say which differ: the exit status is 1 then."""
    differing = [(path, made) for path, text, made in pages() if made != text]
    for path, made in differing:
        if "--check" in sys.argv:
            sys.stderr.write(f"{path.relative_to(DOCS.parent)} is not what the code says: make reference\n")
        else:
            path.write_text(made)
    return int("--check" in sys.argv and bool(differing))


if __name__ == "__main__":
    sys.path[:0] = [str(DOCS.parent), str(DOCS)]
    os.environ["DJANGO_SETTINGS_MODULE"] = "django_settings"
    import django

    django.setup()
    sys.exit(main())
