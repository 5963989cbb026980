"""``path("auth/devices/", include("jwt_redis.pages.urls"))``."""

from __future__ import annotations

from django.urls import path

from jwt_redis.pages import devices, not_me

app_name = "jwt_redis_pages"

urlpatterns = [
    path("", devices.DevicesView.as_view(), name="devices"),
    path("sign-out-others/", devices.SignOutOthersView.as_view(), name="sign_out_others"),
    path("sign-out-all/", devices.SignOutAllView.as_view(), name="sign_out_all"),
    path("signed-out/", devices.SignedOutView.as_view(), name="signed_out"),
    path("not-me/<str:token>/", not_me.NotMeView.as_view(), name="not_me"),
    path("<str:sid>/sign-out/", devices.SignOutView.as_view(), name="sign_out"),
    path("<str:sid>/label/", devices.LabelView.as_view(), name="label"),
]
