"""Which requests are answered: those of the user's own browser, from this page.

Any web page may send requests to this machine, and a name in the internet may be made
to point to it. A request therefore needs a host name of this server, the secret of the
address that was printed, and, if it changes something, the origin of this page.
"""

import hmac
import secrets
import time
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import (
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Response,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Seconds after the start in which the browser must have opened the page
_LAUNCH = 120

# Methods that change nothing
_SAFE = ("GET", "HEAD")

# Neither scripts nor styles within a page, and nothing from another host
_POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


def make_token() -> str:
    """Returns a secret that cannot be guessed."""
    return secrets.token_urlsafe(32)


def _turned_away(request: Request) -> Response:
    """Returns the answer to a browser that has not opened the printed address."""
    sentence = "Open the page by the address that the server has printed."
    if "text/html" in request.headers.get("accept", ""):
        return PlainTextResponse(sentence, status_code=403)
    return refusal(403, sentence)


def refusal(status: int, sentence: str) -> JSONResponse:
    """Returns the answer to a request that is refused: one sentence as JSON."""
    return JSONResponse({"error": sentence}, status_code=status)


class OwnBrowserOnly:
    """Middleware that refuses all other requests, and adds headers to all answers."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str,
        launch: str | None,
        hosts: Collection[str],
        port: int,
    ):
        """Sets what is allowed.

        Args:
          app: answers the requests that are allowed.
          token: the secret in the address that is printed.
          launch: one in its place that is valid once, for the command that starts the
            browser, which other users of this machine can read; None for none.
          hosts: names and addresses of this server.
          port: of this server, whose cookies must not meet those of another one.
        """
        self._app, self._token, self._launch = app, token, launch
        # Of the browsers that have opened the address; it is in no address.
        self._session = make_token()
        self._launched = False
        self._started = time.monotonic()
        self._hosts = {f"{name}:{port}".lower() for name in hosts}
        if port == 80:
            self._hosts |= {name.lower() for name in hosts}
        self._cookie = f"meranet_{port}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        app = self._refused(Request(scope)) or self._app
        await app(scope, receive, send_with_headers)

    def _refused(self, request: Request) -> Response | None:
        """Returns the answer to a request that is not passed on."""
        headers = request.headers
        host = headers.get("host", "").lower()
        if host not in self._hosts or len(headers.getlist("host")) != 1:
            return refusal(421, "This address is not the one that the server printed.")
        if request.method not in _SAFE and not _same_origin(headers, host):
            return refusal(403, "Another page may not use this server.")
        given = request.query_params.get("token")
        if (
            request.scope["path"] == "/"
            and request.method == "GET"
            and given is not None
        ):
            if not (_are_equal(given, self._token) or self._is_launch(given)):
                return refusal(
                    403,
                    "This address is of another start of the server, is too old, or "
                    "was used before. Open the address that the server has printed.",
                )
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(
                self._cookie, self._session, httponly=True, samesite="strict", path="/"
            )
            return answer
        if not _are_equal(request.cookies.get(self._cookie, ""), self._session):
            return _turned_away(request)
        return None

    def _is_launch(self, given: str) -> bool:
        """Returns whether this is the secret that is valid once, and soon after."""
        if self._launch is None or not _are_equal(given, self._launch):
            return False
        if self._launched:
            # One of the two was not the user: neither may go on.
            self._session = make_token()
            return False
        self._launched = True
        return time.monotonic() - self._started < _LAUNCH


def _are_equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode(), secret.encode())


def _same_origin(headers: Headers, host: str) -> bool:
    """Returns whether a request comes from a page of this server."""
    origin = headers.get("origin", "").lower()
    site = headers.get("sec-fetch-site", "same-origin")
    return origin == f"http://{host}" and site == "same-origin"
