from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from jwt_redis.views import (
    LogoutAllView,
    LogoutView,
    SessionDetailView,
    SessionListView,
    TokenObtainPairView,
    TokenRefreshView,
)
from notes import api, live, mailbox, pages, theft

router = SimpleRouter()
router.register("notes", api.NoteViewSet, basename="note")

# For native apps and `make walk`: tokens in headers and bodies, no cookies.
header_only = [
    path("token/", TokenObtainPairView.as_view(uses_cookies=False)),
    path("token/refresh/", TokenRefreshView.as_view(uses_cookies=False)),
    path("logout/", LogoutView.as_view(uses_cookies=False)),
    path("logout/all/", LogoutAllView.as_view(uses_cookies=False)),
    path("sessions/", SessionListView.as_view()),
    path("sessions/<str:sid>/", SessionDetailView.as_view(uses_cookies=False)),
]

urlpatterns = [
    path("", pages.HomeView.as_view(), name="home"),
    path("sign-in/", pages.SignInView.as_view(), name="sign_in"),
    path("notes/", pages.NotesView.as_view(), name="notes"),
    path("notes/<int:pk>/delete/", pages.DeleteNoteView.as_view(), name="delete_note"),
    path("password/", pages.PasswordView.as_view(), name="password"),
    path("mail/", mailbox.MailView.as_view(), name="mail"),
    path("theft/", theft.StealView.as_view(), name="steal"),
    path("theft/use/", theft.UseView.as_view(), name="use_stolen"),
    path("live/", live.live, name="live"),
    path("live/events/", live.EventsView.as_view(), name="events"),
    path("api/", include(router.urls)),
    path("api/auth/", include(header_only)),
    path("api/me/", api.MeView.as_view(), name="me"),
    path("api/password/", api.PasswordView.as_view(), name="api_password"),
    path("api/plain/", api.plain, name="plain"),
]
