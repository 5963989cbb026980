"""The views of the test project, and those through which the load revokes what has no view of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.db import Error as DatabaseError
from django.db import transaction
from django.urls import path
from rest_framework.exceptions import APIException
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_redis import sessions
from tests.chaos import hooks
from tests.urls import urlpatterns as _project


class DatabaseDown(APIException):
    """A project's own database is the project's own business; 503 is what this one says."""

    status_code = 503


@contextlib.contextmanager
def _database() -> Iterator[None]:
    try:
        yield
    except DatabaseError as error:
        raise DatabaseDown from error


class Operator(APIView):
    """Not for clients: no credentials."""

    authentication_classes = ()
    permission_classes = ()


class RevokeToken(Operator):
    """One token, whichever it is."""

    def post(self, request: Request) -> Response:
        return Response({"revoked": sessions.revoke_token(request.data["token"])})


class RevokeEverything(Operator):
    def post(self, request: Request) -> Response:
        return Response({"before": sessions.revoke_everything().isoformat()})


class Password(Operator):
    """``atomic``: in a transaction. ``X-Chaos: break-commit``: the transaction fails at its very end."""

    def post(self, request: Request) -> Response:
        with _database():
            user: Any = get_user_model().objects.get(username=request.data["username"])
            user.set_password(request.data["password"])
            if request.data.get("atomic"):
                with transaction.atomic():
                    user.save()
                    if hooks.wish() == "break-commit":
                        _owe_a_row()
            else:
                user.save()
        return Response({})


def _owe_a_row() -> None:
    # A foreign key is looked at when the transaction commits, and not before.
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("INSERT INTO auth_user_groups (user_id, group_id) VALUES (999999999, 999999999)")


class Deactivate(Operator):
    def post(self, request: Request) -> Response:
        with _database():
            user: Any = get_user_model().objects.get(username=request.data["username"])
            user.is_active = False
            user.save(update_fields=["is_active"])
        return Response({})


class ClearNeighbour(Operator):
    """``cache.clear()`` of somebody else, in the same database: django-redis makes it a FLUSHDB."""

    def post(self, request: Request) -> Response:
        caches["neighbour"].clear()
        return Response({})


urlpatterns = [
    *_project,
    path("chaos/revoke-token/", RevokeToken.as_view()),
    path("chaos/revoke-everything/", RevokeEverything.as_view()),
    path("chaos/password/", Password.as_view()),
    path("chaos/deactivate/", Deactivate.as_view()),
    path("chaos/clear-neighbour/", ClearNeighbour.as_view()),
]
