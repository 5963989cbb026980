"""The catalogues: whole, compiled, and in force where people read. gettext's tools are not needed."""

from __future__ import annotations

import ast
import gettext
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import django
import pytest
import redis
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core import mail
from django.test import Client, override_settings
from django.utils import formats, timezone, translation
from django.utils.text import capfirst
from django.utils.translation.template import templatize
from django.utils.translation.trans_real import get_language_from_request, to_language
from rest_framework.test import APIClient

import jwt_redis
from jwt_redis import sessions
from jwt_redis.devices import Device
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.models import Revocation
from jwt_redis.templatetags.jwt_redis import jwt_ago
from jwt_redis.testing.servers import free_port
from tests.support.pages import read
from tests.test_device_page import DEVICES, FIREFOX, IPHONE, Browser, page_settings_with, put_device
from tests.test_notices import NOTICE, sign_in

PACKAGE = Path(jwt_redis.__file__).parent
ROOT = PACKAGE.parent
LOCALE = PACKAGE / "locale"
# As gettext names them, and Django in LANGUAGES.
SHIPPED = ("en", "de", "es", "fr", "ja", "zh_Hans")
FOREIGN = SHIPPED[1:]
TAGS = tuple(to_language(locale) for locale in FOREIGN)
UNREVIEWED = "in need of a native reader's review"
# The same word in both.
SAME = {
    "de": {"Code", "Journal", "Name", "in Redis"},
    "es": {"Error:"},
    "fr": {"%(count)s session", "Code", "audience", "Session", "Sessions", "session", "sessions"},
    "ja": set(),
    "zh_Hans": set(),
}

# Reading --------------------------------------------------------------------------------------------------------


class Entry:
    """One message of a .po file. ``key``: as gettext's compiled catalogues have it, the context in front."""

    def __init__(self, fields: dict[str, str], flags: set[str]) -> None:
        self.msgid, self.plural, self.flags = fields["msgid"], fields.get("msgid_plural"), flags
        self.forms = [value for key, value in fields.items() if key.startswith("msgstr")]
        self.key = in_context(fields.get("msgctxt"), self.msgid)


def in_context(context: str | None, msgid: str) -> str:
    return msgid if context is None else f"{context}\x04{msgid}"


def read_po(text: str) -> Iterator[Entry]:
    """What GNU gettext's manual, section 3.1, says of the format, as far as our catalogues go."""
    fields: dict[str, str] = {}
    flags: set[str] = set()
    name = ""
    for line in [*text.splitlines(), ""]:
        if not line.strip():
            if fields:
                yield Entry(fields, flags)
            fields, flags = {}, set()
        elif line.startswith("#,"):
            flags = {flag.strip() for flag in line[2:].split(",")}
        elif line.startswith("#"):
            assert not line.startswith("#~"), f"no longer in the sources: {line}"
        elif line.startswith('"'):
            fields[name] += ast.literal_eval(line)
        else:
            name, _space, value = line.partition(" ")
            assert re.fullmatch(r"msgctxt|msgid|msgid_plural|msgstr(\[\d\])?", name), line
            assert name not in fields, f"{name} comes twice: {line}"
            fields[name] = ast.literal_eval(value)


@cache
def catalogue(locale: str) -> dict[str, Entry]:
    found = list(read_po((LOCALE / locale / "LC_MESSAGES" / "django.po").read_text(encoding="utf-8")))
    assert len({entry.key for entry in found}) == len(found)
    return {entry.key: entry for entry in found}


def header(locale: str) -> dict[str, str]:
    lines = catalogue(locale)[""].forms[0].splitlines()
    return dict(line.split(": ", 1) for line in lines if not line.endswith(": "))


def messages(locale: str) -> list[Entry]:
    return [entry for key, entry in catalogue(locale).items() if key]


def compiled(root: Path, locale: str) -> dict[Any, str]:
    return gettext.translation("django", root, [locale])._catalog  # type: ignore[attr-defined,no-any-return]


