"""What a project of one's own has: an API, a plain view, a page. None of it mentions sessions, but for the password."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.http import HttpRequest, JsonResponse
from django.views.generic import TemplateView
from rest_framework import mixins, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jwt_redis import sessions
from notes.models import Note
from notes.serializers import NoteSerializer, PasswordSerializer


class PageView(TemplateView):
    template_name = "notes/page.html"
    extra_context = {"users": settings.DEMO_USERS}


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
