"""`Gate`: who may see the console. Read-only, to browsers that came here by themselves, and with the token when due."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from sidecar.console.token import FILE_VARIABLE, VARIABLE, Token
from sidecar.telemetry.page import Answer

_DAY: Final = 24 * 3600
_OWN: Final = frozenset({"", "same-origin", "none"})
"""What ``Sec-Fetch-Site`` says of requests that no other site caused."""

HEADERS: Final = (
    (
        "Content-Security-Policy",
        (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
            " base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        ),
    ),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
)
"""On everything the console answers."""

FORBIDDEN: Final = (
    "The console can be reached from other machines here, so it needs a token: set "
    f"{VARIABLE}, or {FILE_VARIABLE} to a file that holds it, and start the sidecar again.\n"
    "/metrics, /healthz and /readyz need none.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request, as far as the console looks at it. Header names are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


def asked(method: str, path: str, query: str, headers: Mapping[str, str]) -> Asked:
    """Read a request's query: of a name that comes twice, the last value counts."""
    try:
        parsed = parse_qs(query, keep_blank_values=True, max_num_fields=16)
    except ValueError:
        parsed = {}
    return Asked(method=method, path=path, query={key: values[-1] for key, values in parsed.items()}, headers=headers)


class Gate:
    """Lets through, or answers in the console's place.

    ``remote``: other machines can reach it. ``login`` makes the page that asks for the token; ``welcome`` is the one
    that leads from a link with a token to the console.
    """

    def __init__(self, token: Token | None, *, remote: bool, login: Callable[[], bytes], welcome: bytes) -> None:
        self._token: Final = token
        self._remote: Final = remote
        self._login: Final = login
        self._welcome: Final = welcome

    def stops(self, request: Asked) -> Answer | None:
        """Answer a request that must not see the console or its numbers; None when it may."""
        if request.method not in {"GET", "HEAD"}:
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "The console only reads: use GET.\n", ("Allow", "GET, HEAD"))
        is_page = request.path == "/"
        if not is_page and request.headers.get("sec-fetch-site", "") not in _OWN:
            return refusal(HTTPStatus.FORBIDDEN, "Other sites may not read this.\n")
        if self._token is None:
            return refusal(HTTPStatus.FORBIDDEN, FORBIDDEN) if self._remote else None
        if is_page and "token" in request.query:
            return self._exchange(self._token, request.query["token"])
        return None if _is_known(self._token, request.headers) else self._challenge(is_page=is_page)

    def _challenge(self, *, is_page: bool) -> Answer:
        if is_page:
            return page(self._login(), HTTPStatus.UNAUTHORIZED)
        challenge = ("WWW-Authenticate", 'Bearer realm="claude-sidecar console"')
        return refusal(HTTPStatus.UNAUTHORIZED, "This needs the console's token.\n", challenge)

    def _exchange(self, token: Token, given: str) -> Answer:
        if not token.matches(given):
            return self._challenge(is_page=True)
        cookie = f"{token.cookie_name}={token.cookie}; Path=/; Max-Age={_DAY}; HttpOnly; SameSite=Strict"
        # Not a redirect: a browser that comes from another site would follow it without the new cookie.
        return page(self._welcome, HTTPStatus.OK, ("Set-Cookie", cookie))


def _is_known(token: Token, headers: Mapping[str, str]) -> bool:
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.matches(given.strip()):
        return True
    # By hand: the library refuses all cookies of a host for one odd name among them.
    cookies = (each.strip().partition("=") for each in headers.get("cookie", "").split(";"))
    return any(name == token.cookie_name and token.matches_cookie(value) for name, _, value in cookies)


def page(body: bytes, status: int = HTTPStatus.OK, *headers: tuple[str, str]) -> Answer:
    """Answer with HTML that nobody keeps."""
    return made(status, body, ("Content-Type", "text/html; charset=utf-8"), ("Cache-Control", "no-store"), *headers)


def refusal(status: int, sentence: str, *headers: tuple[str, str]) -> Answer:
    """Answer with an error and one sentence."""
    plain = ("Content-Type", "text/plain; charset=utf-8")
    return made(status, sentence.encode(), plain, ("Cache-Control", "no-store"), *headers)


def made(status: int, body: bytes, *headers: tuple[str, str]) -> Answer:
    """Make an answer with the headers that all have."""
    return Answer(int(status), (*HEADERS, *headers, ("Content-Length", str(len(body)))), body)
