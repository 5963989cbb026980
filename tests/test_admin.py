"""The journal in Django's admin: to read alone, and found by what people know."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from jwt_redis import journal, sessions
from jwt_redis.admin import RevocationAdmin
from jwt_redis.journal import Entry
from jwt_redis.models import Revocation

pytestmark = pytest.mark.django_db

LIST = "/admin/jwt_redis/revocation/"
Kind = Revocation.Kind


@pytest.fixture
def staff(django_user_model: Any, client: Client) -> Client:
    """A member of the staff with nothing but the right to view."""
    user = django_user_model.objects.create_user("staff", password="x", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_revocation"))
    client.force_login(user)
    return client


def write(user: str = "7", target: str = "", reason: str = "revoked", actor: str = "", kind: str = Kind.USER) -> Any:
    with journal.acting_as(actor):
        (key,) = journal.begin([Entry(kind, user, target, reason)])
    return Revocation.objects.get(key=key)


def shown(client: Client, query: str = "") -> list[int]:
    response = client.get(LIST + query)
    assert response.status_code == 200, response
    return [row.pk for row in response.context["cl"].result_list]


def test_what_has_happened_is_shown_the_latest_first(staff: Client, alice: Any) -> None:
    token = sessions.open_session(alice)
    with journal.acting_as("somebody"):
        sessions.end_session(alice, token["sid"], reason="stolen_laptop")
    later = write("a@b.c", reason="later")
    page = staff.get(LIST).content.decode()
    for text in (token["sid"], "stolen_laptop", "somebody", "one session", "a@b.c"):
        assert text in page
    assert shown(staff)[0] == later.pk and len(shown(staff)) == 2


def test_it_is_there_to_read_alone(staff: Client, admin_client: Client) -> None:
    row = write()
    for client in (staff, admin_client):
        assert client.get(f"{LIST}{row.pk}/change/").status_code == 200
        assert client.get(f"{LIST}add/").status_code == 403
        assert client.get(f"{LIST}{row.pk}/delete/").status_code == 403
        assert client.post(f"{LIST}{row.pk}/change/", {"reason": "forged"}).status_code == 403
        client.post(LIST, {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"})
        assert b"delete_selected" not in client.get(LIST).content
    assert Revocation.objects.get().reason == "revoked"


def test_without_the_right_to_view_it_is_closed(client: Client, django_user_model: Any) -> None:
    client.force_login(django_user_model.objects.create_user("clerk", is_staff=True))
    assert client.get(LIST).status_code == 403


@pytest.mark.parametrize("user", ["7", "a@b.c", "Zoë Ünal", "log", "50%", "a~b", "{x}", "x" * 200])
def test_users_are_found_by_their_plain_ids(staff: Client, user: str) -> None:
    row, _ = write(user), write("another")
    response = staff.get(LIST, {"q": f" {user} "})
    assert [one.pk for one in response.context["cl"].result_list] == [row.pk]
    if len(user) < 90:
        assert RevocationAdmin(Revocation, admin.site).user_as_claimed(row) == user


def test_they_are_found_by_name_sid_and_jti_too(staff: Client, alice: Any) -> None:
    by_name = write(str(alice.pk))
    by_sid = write("8", "a" * 22, kind=Kind.SESSION)
    assert shown(staff, "?q=alice") == [by_name.pk]
    assert shown(staff, f"?q={'a' * 22}") == [by_sid.pk]
    assert shown(staff, "?q=nobody") == []
    assert shown(staff, "?q=%00") == [by_sid.pk, by_name.pk]


def test_filters(staff: Client) -> None:
    pending, applied = write(reason="stolen"), write(reason="lost", target="j", kind=Kind.TOKEN)
    Revocation.objects.filter(pk=applied.pk).update(applied_at=timezone.now() - timedelta(hours=1))
    assert shown(staff, "?applied=no") == [pending.pk] and shown(staff, "?applied=yes") == [applied.pk]
    assert shown(staff, "?reason=stolen") == [pending.pk] and shown(staff, "?reason=unheard_of") == []
    assert shown(staff, "?kind__exact=token") == [applied.pk]
    assert b"?reason=lost" in staff.get(LIST).content


def test_a_list_costs_the_same_however_long_it_is(staff: Client, django_assert_max_num_queries: Any) -> None:
    for number in range(120):
        write(str(number))
    with django_assert_max_num_queries(10):
        assert len(shown(staff)) == 50


def test_rows_name_people_and_lead_to_them_and_their_sessions(staff: Client, alice: Any, bob: Any) -> None:
    sid = sessions.open_session(alice)["sid"]
    with journal.acting_as(str(bob.pk)):
        sessions.end_session(alice, sid, reason="stolen_laptop")
    write("<b>gone</b>", actor="manage.py jwt_revoke (root)")
    seen = staff.get(LIST).content.decode()
    for text in (f"alice ({alice.pk})", f"bob ({bob.pk})", "&lt;b&gt;gone", "manage.py jwt_revoke (root)"):
        assert text in seen
    # To sessions only for who may see them.
    assert "/admin/jwt_redis/session/" not in seen
    viewer = staff.get(LIST).wsgi_request.user
    viewer.user_permissions.add(Permission.objects.get(codename="view_session", content_type__app_label="jwt_redis"))
    seen = staff.get(LIST).content.decode()
    links = re.findall(r'href="(/admin/jwt_redis/session/[^"]+)"', seen)
    assert len(links) == 3 and all(staff.get(link).status_code in (200, 302) for link in links)
    assert any("/change/" in link for link in links)
    row = Revocation.objects.get(target=sid)
    one = staff.get(f"{LIST}{row.pk}/change/").content.decode()
    assert f"bob ({bob.pk})" in one and f"alice ({alice.pk})" in one


def test_names_cost_one_query(staff: Client, django_user_model: Any, django_assert_max_num_queries: Any) -> None:
    users = [django_user_model.objects.create_user(f"user{number}") for number in range(40)]
    for user in users:
        write(str(user.pk), actor=str(user.pk))
    with django_assert_max_num_queries(10):
        assert "user39" in staff.get(LIST).content.decode()