# The sources ----------------------------------------------------------------------------------------------------

PLAIN = ("gettext", "gettext_lazy", "gettext_noop")
COUNTED = ("ngettext", "ngettext_lazy")
IN_CONTEXT = ("pgettext", "pgettext_lazy")


class Calls(ast.NodeVisitor):
    """The messages of a module, and which of them are translated when it is imported."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.messages: dict[str, str | None] = {}
        self.frozen: list[int] = []
        self.unreadable: list[int] = []
        self._depth = 0

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.module == "django.utils.translation":
            self.names |= {alias.asname or alias.name: alias.name for alias in node.names if "gettext" in alias.name}
            assert set(self.names.values()) <= {*PLAIN, *COUNTED, *IN_CONTEXT}

    def visit_FunctionDef(self, node: Any) -> None:
        # Defaults and decorators are evaluated outside of it.
        for outside in (*node.decorator_list, node.args):
            self.visit(outside)
        self._depth += 1
        for inside in node.body:
            self.visit(inside)
        self._depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_Call(self, node: ast.Call) -> None:
        function = self.names.get(node.func.id) if isinstance(node.func, ast.Name) else None
        if function is not None:
            texts = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if len(texts) != (1 if function in PLAIN else 2):
                self.unreadable.append(node.lineno)
            elif function in IN_CONTEXT:
                self.messages[in_context(*texts)] = None
            else:
                self.messages[texts[0]] = texts[1] if function in COUNTED else None
            if not self._depth and function in ("gettext", "ngettext", "pgettext"):
                self.frozen.append(node.lineno)
        self.generic_visit(node)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def templates() -> list[Path]:
    return sorted(path for path in (PACKAGE / "templates").rglob("*") if path.is_file())


# No template of ours: other people's messages.
SIMPLE_JWTS = LOCALE / "simplejwt.txt"


def calls_of(path: Path) -> Calls:
    calls = Calls()
    calls.visit(ast.parse(path.read_text(encoding="utf-8")))
    return calls


_LITERAL = r"""u?("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
_CALL = re.compile(rf"(?<!\w)(_|n?gettext|pgettext)\(\s*{_LITERAL}(?:\s*,\s*{_LITERAL})?", re.S)


def messages_of_template(text: str) -> dict[str, str | None]:
    """By Django's own reading of a template, which writes it down for xgettext."""
    found = _CALL.findall(templatize(text))
    read: dict[str, str | None] = {}
    for function, *literals in found:
        one, two = (ast.literal_eval(text) if text else None for text in literals)
        read |= {in_context(one, two): None} if function == "pgettext" else {one: two}
    return read


@cache
def sources() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for path in modules():
        found |= calls_of(path).messages
    for path in (*templates(), SIMPLE_JWTS):
        for one, many in messages_of_template(path.read_text(encoding="utf-8")).items():
            found[one] = many or found.get(one)
    return found


def test_the_sources_are_read() -> None:
    """Of each kind one, so that an extraction that finds nothing does not pass for a whole catalogue."""
    assert len(sources()) > 200
    assert sources()["%(count)d hour ago"] == "%(count)d hours ago"
    assert sources()["%(total)s device"] == "%(total)s devices"
    assert {"Token is blacklisted", "Sign out", "revocations", "New sign-in to %(site)s with %(device)s"} <= set(
        sources()
    )
    assert {"jwt_redis\x04Sessions", "time\x04From"} <= set(sources()) and "From" not in sources()
    assert 'Signed in <time datetime="%(iso)s" title="%(exact)s %(zone)s">%(ago)s</time>' in sources()


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_is_translated_at_import_or_out_of_a_variable(path: Path) -> None:
    calls = calls_of(path)
    assert calls.frozen == [] and calls.unreadable == []


def test_what_such_a_module_looks_like(tmp_path: Path) -> None:
    module = tmp_path / "frozen.py"
    module.write_text(
        "from django.utils.translation import gettext as _\n"
        "A = _('a')\nclass B:\n    c = _('c')\ndef d(e=_('e')):\n    return _('f'), _(A)\n"
    )
    calls = calls_of(module)
    assert (calls.frozen, calls.unreadable) == ([2, 4, 5], [6]) and set(calls.messages) == {"a", "c", "e", "f"}


_UNSEEN = re.compile(
    r"{#.*?#}|{%\s*comment.*?endcomment\s*%}|{%\s*blocktranslate.*?endblocktranslate\s*%}"
    r"|{%\s*block bodyclass.*?endblock\s*%}",
    re.S,
)
_READ = re.compile(
    r"""\b(?:alt|aria-label|aria-description|placeholder|title|value|data-label)=(?:"([^"]*)"|'([^']*)')"""
)


def bare_words(text: str) -> list[str]:
    """What a template says without asking for a translation."""
    text = re.sub(r"{%.*?%}|{{.*?}}", "\0", _UNSEEN.sub("\0", text), flags=re.S)
    hidden = re.compile(r"<input[^>]*type=\"hidden\"[^>]*>", re.S)
    said = [one or other for one, other in _READ.findall(hidden.sub("", text))]
    said.append(re.sub(r"<[^>]*>", "\0", text, flags=re.S))
    return re.findall(r"[^\W\d_]{2,}", re.sub(r"&\w+;", " ", "\0".join(said)))


@pytest.mark.parametrize("path", templates(), ids=lambda path: str(path.relative_to(PACKAGE / "templates")))
def test_no_template_says_anything_untranslated(path: Path) -> None:
    assert bare_words(path.read_text(encoding="utf-8")) == []


def test_what_is_bare() -> None:
    assert bare_words('<p title="Hello">{{ who }} {% if a %}said{% endif %} &amp; {# no #}</p>') == ["Hello", "said"]
    assert bare_words('{% translate "Hi" %}<b class="x">{% blocktranslate %}Hi{% endblocktranslate %}</b>') == []


# The catalogues -------------------------------------------------------------------------------------------------


def test_each_language_is_there_and_no_other() -> None:
    assert {path.parent.name for path in LOCALE.glob("*/LC_MESSAGES")} == set(SHIPPED)


@pytest.mark.parametrize("locale", SHIPPED)
def test_the_compiled_one_is_what_it_is_compiled_from(locale: str) -> None:
    """By what it says: the bytes differ with the tool that compiled it."""
    wanted: dict[Any, str] = {}
    for entry in catalogue(locale).values():
        if entry.plural is None:
            wanted[entry.key] = entry.forms[0]
        else:
            wanted |= {(entry.key, number): form for number, form in enumerate(entry.forms)}
    found = dict(compiled(LOCALE, locale))
    assert sorted(found.pop("").splitlines()) == sorted(wanted.pop("").splitlines())
    assert found == wanted, "make messages"


@pytest.mark.parametrize("locale", SHIPPED)
def test_every_message_of_the_sources_is_there_and_nothing_else(locale: str) -> None:
    assert {entry.key: entry.plural for entry in messages(locale)} == sources(), "make messages"


@pytest.mark.parametrize("locale", SHIPPED)
def test_none_is_empty_or_a_guess(locale: str) -> None:
    plurals = int(re.findall(r"nplurals=(\d)", header(locale)["Plural-Forms"])[0])
    for entry in messages(locale):
        assert "fuzzy" not in entry.flags, entry.msgid
        assert len(entry.forms) == (1 if entry.plural is None else plurals), entry.msgid
        for form in entry.forms:
            assert form.strip() and form == form.strip(), entry.msgid


@pytest.mark.parametrize("locale", FOREIGN)
def test_none_is_left_in_english(locale: str) -> None:
    same = {entry.msgid for entry in messages(locale) if {entry.msgid, entry.plural} & set(entry.forms)}
    assert same == SAME[locale]
    if locale in ("ja", "zh_Hans"):
        # Kana and Han, in each that is not all placeholder.
        assert [entry.msgid for entry in messages(locale) if not re.search("[\u3040-\u9fff]", entry.forms[0])] == []


def test_the_english_one_says_what_the_sources_say() -> None:
    for entry in messages("en"):
        assert entry.forms == ([entry.msgid] if entry.plural is None else [entry.msgid, entry.plural])


_PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%%|%[a-z]|{\w*}|</?[a-z][^>]*>")


@pytest.mark.parametrize("locale", FOREIGN)
def test_the_placeholders_agree(locale: str) -> None:
    for entry in messages(locale):
        wanted = sorted(_PLACEHOLDER.findall(entry.plural or entry.msgid))
        for number, form in enumerate(entry.forms):
            found = sorted(_PLACEHOLDER.findall(form))
            # "End this session?": one need not be counted.
            may_be = [wanted]
            if entry.plural is not None and number == 0:
                may_be.append(sorted(_PLACEHOLDER.findall(entry.msgid)))
            assert found in may_be, (entry.msgid, form)


@pytest.mark.parametrize("locale", FOREIGN)
def test_all_but_english_say_that_a_native_reader_has_not_seen_them(locale: str) -> None:
    assert header(locale)["X-Review"] == UNREVIEWED
    assert f"# {UNREVIEWED.capitalize()}." in (LOCALE / locale / "LC_MESSAGES/django.po").read_text(encoding="utf-8")
    row = next(line for line in _guide().splitlines() if f"| `{to_language(locale)}` |" in line)
    assert UNREVIEWED in row


def test_english_needs_no_such_review() -> None:
    assert "X-Review" not in header("en")
    assert all(UNREVIEWED not in line for line in _guide().splitlines() if "| `en` |" in line)


def _guide() -> str:
    guide = ROOT / "docs" / "how-to" / "translate.md"
    if not guide.exists():
        pytest.skip("the documentation is not here")
    return guide.read_text(encoding="utf-8")


@pytest.mark.skipif(django.VERSION[:2] != (5, 2), reason="another Django has other words")
@pytest.mark.parametrize("locale", FOREIGN)
def test_what_django_says_too_is_said_in_the_same_words(locale: str) -> None:
    """All catalogues become one: another word for "Save" would be another one on every page of the project."""
    root = Path(django.__file__).parent
    differ = {}
    ours = compiled(LOCALE, locale)
    for theirs in (root / "conf", *(root / "contrib" / name for name in ("admin", "auth", "messages", "sessions"))):
        if (theirs / "locale" / locale / "LC_MESSAGES" / "django.mo").exists():
            both = compiled(theirs / "locale", locale)
            differ |= {key: ours[key] for key in ours.keys() & both.keys() - {""} if ours[key] != both[key]}
    assert differ == {}


@pytest.mark.parametrize("locale", FOREIGN)
def test_every_number_has_a_form(locale: str) -> None:
    words = set()
    with translation.override(to_language(locale)):
        for hours in (1, 2, 5, 11, 21, 23):
            said = jwt_ago(datetime.now(UTC) - timedelta(hours=hours))
            assert str(hours) in said and "ago" not in said and "%" not in said
            words.add(said.replace(str(hours), "#"))
    assert len(words) == (1 if locale in ("ja", "zh_Hans") else 2)


@pytest.mark.parametrize(
    ("language", "wanted"),
    [
        ("de", ["gerade eben", "vor 1 Stunde", "vor 3 Tagen", "vor 2 Jahren"]),
        ("es", ["ahora mismo", "hace 1 hora", "hace 3 días", "hace 2 años"]),
        ("fr", ["à l\u2019instant", "il y a 1 heure", "il y a 3 jours", "il y a 2 ans"]),
        ("ja", ["たった今", "1 時間前", "3 日前", "2 年前"]),
        ("zh-hans", ["刚刚", "1 小时前", "3 天前", "2 年前"]),
    ],
)
def test_how_long_ago(language: str, wanted: list[str]) -> None:
    with translation.override(language):
        spans = (timedelta(0), timedelta(hours=1), timedelta(days=3), timedelta(days=740))
        assert [jwt_ago(datetime.now(UTC) - span) for span in spans] == wanted


def test_what_is_made_at_import_follows_the_language() -> None:
    said: dict[str, list[str]] = {}
    for language in ("en", *TAGS, "en"):
        with translation.override(language):
            said[language] = [
                str(Revocation._meta.verbose_name),
                str(Revocation._meta.get_field("until").verbose_name),
                str(Revocation._meta.get_field("target").help_text),  # type: ignore[union-attr]
                str(Revocation.Kind.OTHERS.label),
                str(apps.get_app_config("jwt_redis").verbose_name),
                str(RevocationUnavailable().detail["detail"]),
            ]
    assert said["en"][0] == "revocation" and said["de"][0] == "Widerruf" and said["ja"][3] != said["zh-hans"][3]
    assert [said[tag][4] for tag in ("en", *TAGS)] == [
        "Sessions",
        "Sitzungen",
        "Sesiones",
        "Sessions",
        "セッション",
        "会话",
    ]
    for number in (0, 1, 2, 3, 5):
        assert len({one[number] for one in said.values()}) >= len(said) - 1, number


# Over HTTP ------------------------------------------------------------------------------------------------------


def in_languages(**more: Any) -> Any:
    """The project with pages, as one that speaks all of them: by Accept-Language."""
    found = page_settings_with(**more)
    middleware = ["django.middleware.locale.LocaleMiddleware", *found.pop("MIDDLEWARE")]
    return override_settings(
        **found, MIDDLEWARE=middleware, LANGUAGES=[(tag, tag) for tag in ("en", *TAGS)], TIME_ZONE="Europe/Madrid"
    )


@pytest.fixture
def languages() -> Iterator[None]:
    with in_languages():
        yield


def said_in(language: str, msgid: str) -> str:
    (locale,) = (one for one in SHIPPED if to_language(one) == language)
    (form,) = catalogue(locale)[msgid].forms
    return form


def spaced(text: str) -> str:
    """As :class:`tests.support.pages.Document` has texts: no space is a special one."""
    return " ".join(text.split())


db = pytest.mark.django_db(transaction=True)


@db
@pytest.mark.parametrize("language", TAGS)
def test_the_endpoints_refuse_in_the_language_of_the_request(alice: Any, languages: None, language: str) -> None:
    client = APIClient(headers={"Accept-Language": language})
    wrong = client.post("/auth/token/", {"username": "alice", "password": "wrong"})
    assert wrong.status_code == 401
    assert wrong.json()["detail"] == said_in(language, "No active account found with the given credentials")

    token = sessions.open_session(alice)
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token.access_token}")
    stranger = client.delete(f"/auth/sessions/{'x' * 22}/")
    assert (stranger.status_code, stranger.json()["detail"]) == (404, said_in(language, "You have no such session."))
    long = client.patch(f"/auth/sessions/{token['sid']}/", {"label": "x" * 500}, format="json")
    wanted = said_in(language, "At most %(count)d characters are possible.") % {"count": sessions.MAX_LABEL}
    assert (long.status_code, long.json()["label"]) == (400, [wanted])

    sessions.end_session(alice, token["sid"])
    ended = client.get("/auth/sessions/")
    assert ended.status_code == 401
    assert ended.json()["detail"] == said_in(language, "Given token not valid for any token type")
    assert ended.json()["messages"][0]["message"] == said_in(language, "Token is blacklisted")
    # For programs, and so the same in each.
    assert (ended.json()["code"], ended.json()["reason"]) == ("token_not_valid", "session_ended")
    refresh = client.post("/auth/token/refresh/", {"refresh": str(token)})
    assert (refresh.status_code, refresh.json()["detail"]) == (401, said_in(language, "Token is blacklisted"))
    nonsense = APIClient(headers={"Accept-Language": language}).post("/auth/token/verify/", {"token": "nonsense"})
    assert (nonsense.status_code, nonsense.json()["detail"]) == (401, said_in(language, "Token is invalid"))


