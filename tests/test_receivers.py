"""Django's signals: what ends a user's sessions, when, and what does not."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import authenticate, get_user_model
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.models import Session
from django.core import serializers
from django.core.management import call_command
from django.db import transaction
from django.db.models.deletion import Collector
from django.test import Client, override_settings
from rest_framework.test import APIClient

from jwt_redis import recovery, sessions
from jwt_redis.models import Revocation
from jwt_redis.testing.servers import free_port

pytestmark = pytest.mark.django_db

UPGRADED = ["django.contrib.auth.hashers.ScryptPasswordHasher", "django.contrib.auth.hashers.MD5PasswordHasher"]


class ProxyUser(User):
    class Meta:
        proxy = True
        app_label = "auth"


def reason(token: Any) -> str | None:
    return sessions.explain(str(token)).reason


def refresh(token: Any) -> Any:
    return APIClient().post("/auth/token/refresh/", {"refresh": str(token)}, format="json")


def by_row(token: Any) -> Any:
    return APIClient().get("/whoami/", HTTP_AUTHORIZATION=f"Bearer {token.access_token}")


# A password that really changes ------------------------------------------------------------------------------------


def set_and_save(user: Any) -> None:
    user.set_password("new")
    user.save()


def set_and_save_the_field(user: Any) -> None:
    user.set_password("new")
    user.save(update_fields=["password"])


def by_proxy(user: Any) -> None:
    set_and_save(ProxyUser.objects.get(pk=user.pk))


def by_form(user: Any) -> None:
    form = SetPasswordForm(user, {"new_password1": "a-n3w-passw0rd", "new_password2": "a-n3w-passw0rd"})
    assert form.is_valid()
    form.save()


def by_hash(user: Any) -> None:
    user.password = make_password("new")
    user.save()


def by_hash_and_field(user: Any) -> None:
    user.password = make_password("new")
    user.save(update_fields=["password"])


def unusable(user: Any) -> None:
    user.set_unusable_password()
    user.save()


def by_admin(user: Any) -> None:
    get_user_model().objects.create_superuser("root", "r@example.com", "root")
    admin = Client()
    admin.login(username="root", password="root")
    data = {"password1": "a-n3w-passw0rd", "password2": "a-n3w-passw0rd", "usable_password": "true"}
    assert admin.post(f"/admin/auth/user/{user.pk}/password/", data).status_code == 302


def by_command(user: Any) -> None:
    import getpass

    original = getpass.getpass
    getpass.getpass = lambda *args, **kwargs: "a-n3w-passw0rd"
    try:
        call_command("changepassword", user.username, verbosity=0)
    finally:
        getpass.getpass = original


WAYS = [
    set_and_save,
    set_and_save_the_field,
    by_proxy,
    by_form,
    by_hash,
    by_hash_and_field,
    unusable,
    by_admin,
    by_command,
]


@pytest.mark.parametrize("change", WAYS)
def test_a_changed_password_ends_all_sessions_of_that_user(alice: Any, bob: Any, change: Any) -> None:
    tokens = [sessions.open_session(alice) for _ in range(2)]
    other = sessions.open_session(bob)
    change(get_user_model().objects.get(pk=alice.pk))
    assert [reason(token) for token in tokens] == ["session_ended"] * 2
    assert reason(other) is None
    assert reason(sessions.open_session(get_user_model().objects.get(pk=alice.pk))) is None


def test_an_update_without_signal_is_noticed_at_the_refresh(alice: Any) -> None:
    token = sessions.open_session(alice)
    get_user_model().objects.filter(pk=alice.pk).update(password=make_password("new"))
    answer = refresh(token)
    assert (answer.status_code, answer.json()["reason"]) == (401, "session_ended")
    assert "password_changed" in sessions.explain(str(token)).rule


def test_an_update_without_signal_is_noticed_where_the_row_is_loaded(alice: Any) -> None:
    token = sessions.open_session(alice)
    assert by_row(token).status_code == 200
    get_user_model().objects.filter(pk=alice.pk).update(password=make_password("new"))
    answer = by_row(token)
    assert (answer.status_code, answer.json()["reason"]) == (401, "session_ended")
    assert reason(token) == "session_ended"


def test_the_middleware_notices_too(alice: Any) -> None:
    token = sessions.open_session(alice)
    get_user_model().objects.filter(pk=alice.pk).update(password=make_password("new"))
    answer = Client().get("/plain/", HTTP_AUTHORIZATION=f"Bearer {token.access_token}")
    assert answer.json()["anonymous"] and answer.json()["error"]["reason"] == "session_ended"


# A password that does not change -----------------------------------------------------------------------------------


@pytest.mark.parametrize("atomic", [False, True])
def test_a_hash_upgrade_ends_nothing(alice: Any, atomic: bool) -> None:
    before = sessions.open_session(alice)
    old_hash = alice.password
    with override_settings(PASSWORD_HASHERS=UPGRADED):
        if atomic:
            with transaction.atomic():
                assert authenticate(username="alice", password="correct horse")
        else:
            assert authenticate(username="alice", password="correct horse")
    alice.refresh_from_db()
    assert alice.password.startswith("scrypt") and alice.password != old_hash
    assert by_row(before).status_code == 200
    answer = refresh(before)
    assert answer.status_code == 200
    assert refresh(answer.json()["refresh"]).status_code == 200
    # A request that still sees the old row, as before the commit.
    get_user_model().objects.filter(pk=alice.pk).update(password=old_hash)
    assert by_row(before).status_code == 200


def test_an_upgrade_does_not_hide_a_later_change(alice: Any) -> None:
    token = sessions.open_session(alice)
    with override_settings(PASSWORD_HASHERS=UPGRADED):
        authenticate(username="alice", password="correct horse")
        get_user_model().objects.filter(pk=alice.pk).update(password=make_password("new"))
    assert refresh(token).status_code == 401


@pytest.mark.parametrize("is_locked", [True, False])
def test_another_password_is_no_upgrade_of_a_hash_that_is_out_of_date(alice: Any, is_locked: bool) -> None:
    set_and_save(alice)
    token = sessions.open_session(alice)
    # On the one set_password() has left the trace that check_password() leaves, too.
    row = alice if is_locked else get_user_model().objects.get(pk=alice.pk)
    with override_settings(PASSWORD_HASHERS=UPGRADED):
        if is_locked:
            row.set_unusable_password()
        else:
            row.password = make_password("new")
        row.save(update_fields=["password"])
        assert reason(token) == "session_ended"
        assert refresh(token).status_code == 401


@pytest.mark.parametrize("fields", [None, ["email"], ["last_login"]])
def test_another_save_ends_nothing(alice: Any, fields: list[str] | None) -> None:
    token = sessions.open_session(alice)
    alice.email = "new@example.com"
    alice.save(update_fields=fields)
    assert reason(token) is None


def test_fixtures_end_nothing(alice: Any) -> None:
    token = sessions.open_session(alice)
    for loaded in serializers.deserialize("json", serializers.serialize("json", [alice])):
        loaded.save()
    assert reason(token) is None


def test_a_new_secret_key_with_the_old_one_as_fallback_ends_nothing(alice: Any, settings: Any) -> None:
    token = sessions.open_session(alice)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key that is long enough for HS256 to be content with it"
    assert by_row(token).status_code == 200
    answer = refresh(token)
    settings.SECRET_KEY_FALLBACKS = []
    # Bound to the new key by the refresh.
    assert refresh(answer.json()["refresh"]).status_code == 200


# Deactivation and deletion -----------------------------------------------------------------------------------------


def test_deactivation_ends_all_sessions(alice: Any) -> None:
    token = sessions.open_session(alice)
    alice.is_active = False
    alice.save()
    assert reason(token) == "session_ended"


def test_deletion_ends_all_sessions(alice: Any, bob: Any) -> None:
    tokens = [sessions.open_session(alice), sessions.open_session(bob)]
    alice.delete()
    get_user_model().objects.filter(username="bob").delete()
    assert [reason(token) for token in tokens] == ["session_ended"] * 2


def test_deletion_by_a_proxy_of_the_user_model_too(alice: Any) -> None:
    token = sessions.open_session(alice)
    ProxyUser.objects.filter(pk=alice.pk).delete()
    assert reason(token) == "session_ended"


def test_rows_of_other_models_are_deleted_without_being_read(db: None) -> None:
    collector = Collector(using="default", origin=Session)
    assert collector.can_fast_delete(Session.objects.all())
    assert not collector.can_fast_delete(get_user_model().objects.all())


def test_revoke_on_may_leave_them_out(alice: Any) -> None:
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REVOKE_ON": []}):
        token = sessions.open_session(alice)
        alice.is_active = False
        alice.set_password("new")
        alice.save()
        assert reason(token) is None
        alice.delete()
        assert reason(token) is None


# Groups and permissions --------------------------------------------------------------------------------------------


@pytest.fixture
def rights(alice: Any) -> tuple[Group, Permission]:
    return Group.objects.create(name="staff"), Permission.objects.first()


def changes(alice: Any, group: Group, permission: Permission) -> dict[str, Any]:
    return {
        "add": lambda: alice.groups.add(group),
        "remove": lambda: alice.groups.remove(group),
        "reverse add": lambda: group.user_set.add(alice),
        "reverse clear": lambda: group.user_set.clear(),
        "clear": lambda: alice.groups.clear(),
        "permission": lambda: alice.user_permissions.add(permission),
        "reverse permission": lambda: permission.user_set.add(alice),
        "group permission": lambda: group.permissions.add(permission),
        "group permissions cleared": lambda: group.permissions.clear(),
        "permission's groups": lambda: permission.group_set.add(group),
        "permission's groups cleared": lambda: permission.group_set.clear(),
        "group deleted": lambda: group.delete(),
    }


MEMBER_FIRST = {
    "remove",
    "reverse clear",
    "clear",
    "group permission",
    "group permissions cleared",
    "permission's groups",
    "permission's groups cleared",
    "group deleted",
}
HOLDS_FIRST = {"group permissions cleared", "permission's groups cleared"}


@pytest.mark.parametrize("name", sorted(changes(None, None, None)))  # type: ignore[arg-type]
@pytest.mark.parametrize("asked", [True, False])
def test_changed_rights_end_the_sessions_where_asked(
    alice: Any, bob: Any, rights: tuple[Group, Permission], name: str, asked: bool
) -> None:
    group, permission = rights
    if name in MEMBER_FIRST:
        alice.groups.add(group)
    if name in HOLDS_FIRST:
        group.permissions.add(permission)
    token, other = sessions.open_session(alice), sessions.open_session(bob)
    revoke_on = ["groups_changed", "permissions_changed"] if asked else []
    with override_settings(JWT_REDIS={"ALIAS": "sessions", "REVOKE_ON": revoke_on}):
        changes(alice, group, permission)[name]()
    assert reason(token) == ("session_ended" if asked else None)
    assert reason(other) is None


# Transactions ------------------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_at_once_and_again_on_commit(alice: Any) -> None:
    old_row = get_user_model().objects.get(pk=alice.pk)
    before = sessions.open_session(alice)
    with transaction.atomic():
        alice.set_password("new")
        alice.save()
        assert reason(before) == "session_ended"
        # Somebody signs in with the old password, which the others still see.
        meanwhile = sessions.open_session(old_row)
        # And this view signs its own user in again.
        own = sessions.open_session(alice)
        assert reason(meanwhile) is None
    assert reason(meanwhile) == "session_ended"
    assert reason(own) is None


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["deactivate", "delete"])
def test_deactivation_and_deletion_too(alice: Any, change: str) -> None:
    old_row = get_user_model().objects.get(pk=alice.pk)
    # The store is trusted from here on: in a database in memory, nobody else can read the journal in a transaction.
    sessions.list_sessions(alice)
    with transaction.atomic():
        if change == "delete":
            alice.delete()
        else:
            alice.is_active = False
            alice.save()
        meanwhile = sessions.open_session(old_row)
    assert reason(meanwhile) == "session_ended"


@pytest.mark.django_db(transaction=True)
def test_a_rollback_loses_only_the_sessions_that_were_ended(alice: Any) -> None:
    before = sessions.open_session(alice)
    with pytest.raises(RuntimeError), transaction.atomic():
        alice.set_password("new")
        alice.save()
        raise RuntimeError
    assert reason(before) == "session_ended"
    row = get_user_model().objects.get(pk=alice.pk)
    after = sessions.open_session(row)
    assert reason(after) is None and refresh(after).status_code == 200


# Redis is down -----------------------------------------------------------------------------------------------------


def test_a_profile_is_saved_while_redis_is_down(alice: Any) -> None:
    url = f"redis://127.0.0.1:{free_port()}/0"
    with override_settings(CACHES={"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}}):
        alice.email = "new@example.com"
        alice.save()
    alice.refresh_from_db()
    assert alice.email == "new@example.com"


def unreachable() -> Any:
    url = f"redis://127.0.0.1:{free_port()}/0"
    return override_settings(CACHES={"sessions": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}})


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("change", ["password", "deactivation", "deletion"])
def test_a_change_while_redis_is_down_is_in_the_journal_and_takes_effect_first_of_all(alice: Any, change: str) -> None:
    access = sessions.open_session(alice).access_token
    key = str(alice.pk)
    with unreachable():
        if change == "password":
            alice.set_password("new")
            alice.save()
        elif change == "deactivation":
            alice.is_active = False
            alice.save()
        else:
            alice.delete()
    pending = Revocation.objects.filter(user=key, applied_at=None)
    assert pending.exists()
    # override_settings has forgotten that this process met a failure; another process notices at its own.
    recovery.note_failure()
    assert sessions.explain(access).reason == "session_ended"
    assert not pending.exists()


def test_without_a_journal_a_certain_change_is_not_kept_quiet_while_redis_is_down(alice: Any, settings: Any) -> None:
    from jwt_redis.exceptions import RevocationUnavailable

    settings.JWT_REDIS = {"ALIAS": "sessions", "JOURNAL": False}
    alice.set_password("new")
    with unreachable(), pytest.raises(RevocationUnavailable):
        alice.save()
