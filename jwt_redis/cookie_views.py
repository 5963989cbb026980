"""What ``JWT_REDIS["COOKIE"]`` adds to a view, as mixins: put one in front of a view of Simple JWT's or your own.

Where cookies are off, or the view's ``uses_cookies`` is False, they do nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _
from rest_framework.exceptions import NotAuthenticated
from rest_framework.request import Request
from rest_framework.views import APIView

from jwt_redis import cookies
from jwt_redis.authentication import takes_cookies
from jwt_redis.conf import Cookie, config

__all__ = ["ClearsCookiesMixin", "CookieMixin", "SetsCookiesMixin", "TakesCookieMixin"]


class CookieMixin(APIView):
    """A view that has to do with cookies: its answers say so (``Vary``), and bring Django's CSRF cookie if it is due.

    ``uses_cookies``: False where the clients have no cookies, as in ``as_view(uses_cookies=False)``. None: the setting.
    """

    uses_cookies: bool | None = None
    # Whether the refresh cookie has to be sent here: its path is made of the URLs of such views.
    takes_refresh_cookie: ClassVar[bool] = False

    @property
    def cookie(self) -> Cookie | None:
        """The setting. None where this view has no cookies."""
        return config().cookie if takes_cookies(self) else None

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """DRF's, and then the cookies."""
        response = super().finalize_response(request, response, *args, **kwargs)
        if self.cookie is not None:
            if 200 <= response.status_code < 300:
                self.apply_cookies(request, response, self.cookie)
            cookies.patch_vary(response)
            cookies.send_csrf_cookie(request, response)
        return response

    def apply_cookies(self, request: Request, response: HttpResponseBase, cookie: Cookie) -> None:
        """Called with an answer that says yes."""


class SetsCookiesMixin(CookieMixin):
    """Tokens leave in cookies and, but for ``in_body``, not in the body, where a script could read them.

    CSRF is enforced: another site could sign the user in as somebody else.
    """

    # A new CSRF secret with it, whose token is in the body: who signs in has none that is good afterwards.
    signs_in: ClassVar[bool] = False

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """DRF's, and CSRF."""
        super().initial(request, *args, **kwargs)
        if self.cookie is not None:
            cookies.enforce_csrf(request)

    def apply_cookies(self, request: Request, response: Any, cookie: Cookie) -> None:
        """Move the tokens from the body to the cookies."""
        data = getattr(response, "data", None)
        if not isinstance(data, Mapping) or request.method != "POST":
            return
        # A sliding token is both.
        cookies.set_cookies(response, access=data.get("access") or data.get("token"), refresh=data.get("refresh"))
        kept = {k: v for k, v in data.items() if cookie.in_body or k not in ("access", "refresh", "token")}
        if self.signs_in and cookie.csrf:
            cookies.renew_csrf_token(request)
            kept["csrf_token"] = cookies.csrf_token(request)
        response.data = kept


class TakesCookieMixin(CookieMixin):
    """A token that the body lacks is taken from its cookie. Then CSRF is enforced.

    ``body_field``: where the body has it. The cookie is the refresh cookie where ``takes_refresh_cookie`` says so, and
    else the access cookie.
    """

    body_field: ClassVar[str] = "token"
    is_by_cookie = False

    def get_serializer(self, *args: Any, **kwargs: Any) -> Any:
        """DRF's, with the token in its data.

        :raises NotAuthenticated: when it is neither in the body nor in the cookie.
        :raises PermissionDenied: when CSRF fails.
        """
        data = kwargs.get("data")
        if self.cookie is not None and isinstance(data, Mapping) and self.body_field not in data:
            self.is_by_cookie = True
            cookies.enforce_csrf(self.request)
            kwargs["data"] = {**data, self.body_field: self._token_of_cookie()}
        return super().get_serializer(*args, **kwargs)  # type: ignore[misc]

    def _token_of_cookie(self) -> str:
        find = cookies.refresh_cookies if self.takes_refresh_cookie else cookies.access_cookies
        found = find(self.request)
        if len(found) > 1:
            raise NotAuthenticated(_("The cookie comes twice, with different tokens."))
        if not found:
            raise NotAuthenticated(_("There is a token neither in the body nor in a cookie."))
        return found[0]


class ClearsCookiesMixin(CookieMixin):
    """The browser forgets the cookies when the user is signed out: not before the server says that it is so.

    CSRF is enforced, except on a request with the header: another site's would not have one.
    """

    def is_over(self, user: str, sid: str | None) -> bool:
        """Is this session, of a cookie that the request brought, ended now? A living one keeps its cookies."""
        return True

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """DRF's, and CSRF."""
        super().initial(request, *args, **kwargs)
        if self.cookie is not None and not cookies.bears_header(request):
            cookies.enforce_csrf(request)

    def apply_cookies(self, request: Request, response: Any, cookie: Cookie) -> None:
        """Clear them."""
        if request.method not in ("POST", "DELETE"):
            return
        if all(self.is_over(*session) for session in cookies.sessions_of_cookies(request)):
            cookies.clear_cookies(response)
            if cookie.clear_site_data:
                response["Clear-Site-Data"] = ", ".join(f'"{name}"' for name in cookie.clear_site_data)
