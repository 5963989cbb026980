"""Somebody in front of a browser, and what goes wrong in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Response

LAPTOP: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
PHONE: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
    " Version/18.5 Mobile/15E148 Safari/604.1"
)
# What a client may call itself; what no header can be is in Redis perhaps all the same.
HOSTILE: Final = [
    "<script>document.title = 'mine'</script><img src=x onerror=\"document.title='mine'\">",
    "Firefox \u202e\u2066gpj.exe ' OR 1=1 -- {{ 7|add:7 }} {% now 'Y' %}",
    "x" * 5000,
    "Mozilla/5.0 " + "\u0633\u0644\u0627\u0645 " * 80,
]
# What a page says no with. Chromium reports these on its console, too.
_REFUSALS: Final = (400, 401, 403, 410, 503)
_MILLISECONDS: Final = 10_000


class Person:
    """One browser context. ``errors``: of scripts, of the console, and of the server."""

    def __init__(
        self, chromium: Browser, base: str, *, agent: str = LAPTOP, has_scripts: bool = True, **options: Any
    ) -> None:
        options.setdefault("viewport", {"width": 1100, "height": 760})
        self.base = base
        self.has_scripts = has_scripts
        self.errors: list[str] = []
        self._refusals: set[str] = set()
        self.context = chromium.new_context(
            base_url=base, user_agent=agent, java_script_enabled=has_scripts, locale="en-GB", **options
        )
        self.context.set_default_timeout(_MILLISECONDS)
        self.context.on("console", self._on_console)
        self.context.on("response", self._on_response)
        self.context.on("weberror", lambda error: self.errors.append(f"{error.error}"))
        self.page = self.context.new_page()

    def _on_response(self, response: Response) -> None:
        if response.status in _REFUSALS and response.request.is_navigation_request():
            self._refusals.add(response.url)
        elif response.status >= 400:
            self.errors.append(f"{response.status} {response.request.method} {response.url}")

    def _on_console(self, message: ConsoleMessage) -> None:
        is_refusal = message.text.startswith("Failed to load resource") and message.location["url"] in self._refusals
        if message.type in ("error", "warning") and not is_refusal:
            self.errors.append(f"{message.type}: {message.text} ({message.location['url']})")

    # What somebody does ---------------------------------------------------------------------------------------------

    def go(self, path: str) -> None:
        """Open a page."""
        self.page.goto(path)

    def sign_in(self, name: str, password: str) -> None:
        """By the form."""
        self.go("/sign-in/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in", exact=True).click()
        self.sees("Hello " + name)

    def click(self, name: str) -> None:
        """A link of the header, and the page that it leads to."""
        # A click alone is over when the answer's headers have come, and nothing of the page.
        with self.page.expect_navigation():
            self.page.get_by_role("navigation", name="Main").get_by_role("link", name=name).click()

    def press(self, name: str) -> None:
        """A button, by its whole name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def sees(self, text: str) -> None:
        """The text is there, or comes, and the rest of its page."""
        self.page.get_by_text(text).first.wait_for()
        self.page.wait_for_load_state()

    def sees_not(self, text: str) -> None:
        """The text is not there, or goes."""
        self.page.get_by_text(text).first.wait_for(state="hidden")

    def sees_heading(self, text: str) -> None:
        """The page, or a part of it, is called that, or will be, and the rest of it is there."""
        self.page.get_by_role("heading", name=text).wait_for()
        self.page.wait_for_load_state()

    def device(self, name: str) -> Locator:
        """A row of the list of devices."""
        return self.page.get_by_role("listitem").filter(has=self.page.get_by_role("heading", name=name))

    # What happens to the browser ------------------------------------------------------------------------------------

    def cookie(self, name: str) -> str | None:
        """Its value."""
        return next((one["value"] for one in self.context.cookies() if one["name"] == name), None)

    def let_access_token_run_out(self) -> None:
        """As after a minute: the browser has dropped the cookie, and the next request will be refreshed."""
        self.context.clear_cookies(name="demo_access")

    def close(self) -> None:
        """Done."""
        self.context.close()
