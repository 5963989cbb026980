"""A user's sessions on the user's own page: of Django's users by itself, of a project's by a mixin."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import Permission
from django.test import Client, RequestFactory

from jwt_redis import sessions
from jwt_redis.admin import SessionsOnUserMixin, adopt_stock_user_admin
from jwt_redis.testing.servers import RedisServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff(client: Client, django_user_model: Any) -> Any:
    """Staff that may see and change users, and what else is named."""

    def sign_in(*codenames: str) -> Client:
        user, _ = django_user_model.objects.get_or_create(username="staff", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=["view_user", "change_user", *codenames]))
        client.force_login(user)
        return client

    return sign_in


def page(client: Client, user: Any) -> str:
    response = client.get(f"/admin/auth/user/{user.pk}/change/")
    assert response.status_code == 200
    return str(response.content.decode())


def test_sessions_are_on_djangos_own_page_of_a_user(staff: Any, alice: Any, bob: Any) -> None:
    sid, other = sessions.open_session(alice)["sid"], sessions.open_session(bob)["sid"]
    seen = page(staff("view_session", "revoke_session"), alice)
    assert sid in seen and other not in seen
    assert f"/admin/jwt_redis/session/?user={alice.pk}" in seen and "revoke-user/" in seen
    assert "revoke-user/" not in page(staff("view_session"), alice)
    sessions.end_all_sessions(alice)
    assert "not signed in anywhere" in page(staff("view_session"), alice)


def test_they_are_for_who_may_see_sessions(staff: Any, alice: Any) -> None:
    sid = sessions.open_session(alice)["sid"]
    seen = page(staff("revoke_session"), alice)
    assert sid not in seen and "jwt_sessions" not in seen and "jwt-on-user" not in seen


def test_the_page_can_still_be_saved_and_users_be_added(admin_client: Client, alice: Any) -> None:
    sessions.open_session(alice)
    form = admin_client.get(f"/admin/auth/user/{alice.pk}/change/").context["adminform"].form
    values = {name: value for name, value in form.initial.items() if value is not None and name != "password"}
    values |= {"first_name": "Alice", "date_joined_0": "2026-01-01", "date_joined_1": "12:00:00"}
    saved = admin_client.post(f"/admin/auth/user/{alice.pk}/change/", values)
    assert saved.status_code == 302
    alice.refresh_from_db()
    assert alice.first_name == "Alice" and len(sessions.list_sessions(alice)) == 1
    assert b"jwt_sessions" not in admin_client.get("/admin/auth/user/add/").content


def test_without_redis_the_page_is_there(admin_client: Client, alice: Any, settings: Any) -> None:
    dead = {**settings.CACHES["sessions"], "LOCATION": "redis://127.0.0.1:1/0"}
    settings.CACHES = {**settings.CACHES, "sessions": dead}
    assert "Redis cannot be asked right now" in page(admin_client, alice)


def test_a_projects_own_admin_is_left_alone() -> None:
    model = get_user_model()
    ours = admin.site.get_model_admin(model)
    assert isinstance(ours, SessionsOnUserMixin) and isinstance(ours, UserAdmin)

    class Own(UserAdmin):
        pass

    admin.site.unregister(model)
    admin.site.register(model, Own)
    try:
        adopt_stock_user_admin()
        assert type(admin.site.get_model_admin(model)) is Own
    finally:
        admin.site.unregister(model)
        admin.site.register(model, type(ours))


@pytest.mark.parametrize(
    "attributes", [{}, {"fields": ["username"]}, {"fieldsets": [(None, {"fields": [("username", "email")]})]}]
)
def test_the_mixin_fits_any_model_admin(rf: RequestFactory, admin_user: Any, alice: Any, attributes: Any) -> None:
    sid = sessions.open_session(alice)["sid"]
    own = type("Own", (SessionsOnUserMixin, admin.ModelAdmin), attributes)(get_user_model(), admin.site)
    request = rf.get("/")
    request.user = admin_user
    assert own.check() == []
    response = own.change_view(request, str(alice.pk))
    assert response.render().content.decode().count(f"<code>{sid}</code>") == 1
    assert own.get_fieldsets(request, alice)[-1] == ("Sessions", {"fields": ("jwt_sessions",)})
    assert own.get_fieldsets(request) == [*own.get_fieldsets(request, alice)][:-1]


STORY = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
call_command("check")
from django.contrib.admin.utils import quote
from django.test import Client
from tests.people.models import Person
from jwt_redis import journal, sessions
from jwt_redis.models import Revocation
chief = Person.objects.create(address="chief@example.com", is_staff=True, is_superuser=True)
ann = Person.objects.create(address="ann@example.com")
sid = sessions.open_session(ann)["sid"]
client = Client()
client.force_login(chief)
LIST = "/admin/jwt_redis/session/"
def page(url, **query):
    answer = client.get(url, query)
    assert answer.status_code == 200, answer
    return answer.content.decode()
own = f"/admin/people/person/{ann.pk}/change/"
seen = page(own)
assert sid in seen and f"{LIST}?user={ann.public_id}" in seen
# Where the project has put it, and once.
assert seen.index(">Who<") < seen.index(sid) < seen.index("is_staff") and seen.count("jwt-on-user") == 1
for text in ("ann@example.com", "ANN@", str(ann.public_id), str(ann.pk), ann.public_id.hex):
    assert sid in page(LIST, q=text), text
seen = page(LIST, user=str(ann.public_id))
assert sid in seen and own in seen and "ann@example.com" in seen
for text in ("not-a-uuid", "9" * 50, "x@y"):
    assert sid not in page(LIST, q=text)
chosen = {"_selected_action": f"{sid}:{ann.public_id}", "post": "yes", "reason": "stolen"}
answer = client.post(LIST + "revoke/", chosen)
assert answer.status_code == 302 and sessions.list_sessions(ann) == []
row = journal.history(str(ann.public_id))[0]
assert row.actor == str(chief.public_id)
seen = page("/admin/jwt_redis/revocation/")
assert f"ann@example.com ({ann.public_id})" in seen and f"chief@example.com ({chief.public_id})" in seen
page(f"/admin/jwt_redis/revocation/{row.pk}/change/")
page(f"{LIST}{quote(sid + ':' + str(ann.public_id))}/change/")
client.post(LIST + "revoke-user/", {"user": str(ann.public_id), "post": "yes", "reason": "gone"})
assert "Ended all sessions" in page(f"/admin/people/person/{ann.pk}/history/")
sid = sessions.open_session(ann)["sid"]
ann_id = str(ann.public_id)
ann.delete()
assert "no such user" in page(LIST, user=ann_id)
print("done")
"""


def test_users_with_other_keys_and_ids(redis_server: RedisServer) -> None:
    env = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.projects.people_settings",
        "JWT_REDIS_TEST_URL": redis_server.url,
    }
    done = subprocess.run([sys.executable, "-c", STORY], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout.splitlines()[-1:] == ["done"], done.stderr[-3000:]