@db
@pytest.mark.parametrize("language", ("en", *TAGS))
def test_the_same_process_answers_everybody_in_their_own(languages: None, language: str) -> None:
    """One after the other, there and back: nothing is kept of the one before."""
    for asked in (language, "en", language):
        answer = Client(headers={"Accept-Language": asked}).post("/auth/token/refresh/", {"refresh": "nonsense"})
        assert answer.json()["detail"] == said_in(asked, "Token is invalid")
        assert answer["Content-Language"] == asked


@db
def test_what_is_wrong_with_a_claim_is_said_in_german(alice: Any, languages: None) -> None:
    token = sessions.open_session(alice).access_token
    del token.payload["jti"]
    client = APIClient(headers={"Accept-Language": "de", "Authorization": f"Bearer {token}"})
    answer = client.get("/auth/sessions/").json()
    assert answer["messages"][0]["message"] == "Das Token hat keine ID"


@db
@pytest.mark.parametrize("language", TAGS)
def test_the_device_page(alice: Any, languages: None, language: str) -> None:
    browser = Browser()
    browser.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    browser.sign_in()
    Browser(IPHONE).sign_in()
    document = browser.show()
    assert document.all("html") == [{"lang": language, "dir": "ltr"}]
    assert document.texts["h1"] == [said_in(language, "Your devices")]
    for msgid in ("This device", "Active now", "Sign out of all other devices", "Last active", "Name and details"):
        assert said_in(language, msgid) in document.text, msgid
    systems = said_in(language, "%(browser)s on %(system)s")
    assert systems % {"browser": "Firefox", "system": "Linux"} in document.text
    for word in ("Sign out", "Last active", "Signed in", "just now", "devices", "Name and", "Save"):
        assert word not in document.text, word
    with translation.override(language), timezone.override("Europe/Madrid"):
        moment = timezone.localtime(sessions.list_sessions(alice)[0].created_at)
        exact = formats.date_format(moment, "DATETIME_FORMAT")
        assert exact in document.text and any(exact in str(one["title"]) for one in document.all("time"))
    assert get_language_from_request(browser.get(DEVICES).wsgi_request) == language


