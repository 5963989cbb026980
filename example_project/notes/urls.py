from __future__ import annotations

from django.urls import include, path
from rest_framework.routers import SimpleRouter

from notes import views

router = SimpleRouter()
router.register("notes", views.NoteViewSet, basename="note")

urlpatterns = [
    path("", views.PageView.as_view(), name="page"),
    path("api/", include(router.urls)),
    path("api/me/", views.MeView.as_view(), name="me"),
    path("api/password/", views.PasswordView.as_view(), name="password"),
    path("api/plain/", views.plain, name="plain"),
]
