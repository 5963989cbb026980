"""An admin of the project's own, with the sessions between its own fieldsets."""

from __future__ import annotations

from django.contrib import admin

from jwt_redis.admin import SessionsOnUserMixin
from tests.people.models import Person


@admin.register(Person)
class PersonAdmin(SessionsOnUserMixin, admin.ModelAdmin):
    fieldsets = [
        ("Who", {"fields": ["address"]}),
        ("Where", {"fields": ["jwt_sessions"]}),
        (None, {"fields": ["is_staff"]}),
    ]