@db
def test_a_word_for_the_next_page_and_why_one_was_signed_out(alice: Any, languages: None) -> None:
    here, there = Browser(), Browser(IPHONE)
    for browser in (here, there):
        browser.defaults["HTTP_ACCEPT_LANGUAGE"] = "fr"
        browser.sign_in()
    said = here.press_and_look(f"{DEVICES}{there.sid}/sign-out/")
    assert said.texts["p"][1] == "« \u2068Mobile Safari sur iOS\u2069 » a été déconnecté."
    left = there.show(status=401)
    assert "Vous avez fermé la session, ici ou sur un autre appareil." in left.text
    assert left.texts["h1"] == ["Votre session a été fermée"]


@db
def test_a_device_of_which_nothing_is_known(alice: Any, languages: None) -> None:
    browser = Browser("", "")
    browser.defaults["HTTP_ACCEPT_LANGUAGE"] = "ja"
    document = browser.sign_in().show()
    assert "不明なブラウザー" in document.text


@db
@pytest.mark.parametrize("language", TAGS)
def test_the_notice_is_in_the_users_language(alice: Any, language: str) -> None:
    """Whose request it was that signed in does not matter where the project knows the user's own."""
    notice = {**NOTICE, "language": "tests.test_translations.of_the_user"}
    alice.last_name = language
    alice.save()
    with in_languages(SIGN_IN_NOTICE=notice), translation.override("en"):
        sign_in(alice, FIREFOX)
        sign_in(alice, IPHONE)
    (message,) = mail.outbox
    device = said_in(language, "%(browser)s on %(system)s") % {"browser": "Mobile Safari", "system": "iOS"}
    subject = said_in(language, "New sign-in to %(site)s with %(device)s")
    assert message.subject == subject % {"site": "shop.example", "device": device}
    html = str(message.alternatives[0][0])
    assert f'lang="{language}"' in html and said_in(language, "This was not me") in html
    for text in (str(message.body), html):
        assert said_in(language, "Hello %(name)s,") % {"name": "alice"} in text
        assert said_in(language, "If this was you, there is nothing to do.") in text
        assert "sign" not in re.sub(r"https://\S+|<[^>]*>", "", text).lower().replace("signal", "")
    # In the time zone of the mail, which may have another day.
    with in_languages(SIGN_IN_NOTICE=notice), translation.override(language):
        # To the day: the mail is of a minute that may be over.
        day = formats.date_format(timezone.localtime(sessions.list_sessions(alice)[0].created_at), "DATE_FORMAT")
        assert day in str(message.body)


