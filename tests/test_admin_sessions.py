"""Sessions in Django's admin: who may see them, how they are found, and how they are ended."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote as urlquote
from urllib.parse import unquote

import pytest
import redis
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory, override_settings

from jwt_redis import journal, keys, sessions
from jwt_redis.admin import health
from jwt_redis.models import Revocation
from jwt_redis.testing.servers import RedisServer, free_port
from tests.support.topology import AclServer, Cluster, acl_server, pointed_at
from tests.test_topology import COMMANDS, rights

pytestmark = pytest.mark.django_db

LIST = "/admin/jwt_redis/session/"
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>\u202eevil"


@pytest.fixture(autouse=True)
def _nothing_kept() -> None:
    health.forget()


@pytest.fixture
def staff(django_user_model: Any) -> Callable[..., Client]:
    """A member of the staff with these rights, signed in."""

    def make(*codenames: str, name: str = "staff", **options: Any) -> Client:
        user = django_user_model.objects.create_user(name, is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="jwt_redis", codename__in=codenames)
        )
        assert user.user_permissions.count() == len(codenames)
        client = Client(**options)
        client.force_login(user)
        return client

    return make


@pytest.fixture
def viewer(staff: Any) -> Client:
    client: Client = staff("view_session", "view_revocation", name="viewer")
    return client


@pytest.fixture
def revoker(staff: Any) -> Client:
    client: Client = staff("view_session", "revoke_session", name="revoker")
    return client


def sign_in(user: Any, *, agent: str = FIREFOX, ip: str = "192.0.2.7") -> str:
    """Also somebody who is not in the database, by the id alone."""
    person = get_user_model()(pk=user, username="gone", password="x") if isinstance(user, str) else user
    request = RequestFactory().get("/", HTTP_USER_AGENT=agent, REMOTE_ADDR=ip)
    return str(sessions.open_session(person, request)["sid"])


def page(client: Client, url: str = LIST, status: int = 200, **query: Any) -> str:
    response = client.get(url, query)
    assert response.status_code == status, response
    return response.content.decode()


def live(user: Any) -> set[str]:
    return {session.sid for session in sessions.list_sessions(user)}


def pk(user: Any, sid: str) -> str:
    return f"{sid}:{keys.user_tag(keys.user_id(user))}"


def one_url(user: Any, sid: str) -> str:
    return f"{LIST}{quote(pk(user, sid))}/change/"


# Who may what --------------------------------------------------------------------------------------------------------


def ways_in(user: Any, sid: str) -> dict[str, tuple[str, str, dict[str, Any]]]:
    one = {"_selected_action": pk(user, sid)}
    tag = keys.user_tag(keys.user_id(user))
    return {
        "list": ("view", LIST, {}),
        "of a user": ("view", LIST, {"user": tag}),
        "search": ("view", LIST, {"q": "alice"}),
        "one": ("view", one_url(user, sid), {}),
        "health": ("view", f"{LIST}health/", {}),
        "end one": ("revoke", f"{LIST}revoke/", one),
        "end a user's": ("revoke", f"{LIST}revoke-user/", {"user": tag}),
        "end all": ("revoke", f"{LIST}revoke-everything/", {}),
    }


@pytest.mark.parametrize("rights", [(), ("view_session",), ("revoke_session",), ("view_session", "revoke_session")])
def test_each_page_asks_for_its_right(staff: Any, alice: Any, rights: tuple[str, ...]) -> None:
    sid = sign_in(alice)
    client = staff(*rights)
    for what, (kind, url, query) in ways_in(alice, sid).items():
        may = "view_session" in rights and (kind == "view" or "revoke_session" in rights)
        assert client.get(url, query).status_code == (200 if may else 403), what
        if kind == "revoke" and not may:
            posted = {**query, "post": "yes", "reason": "x", "word": "testserver"}
            assert client.post(url, posted).status_code == 403, what
    index = client.get("/admin/").content.decode()
    assert (f'href="{LIST}"' in index) == ("view_session" in rights)
    assert live(alice) == {sid}


def test_nobody_but_staff_gets_in(client: Client, alice: Any) -> None:
    sid = sign_in(alice)
    alice.user_permissions.set(Permission.objects.filter(codename__in=["view_session", "revoke_session"]))
    client.force_login(alice)
    for what, (_kind, url, query) in ways_in(alice, sid).items():
        assert client.get(url, query).status_code == 302, what
        assert client.post(url, {**query, "post": "yes", "reason": "x", "word": "testserver"}).status_code == 302, what
    assert live(alice) == {sid}


def test_who_may_only_look_sees_no_button(viewer: Client, revoker: Client, alice: Any) -> None:
    sid = sign_in(alice)
    for url, query in [(LIST, {}), (LIST, {"user": alice.pk}), (one_url(alice, sid), {})]:
        assert "revoke" in page(revoker, url, **query).replace("What was revoked", "")
        seen = page(viewer, url, **query)
        assert "/revoke" not in seen.replace("/revocation", "") and "action-select" not in seen


@pytest.mark.parametrize("what", ["end one", "end a user's", "end all"])
def test_a_forged_request_ends_nothing(staff: Any, alice: Any, what: str) -> None:
    sid = sign_in(alice)
    client = staff("view_session", "revoke_session", enforce_csrf_checks=True)
    _, url, query = ways_in(alice, sid)[what]
    answer = client.post(url, {**query, "post": "yes", "reason": "x", "word": "testserver"})
    assert answer.status_code == 403 and live(alice) == {sid}
    # Nor does a link.
    client.get(url, {**query, "post": "yes", "reason": "x", "word": "testserver"})
    assert live(alice) == {sid}


def test_there_is_nothing_to_add_change_or_delete(admin_client: Client, alice: Any) -> None:
    one = f"{LIST}{sign_in(alice)}_3A{alice.pk}/"
    assert admin_client.get(f"{LIST}add/").status_code == 403
    assert admin_client.post(f"{one}change/", {"id": "x"}).status_code == 403
    assert admin_client.post(f"{one}delete/", {"post": "yes"}).status_code in (302, 403)
    assert len(live(alice)) == 1


# Finding -------------------------------------------------------------------------------------------------------------


def test_the_list_shows_who_is_signed_in_where(viewer: Client, alice: Any, bob: Any) -> None:
    first, second = sign_in(alice), sign_in(bob, ip="2001:db8::5")
    seen = page(viewer)
    for text in (first, second, "alice", "bob", "Firefox on Linux", "192.0.2.7", "2001:db8::5", "keys in the store"):
        assert text in seen
    assert "Mozilla" not in seen


def test_an_empty_store_says_so(viewer: Client) -> None:
    assert "Nobody is signed in." in page(viewer)


@pytest.mark.parametrize("text", ["alice", "alice@example.com", "ALICE@example.com", "ali", "id"])
def test_a_user_is_found(viewer: Client, alice: Any, bob: Any, text: str) -> None:
    sid, other = sign_in(alice), sign_in(bob)
    seen = page(viewer, q=str(alice.pk) if text == "id" else text)
    assert sid in seen and other not in seen and f"alice ({alice.pk})" in seen


def test_many_users_are_cut(viewer: Client, django_user_model: Any) -> None:
    for number in range(25):
        django_user_model.objects.create_user(f"same{number}")
    seen = page(viewer, q="same")
    assert seen.count("0 sessions") == 20 and "Only the first 20 users" in seen


@pytest.mark.parametrize("text", ["\0", "9" * 40, "😀", "x" * 256, "%", "'; --", "::1", "a" * 22, " alice "])
@pytest.mark.parametrize("by", ["user", "sid", "ip", "", "nonsense"])
def test_no_search_is_an_error(viewer: Client, alice: Any, text: str, by: str) -> None:
    sign_in(alice)
    page(viewer, q=text, by=by)


@pytest.mark.parametrize(
    "user", ["a@b.c", "Zoë Ünal", "log", "50%", "a~b", "{x}", "a/b?c=d&e", "x" * 200, "~" + "0" * 64]
)
def test_odd_and_deleted_users(viewer: Client, revoker: Client, user: str) -> None:
    sid = sign_in(user)
    tag = keys.user_tag(user)
    assert sid in page(viewer, q=user) and sid in page(viewer) and sid in page(viewer, q=sid, by="sid")
    seen = page(viewer, user=tag)
    assert sid in seen and "no such user" in seen
    assert f'href="{urlquote(one_url(user, sid))}"' in seen and sid in page(viewer, one_url(user, sid))
    end(revoker, _selected_action=[f"{sid}:{tag}"])
    assert live(user) == set()
    sid = sign_in(user)
    revoker.post(f"{LIST}revoke-user/", {"user": tag, "post": "yes", "reason": "gone"})
    assert live(user) == set()
    assert journal.history(user)[0].kind == "user"


@pytest.mark.parametrize("tag", ["log", "{x}", "a b", "%41", "~abc", "", "a" * 97, "%", "log}:marker", "x\0y"])
def test_what_is_no_user_is_refused(viewer: Client, revoker: Client, store: redis.Redis, tag: str) -> None:
    sign_in("7")
    before = {key: store.dump(key) for key in store.scan_iter()}
    page(viewer, user=tag)
    assert viewer.get(f"{LIST}{'a' * 22}_3A{tag.replace('/', '')}/change/").status_code in (302, 404)
    for url, query in [("revoke-user", {"user": tag}), ("revoke", {"_selected_action": f"{'a' * 22}:{tag}"})]:
        posted = revoker.post(f"{LIST}{url}/", {**query, "post": "yes", "reason": "x"})
        assert posted.status_code == 400, posted
    assert {key: store.dump(key) for key in store.scan_iter()} == before


def test_a_session_is_found_by_its_sid(viewer: Client, alice: Any, bob: Any) -> None:
    sid, other = sign_in(alice), sign_in(bob)
    seen = page(viewer, by="sid", q=sid)
    assert "alice" in seen and other not in seen
    assert "No live session was found" in page(viewer, by="sid", q="x" * 22)
    assert "cannot be the id of a session" in page(viewer, by="sid", q="short")


def test_the_journal_is_asked_for_a_sid_before_the_store(viewer: Client, alice: Any, store: redis.Redis) -> None:
    sid, kept = sign_in(alice), sign_in(alice)
    sessions.end_session(alice, sid, reason="stolen_laptop")
    sessions.end_other_sessions(alice, kept, reason="others_out")
    store.config_resetstat()
    over = page(viewer, by="sid", q=sid)
    assert "This session is over" in over and "stolen_laptop" in over
    assert kept in page(viewer, by="sid", q=kept)
    assert "cmdstat_scan" not in store.info("commandstats")


def test_sessions_are_found_by_address(viewer: Client, alice: Any, bob: Any) -> None:
    first, second = sign_in(alice, ip="192.0.2.7"), sign_in(bob, ip="192.0.2.77")
    seen = page(viewer, by="ip", q="192.0.2.7")
    assert first in seen and second not in seen and "All 5 keys were looked through" in seen
    assert second in page(viewer, by="ip", q="::ffff:192.0.2.77")
    assert "not an IP address" in page(viewer, by="ip", q="192.0.2")


def hidden(seen: str) -> dict[str, str]:
    """What the button would send."""
    form = re.search(r"<form[^>]*data-further.*?</form>", seen, re.S)
    return dict(re.findall(r'name="(by|q|from|found)" value="([^"]*)"', form[0])) if form else {}


def test_a_search_goes_on_where_it_was(viewer: Client, alice: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jwt_redis.admin.sessions._AT_FIRST", 0)
    monkeypatch.setattr("jwt_redis.admin.sessions._FURTHER", 0)
    for number in range(1500):
        sign_in(f"other-{number}")
    sid = sign_in(alice, ip="203.0.113.9")
    far = sign_in("last", ip="203.0.113.9")
    seen, steps = page(viewer, by="ip", q="203.0.113.9"), 1
    while sent := hidden(seen):
        assert "keys looked through so far" in seen and steps < 10
        response = viewer.post(LIST, sent)
        assert response.status_code == 200
        seen, steps = response.content.decode(), steps + 1
    assert steps >= 3 and sid in seen and far in seen
    assert "keys were looked through" in seen


@pytest.mark.parametrize(
    "sent",
    [
        {"from": "x"},
        {"from": "99999999999999999999.1."},
        {"from": "1.2.no-such-node:1"},
        {"from": "12.5.", "found": "junk a:b ~ " + "a" * 22 + ":{x} " + "b" * 22 + ":7"},
        {"q": ""},
        {"by": "x"},
    ],
)
def test_a_forged_position_is_no_error(viewer: Client, alice: Any, sent: dict[str, str]) -> None:
    sign_in(alice)
    response = viewer.post(LIST, {"by": "ip", "q": "192.0.2.7", "from": "", "found": "", **sent})
    assert response.status_code == 200


def test_what_was_found_and_has_ended_since_is_said_to_be_over(viewer: Client, alice: Any) -> None:
    sid = sign_in(alice)
    sessions.end_session(alice, sid)
    response = viewer.post(LIST, {"by": "ip", "q": "192.0.2.7", "from": "", "found": pk(alice, sid)})
    assert "Over meanwhile" in response.content.decode()


def test_a_long_list_has_pages(viewer: Client, alice: Any) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "MAX_SESSIONS": None}):
        sids = {sign_in(alice) for _ in range(120)}
    first, second = page(viewer, user=alice.pk), page(viewer, user=alice.pk, page=2)
    found = [set(re.findall(r"<code>([\w-]{22})</code>", one)) for one in (first, second)]
    assert [len(one) for one in found] == [100, 20] and found[0] | found[1] == sids
    # Among others, few of them are enough.
    among = page(viewer)
    assert "115 more of alice" in among and len(re.findall(r"<code>([\w-]{22})</code>", among)) == 5
    page(viewer, user=alice.pk, page="x")


def users_on_all_pages(viewer: Client) -> set[str]:
    seen, found = page(viewer), set[str]()
    for _ in range(100):
        found |= set(re.findall(r"<bdi>(user-\d+)</bdi>", seen))
        following = re.search(r'href="\?from=([^"]*)"', seen)
        if following is None:
            return found
        seen = page(viewer, **{"from": unquote(following[1])})
    raise AssertionError("there is no last page")


def test_all_users_are_come_by_page_after_page(viewer: Client, store: redis.Redis) -> None:
    users = {f"user-{number}" for number in range(300)}
    for user in users:
        sign_in(user)
    seen_by = commands_of(store, lambda: users.symmetric_difference_update(users_on_all_pages(viewer)))
    assert users == set() and seen_by["scan"] > 5


def test_hostile_agents_are_only_text(viewer: Client, revoker: Client, alice: Any, store: redis.Redis) -> None:
    sid = sign_in(alice, agent=HOSTILE)
    store.hset(f"jwt:{{{alice.pk}}}:devices", f"label:{sid}", "<b onmouseover=alert(3)>Mine</b>")
    one = page(viewer, one_url(alice, sid))
    for seen in (one, page(viewer), page(viewer, user=alice.pk), page(revoker, f"{LIST}revoke-user/", user=alice.pk)):
        assert "<script>alert" not in seen and "<img src=x" not in seen and "<b onmouseover" not in seen
        assert "&lt;b onmouseover=alert(3)&gt;Mine" in seen
    assert "&lt;script&gt;alert(1)" in one


def test_a_damaged_device_is_unknown(viewer: Client, alice: Any, store: redis.Redis) -> None:
    sid = sign_in(alice)
    store.hset(f"jwt:{{{alice.pk}}}:devices", f"device:{sid}", "{damaged")
    assert "Unknown device" in page(viewer) and "192.0.2.7" not in page(viewer)
    store.set("jwt:{foreign}", "no hash")
    store.set("jwt:{foreign}:devices", "no hash")
    for query in ({}, {"by": "ip", "q": "192.0.2.7"}, {"by": "sid", "q": sid}, {"user": "foreign"}):
        page(viewer, **query)


# Ending --------------------------------------------------------------------------------------------------------------


def end(client: Client, reason: str = "stolen_laptop", **fields: Any) -> str:
    response = client.post(f"{LIST}revoke/", {"post": "yes", "reason": reason, **fields}, follow=True)
    assert response.redirect_chain and response.status_code in (200, 503)
    return response.content.decode()


def test_one_session_is_ended(revoker: Client, alice: Any, django_user_model: Any) -> None:
    sid, other = sign_in(alice), sign_in(alice)
    asked = page(revoker, f"{LIST}revoke/", _selected_action=pk(alice, sid))
    assert "End this session?" in asked and sid in asked and other not in asked and live(alice) == {sid, other}
    said = end(revoker, _selected_action=pk(alice, sid))
    assert "1 session was ended." in said and live(alice) == {other}
    (row,) = journal.history(str(alice.pk))
    actor = django_user_model.objects.get(username="revoker")
    assert (row.kind, row.target, row.reason, row.actor) == ("session", sid, "stolen_laptop", str(actor.pk))
    entry = LogEntry.objects.get()
    assert entry.user == actor and sid in entry.object_repr and "stolen_laptop" in entry.change_message
    assert "This session is over" in page(revoker, entry.get_admin_url())
    actor.user_permissions.add(Permission.objects.get(codename="view_revocation"))
    over = page(revoker, entry.get_admin_url())
    assert "This session is over" in over and "stolen_laptop" in over and f"revoker ({actor.pk})" in over


def test_selected_sessions_of_several_users_are_ended(revoker: Client, alice: Any, bob: Any) -> None:
    first, second, third, kept = sign_in(alice), sign_in(alice), sign_in(bob), sign_in(bob)
    chosen = [pk(alice, first), pk(alice, second), pk(bob, third)]
    asked = revoker.post(f"{LIST}revoke/", {"_selected_action": chosen})
    assert "End these 3 sessions?" in asked.content.decode() and len(live(alice)) == 2
    assert "3 sessions were ended." in end(revoker, _selected_action=chosen)
    assert live(alice) == set() and live(bob) == {kept}
    assert "None of them was alive" in end(revoker, _selected_action=chosen)
    assert LogEntry.objects.count() == 3


def test_nothing_selected(revoker: Client) -> None:
    assert "No session was selected." in end(revoker)


def test_all_of_a_user_are_ended(revoker: Client, alice: Any, bob: Any) -> None:
    sign_in(alice), sign_in(alice)
    kept = sign_in(bob)
    assert "End all sessions of alice" in page(revoker, f"{LIST}revoke-user/", user=alice.pk)
    fields = {"user": alice.pk, "post": "yes", "reason": "left_the_company"}
    said = revoker.post(f"{LIST}revoke-user/", fields, follow=True).content.decode()
    assert "2 sessions were ended." in said and live(alice) == set() and live(bob) == {kept}
    assert journal.history(str(alice.pk))[0].reason == "left_the_company"
    # In the user's own history.
    assert LogEntry.objects.get().get_edited_object() == alice


@pytest.mark.parametrize("word", ["", "yes", "example.com"])
def test_everything_takes_the_name_of_the_site(revoker: Client, alice: Any, word: str) -> None:
    sid = sign_in(alice)
    answer = revoker.post(f"{LIST}revoke-everything/", {"reason": "leak", "word": word})
    assert answer.status_code == 200 and b"Nothing was revoked" in answer.content and live(alice) == {sid}
    assert not Revocation.objects.filter(kind="all").exists()


def test_everything_is_ended(revoker: Client, alice: Any, bob: Any) -> None:
    sign_in(alice), sign_in(bob)
    assert "Type testserver." in page(revoker, f"{LIST}revoke-everything/")
    answer = revoker.post(f"{LIST}revoke-everything/", {"reason": "leak", "word": " TestServer "}, follow=True)
    assert "is refused, in every process" in answer.content.decode()
    assert live(alice) == live(bob) == set()
    row = Revocation.objects.get(kind="all")
    assert row.reason == "leak" and row.actor and LogEntry.objects.get().object_repr == "all sessions"
    assert page(revoker, "/admin/")


@pytest.mark.parametrize("reason", ["", "two words", "x" * 41, "ümlaut", "a\n", "<b>"])
def test_a_reason_is_a_word(revoker: Client, alice: Any, reason: str) -> None:
    sid = sign_in(alice)
    for url, query in (("revoke", {"_selected_action": pk(alice, sid)}), ("revoke-user", {"user": alice.pk})):
        answer = revoker.post(f"{LIST}{url}/", {**query, "post": "yes", "reason": reason})
        assert answer.status_code == 200
        if reason.strip() != "a":
            assert b"Nothing was revoked" in answer.content and live(alice) == {sid}


def test_two_at_once(revoker: Client, staff: Any, alice: Any) -> None:
    second = staff("view_session", "revoke_session", name="second")
    sid = sign_in(alice)
    for client in (revoker, second):
        assert "End this session?" in page(client, f"{LIST}revoke/", _selected_action=pk(alice, sid))
    assert "1 session was ended." in end(revoker, _selected_action=pk(alice, sid), reason="first")
    assert "None of them was alive" in end(second, _selected_action=pk(alice, sid), reason="later")
    assert [row.reason for row in journal.history(str(alice.pk))] == ["first"]


# When Redis or the journal does not answer ---------------------------------------------------------------------------


@pytest.fixture
def dead(settings: Any) -> RedisServer:
    """A Redis that everything worked on, and that is gone."""
    server = RedisServer(port=free_port())
    settings.CACHES = {**settings.CACHES, "sessions": {**settings.CACHES["sessions"], "LOCATION": server.url}}
    return server


def test_without_redis_there_is_a_notice(viewer: Client, revoker: Client, alice: Any, dead: RedisServer) -> None:
    with dead:
        sid = sign_in(alice)
        page(viewer)
    for query in ({}, {"q": "alice"}, {"q": "192.0.2.7", "by": "ip"}, {"q": sid, "by": "sid"}):
        seen = page(viewer, status=503, **query)
        assert "Redis cannot be asked right now" in seen
    assert "Redis cannot be asked" in page(viewer, user=alice.pk)
    assert "Redis cannot be asked" in page(viewer, one_url(alice, sid), status=503)
    assert "You can go on" in page(revoker, f"{LIST}revoke-user/", user=alice.pk)
    assert "Redis does not answer" in page(viewer, f"{LIST}health/")


def test_a_redis_user_needs_the_rights_that_are_documented(viewer: Client, revoker: Client, alice: Any) -> None:
    with acl_server(rights(*COMMANDS, "scan", "dbsize")) as server, pointed_at(server):
        assert isinstance(server, AclServer)
        sid = sign_in(alice)
        for query in ({}, {"q": "alice"}, {"q": "192.0.2.7", "by": "ip"}, {"q": sid, "by": "sid"}, {"user": alice.pk}):
            assert sid in page(viewer, **query)
        page(viewer, f"{LIST}health/")
        assert "1 session was ended." in end(revoker, _selected_action=pk(alice, sid))
        server.change("-scan")
        assert "Redis refuses: " in page(viewer, status=503)


@pytest.mark.parametrize("has_journal", [True, False])
def test_what_is_revoked_without_redis_is_in_the_journal(
    revoker: Client, alice: Any, dead: RedisServer, settings: Any, has_journal: bool
) -> None:
    settings.JWT_REDIS = {**settings.JWT_REDIS, "JOURNAL": has_journal}
    with dead:
        sid = sign_in(alice)
    expected = "is in the journal, and is applied before" if has_journal else "nothing was revoked"
    assert expected in end(revoker, _selected_action=pk(alice, sid))
    fields = {"user": alice.pk, "post": "yes", "reason": "gone"}
    assert expected in revoker.post(f"{LIST}revoke-user/", fields, follow=True).content.decode()
    everything = {"reason": "gone", "word": "testserver"}
    answer = revoker.post(f"{LIST}revoke-everything/", everything, follow=True)
    assert expected in answer.content.decode() and answer.status_code == 503
    assert not LogEntry.objects.exists()
    assert Revocation.objects.filter(applied_at=None).count() == (3 if has_journal else 0)


def test_of_many_the_rest_is_not_tried(revoker: Client, alice: Any, bob: Any, dead: RedisServer) -> None:
    with dead:
        chosen = [pk(alice, sign_in(alice)), pk(bob, sign_in(bob)), pk(bob, sign_in(bob))]
    said = end(revoker, _selected_action=chosen)
    assert "2 more were not tried." in said and "None of them" not in said


def test_a_journal_that_cannot_be_written_is_told_of(
    revoker: Client, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from django.db import OperationalError

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise OperationalError("disk full")

    sid = sign_in(alice)
    monkeypatch.setattr(Revocation.objects.all().__class__, "bulk_create", refuse)
    assert "the journal could not be written" in end(revoker, _selected_action=pk(alice, sid))
    assert live(alice) == set()


@pytest.mark.django_db(transaction=True)
def test_without_the_table_pages_say_so(admin_client: Client, alice: Any) -> None:
    from django.db import connection

    sid = sign_in(alice)
    with connection.schema_editor() as editor:
        editor.delete_model(Revocation)
    try:
        assert "The journal cannot be read" in page(admin_client, user=alice.pk)
        assert "The journal cannot be read" in page(admin_client, one_url(alice, sid))
        assert "migrate jwt_redis" in page(admin_client, "/admin/jwt_redis/revocation/", status=503)
        assert "The journal cannot be read" in page(admin_client, f"{LIST}health/")
        assert "The journal cannot be read" in page(admin_client, by="sid", q="x" * 22)
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(Revocation)


# What a page costs ---------------------------------------------------------------------------------------------------


def commands_of(store: redis.Redis, ask: Callable[[], Any]) -> dict[str, int]:
    """How often each command ran meanwhile."""
    store.config_resetstat()
    ask()
    stats = store.info("commandstats")
    return {name.removeprefix("cmdstat_"): int(facts["calls"]) for name, facts in stats.items() if "config" not in name}


@pytest.mark.parametrize("count", [200, 2000])
def test_a_page_costs_the_same_whatever_the_store_holds(
    viewer: Client, alice: Any, store: redis.Redis, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jwt_redis.admin.sessions._AT_FIRST", 0)
    pipeline = store.pipeline(transaction=False)
    sid = sign_in(alice)
    text = store.hget(f"jwt:{{{alice.pk}}}", f"sid:{sid}")
    for number in range(count):
        pipeline.hset(f"jwt:{{u{number}}}", f"sid:{number:022}", text)
    pipeline.execute()
    page(viewer)
    listed = commands_of(store, lambda: page(viewer))
    assert listed["scan"] == 1 and listed["dbsize"] == 1 and listed["type"] <= 60 and listed["hgetall"] <= 120
    assert sum(listed.values()) < 200
    searched = commands_of(store, lambda: page(viewer, q="alice"))
    assert searched["hgetall"] == 4 and "scan" not in searched and "type" not in searched
    of_user = commands_of(store, lambda: page(viewer, user=alice.pk))
    assert of_user["hgetall"] == 2 and "scan" not in of_user
    by_ip = commands_of(store, lambda: page(viewer, by="ip", q="198.51.100.1"))
    assert by_ip["scan"] == 1 and by_ip.get("hgetall", 0) <= 600


# A cluster ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(primaries=3, replicas=0) as nodes:
        yield nodes


def test_a_search_goes_from_node_to_node(
    viewer: Client, revoker: Client, alice: Any, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jwt_redis.admin.sessions._AT_FIRST", 0)
    monkeypatch.setattr("jwt_redis.admin.sessions._FURTHER", 0)
    with pointed_at(cluster):
        users = {f"user-{number}" for number in range(150)}
        for user in users:
            sign_in(user, ip="203.0.113.9" if user.endswith("7") else "192.0.2.1")
        wanted = {user for user in users if user.endswith("7")}
        seen, nodes = page(viewer, by="ip", q="203.0.113.9"), set[str]()
        for _ in range(50):
            if not (sent := hidden(seen)):
                break
            nodes.add(sent["from"].split(".", 2)[2])
            seen = viewer.post(LIST, sent).content.decode()
        assert {user for user in users if f"<bdi>{user}</bdi>" in seen} == wanted and len(nodes) >= 2
        # Page after page, too; and where a node has left, from the beginning.
        assert users_on_all_pages(viewer) == users
        gone = {"by": "ip", "q": "203.0.113.9", "from": "5.5.127.0.0.1:1", "found": ""}
        assert "the search began anew" in viewer.post(LIST, gone).content.decode()
        sid = sign_in(alice)
        assert sid in page(viewer, q="alice")
        assert "1 session was ended." in end(revoker, _selected_action=pk(alice, sid))
        assert "A cluster does not count them" in page(viewer, f"{LIST}health/")
