"""Where services that cannot ask Redis read whether our tokens were revoked: the Token Status List."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import conditional_page

from jwt_redis import sessions
from jwt_redis.exceptions import RevocationUnavailable
from jwt_redis.status_list import MEDIA_TYPE

__all__ = ["StatusListView"]


class StatusListView(View):
    """One list, as a signed JWT (draft-ietf-oauth-status-list-21 section 8). Public: it names nobody."""

    http_method_names = ("get", "head", "options")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answers scripts of any origin: there is nothing in it that depends on who asks."""
        response = super().dispatch(request, *args, **kwargs)
        response["Access-Control-Allow-Origin"] = "*"
        patch_vary_headers(response, ["Accept"])
        return response

    # In this order: the entity tag is of what is compressed, and is weak where it was.
    @method_decorator([gzip_page, conditional_page])
    def get(self, request: HttpRequest, list_id: str) -> HttpResponseBase:
        """The list. 404 for one that is not ours, 406 for another format than JWT, 501 for the past (section 8.4), 503
        with ``Retry-After`` while Redis cannot be asked."""
        if request.get_preferred_type([MEDIA_TYPE]) is None:
            return _refused(406, f"Only {MEDIA_TYPE} is published here.", "not_acceptable")
        if "time" in request.GET:
            return _refused(501, "The status of a former time is not published.", "not_implemented")
        try:
            found = sessions.status_list_token(list_id)
        except RevocationUnavailable as error:
            return _refused(error.status_code, str(error.detail["detail"]), error.default_code, str(error.wait))  # type: ignore[call-overload, index]
        if found is None:
            return _refused(404, "There is no such status list.", "not_found")
        response = HttpResponse(found.token, content_type=MEDIA_TYPE)
        patch_cache_control(response, public=True, max_age=found.max_age)
        return response


def _refused(status: int, detail: str, code: str, retry_after: str = "") -> HttpResponse:
    response = JsonResponse({"detail": detail, "code": code}, status=status)
    # Who keeps a refusal would keep it for longer than its cause.
    patch_cache_control(response, no_store=True)
    if retry_after:
        response["Retry-After"] = retry_after
    return response
