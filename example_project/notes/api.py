"""What an API of one's own has. None of it mentions sessions, but for the password."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_redis import sessions
from notes.models import Note
from notes.serializers import NoteSerializer, PasswordSerializer


class NoteViewSet(
    mixins.ListModelMixin, mixins.CreateModelMixin, mixins.DestroyModelMixin, viewsets.GenericViewSet[Note]
):
    """The notes of whoever asks."""

    serializer_class = NoteSerializer

    def get_queryset(self) -> QuerySet[Note]:
        return Note.objects.filter(user=self.request.user)

    def perform_create(self, serializer: NoteSerializer) -> None:
        serializer.save(user=self.request.user)


class MeView(APIView):
    def get(self, request: Request) -> Response:
        return Response({"username": request.user.get_username(), "sid": request.auth["sid"]})


class PasswordView(APIView):
    """Every other device falls out; the one that asks gets a new session."""

    # Its tokens are in the body, where a page's script could read them.
    uses_cookies = False

    def post(self, request: Request) -> Response:
        serializer = PasswordSerializer(data=request.data, context={"request": request})
        serializer.is_valid(raise_exception=True)
        user: Any = request.user
        user.set_password(serializer.validated_data["new_password"])
        # jwt_redis sees the save and ends all of the user's sessions.
        user.save(update_fields=["password"])
        refresh = sessions.open_session(user, request)
        return Response({"access": str(refresh.access_token), "refresh": str(refresh)})


def plain(request: HttpRequest) -> JsonResponse:
    """A Django view without DRF: the middleware has put the user there, or the reason why there is none."""
    if request.user.is_authenticated:
        return JsonResponse({"username": request.user.get_username()})
    error = request.auth_error
    return JsonResponse(error.detail if error else {"detail": "Sign in."}, status=401)
