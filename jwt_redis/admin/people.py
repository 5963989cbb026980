"""Whose is a session? Users by what stands in Redis, by what staff type, and as links."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

from django.contrib.admin import AdminSite
from django.contrib.admin.utils import quote
from django.contrib.auth import get_user_model
from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import Field
from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse

from jwt_redis.conf import simplejwt_setting
from jwt_redis.decoding import UNFIT
from jwt_redis.keys import UserTag, claim_of, user_id, user_tag

__all__ = ["LIMIT", "actor_name", "change_url", "claim_of", "find", "name_of", "shown", "tag_of", "users_of"]

#: How many users a search yields at most.
LIMIT = 20

_DIGEST = re.compile(r"~[0-9a-f]{64}")


def tag_of(text: str) -> UserTag | None:
    """``text`` as the user part of a key, if it is one: what is not would lead to somebody else's key, or nowhere."""
    if _DIGEST.fullmatch(text):
        return UserTag(text)
    try:
        tag = user_tag(unquote(text, errors="surrogatepass"))
    except ValueError:
        return None
    return tag if text and tag == text else None


def shown(tag: str) -> str:
    """The claim's value for people."""
    text = unquote(tag, errors="replace")
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _id_field() -> str:
    return str(simplejwt_setting("USER_ID_FIELD"))


def _fit(name: str, text: str) -> Any:
    """``text`` as a value of a field of the user model.

    :raises ValidationError: or one of its kin, when it cannot be one.
    """
    if "\0" in text:
        raise ValueError("no database takes that")
    model = get_user_model()
    try:
        field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    except FieldDoesNotExist:
        return text  # a lookup through a relation, perhaps
    if not isinstance(field, Field):
        return text
    value = field.to_python(text)
    field.run_validators(value)
    return value


def _where(**lookups: Any) -> list[Any]:
    manager: Any = get_user_model()._default_manager
    try:
        return list(manager.filter(**lookups)[:LIMIT])
    except (*UNFIT, FieldError):
        return []


def find(text: str) -> list[Any]:
    """Users by id, primary key, name or e-mail address: whole ones, or, if there is none, how they begin."""
    model: Any = get_user_model()
    names = [model.USERNAME_FIELD]
    with contextlib.suppress(FieldDoesNotExist):
        names.append(model._meta.get_field(model.get_email_field_name()).name)
    found: dict[Any, Any] = {}
    for name in dict.fromkeys((_id_field(), "pk", *names)):
        try:
            value = _fit(name, text)
        except UNFIT:
            continue  # no value of this field looks like that
        lookup = f"{name}__iexact" if name in names[1:] else name
        found |= {user.pk: user for user in _where(**{lookup: value})}
    if not found and "\0" not in text:
        for name in names:
            found |= {user.pk: user for user in _where(**{f"{name}__istartswith": text})}
    return [user for user in found.values() if _has_id(user)][:LIMIT]


def _has_id(user: Any) -> bool:
    try:
        return bool(user_id(user))
    except ValueError:
        return False


def users_of(tags: Iterable[str]) -> dict[str, Any]:
    """Those of these users that there (still) are, by tag. One query."""
    values = []
    for tag in {tag for tag in tags if tag and not tag.startswith("~")}:
        try:
            values.append(_fit(_id_field(), claim_of(UserTag(tag))))
        except UNFIT:
            continue
    if not values:
        return {}
    manager: Any = get_user_model()._default_manager
    try:
        found = list(manager.filter(**{f"{_id_field()}__in": values}))
    except (*UNFIT, FieldError):
        return {}
    return {user_tag(user_id(user)): user for user in found}


def name_of(tag: str, user: Any | None) -> str:
    """ "alice (7)", or the bare id of somebody who is not there any more."""
    return shown(tag) if user is None or str(user) == shown(tag) else f"{user} ({shown(tag)})"


def change_url(request: HttpRequest, site: AdminSite, user: Any | None) -> str:
    """The user's own page in the admin; "" where there is none, or this member of the staff may not see it."""
    if user is None:
        return ""
    admins = [site.get_model_admin(type(user))] if site.is_registered(type(user)) else []
    if not any(one.has_view_permission(request, user) for one in admins):
        return ""
    try:
        place = f"{site.name}:{user._meta.app_label}_{user._meta.model_name}_change"
        return reverse(place, args=(quote(user.pk),), current_app=site.name)
    except NoReverseMatch:
        return ""


def actor_name(actor: str, users: dict[str, Any]) -> str:
    """Who revoked: the journal has a user id, or who ran a command."""
    return name_of(user_tag(actor), users.get(user_tag(actor))) if actor else ""