def of_the_user(user: Any) -> str:
    return str(user.last_name)


@db
@pytest.mark.parametrize("language", TAGS)
def test_the_link_of_a_notice(alice: Any, language: str) -> None:
    with in_languages(SIGN_IN_NOTICE=NOTICE):
        sign_in(alice, FIREFOX)
        sign_in(alice, IPHONE)
        found = re.search(r"https://shop\.example(/\S+/not-me/\S+/)", str(mail.outbox[0].body))
        assert found is not None
        client = Client(headers={"Accept-Language": language})
        asked = read(client.get(found[1]))
        assert asked.texts["h1"] == [spaced(said_in(language, "Was this not you?"))]
        client.post(found[1])
        used = client.get(found[1])
        assert said_in(language, "This link does not work") in used.content.decode()


@db
@pytest.mark.parametrize("language", TAGS)
def test_the_admin(alice: Any, languages: None, store: redis.Redis, language: str) -> None:
    get_user_model().objects.create_superuser("root", "root@example.com", "root")
    client = Client(headers={"Accept-Language": language})
    client.login(username="root", password="root")
    token = sessions.open_session(alice)
    put_device(store, alice, token["sid"], Device(FIREFOX, "192.0.2.1"))
    listed = client.get(f"/admin/jwt_redis/session/?user={alice.pk}").content.decode()
    for msgid in ("Last active", "IP address", "End the selected sessions", "What was revoked", "Health"):
        assert f">{said_in(language, msgid)}<" in listed, msgid
    assert "Last active" not in listed and "What was revoked" not in listed
    sessions.end_session(alice, token["sid"])
    journal = client.get("/admin/jwt_redis/revocation/").content.decode()
    assert capfirst(said_in(language, "by whom")) in journal and said_in(language, "one session") in journal
    health = client.get("/admin/jwt_redis/session/health/").content.decode()
    assert said_in(language, "Does a revoked token never work again?") in health
    assert said_in(language, "Live sessions") in health


@db
@pytest.mark.parametrize("language", TAGS)
def test_a_redis_that_is_down(alice: Any, languages: None, language: str) -> None:
    browser = Browser()
    browser.defaults["HTTP_ACCEPT_LANGUAGE"] = language
    browser.sign_in()
    down = {"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": f"redis://127.0.0.1:{free_port()}"}}
    with override_settings(CACHES=down):
        answer, page = browser.get("/auth/sessions/"), browser.get(DEVICES)
    assert answer.status_code == page.status_code == 503
    assert answer.json()["detail"] == said_in(language, "Sessions cannot be looked up right now. Try again shortly.")
    assert read(page).texts["h1"] == [said_in(language, "Try again shortly")]
    assert read(page).all("html") == [{"lang": language, "dir": "ltr"}]
