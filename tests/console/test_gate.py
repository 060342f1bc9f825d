"""Who may see the console: nobody from another site, nobody from another machine without the token."""

import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.console import Asked, Console, Token, TokenError, Viewer, asked, read_token
from sidecar.console.gate import HEADERS
from sidecar.telemetry import Telemetry
from sidecar.telemetry.page import Answer

SECRET = "correct-horse-battery"  # noqa: S105  # of this test
TOKEN = Token(SECRET)
PRIVATE = ("/", "/api/v1/status", "/api/v1/events")


def ask(
    path: str, *, query: str = "", method: str = "GET", remote: bool = False, token: Token | None = None, **headers: str
) -> Answer:
    console = Console(Telemetry(), mode="collect", remote=remote, token=token)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = console.answer(asked(method, path, query, names))
    if isinstance(answer, Viewer):
        answer.close()
        return Answer(200, answer.headers, b"")
    return answer


def header(answer: Answer, name: str) -> str | None:
    return dict(answer.headers).get(name)


@pytest.mark.parametrize("path", PRIVATE)
def test_this_machine_needs_no_token(path: str) -> None:
    assert ask(path).status == 200


@pytest.mark.parametrize("path", PRIVATE)
def test_other_machines_see_nothing_while_there_is_no_token(path: str) -> None:
    answer = ask(path, remote=True)
    assert answer.status == 403
    assert b"SIDECAR_CONSOLE_TOKEN" in answer.body


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("path", PRIVATE)
def test_a_token_that_is_set_is_asked_for(path: str, remote: bool) -> None:
    assert ask(path, token=TOKEN, remote=remote).status == 401
    assert ask(path, token=TOKEN, remote=remote, authorization="Bearer wrong").status == 401
    assert ask(path, token=TOKEN, remote=remote, authorization=f"Basic {SECRET}").status == 401
    assert ask(path, token=TOKEN, remote=remote, authorization=f"Bearer {SECRET}").status == 200
    assert ask(path, token=TOKEN, remote=remote, authorization=f"bearer {SECRET}").status == 200


def test_people_get_a_form_and_programs_a_challenge() -> None:
    assert b'name="token"' in ask("/", token=TOKEN).body
    answer = ask("/api/v1/status", token=TOKEN)
    assert header(answer, "WWW-Authenticate") == 'Bearer realm="claude-sidecar console"'


def test_a_token_in_the_link_becomes_a_cookie_and_is_in_nothing_else() -> None:
    answer = ask("/", query=f"token={SECRET}", token=TOKEN)
    assert answer.status == 200
    assert b"url=/" in answer.body
    cookie = header(answer, "Set-Cookie") or ""
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
    assert SECRET not in f"{answer.headers}{answer.body!r}"
    kept = cookie.split(";")[0]
    for path in PRIVATE:
        assert ask(path, token=TOKEN, cookie=f"odd/name=1; {kept}").status == 200
    assert header(answer, "Cache-Control") == "no-store"
    assert header(answer, "Referrer-Policy") == "no-referrer"


def test_a_cookie_of_another_token_is_worth_nothing() -> None:
    other = Token("another-secret-of-length")
    assert ask("/", token=TOKEN, cookie=f"{TOKEN.cookie_name}={other.cookie}").status == 401
    assert ask("/", token=TOKEN, cookie=f"{other.cookie_name}={TOKEN.cookie}").status == 401
    assert other.cookie_name != TOKEN.cookie_name


@pytest.mark.parametrize("query", ["token=", "token=wrong", f"token={SECRET}&token=wrong", "token=%ff%00"])
def test_a_wrong_token_in_the_link_gets_the_form_again(query: str) -> None:
    answer = ask("/", query=query, token=TOKEN)
    assert answer.status == 401
    assert header(answer, "Set-Cookie") is None


def test_a_token_in_the_link_opens_only_the_page() -> None:
    assert ask("/api/v1/status", query=f"token={SECRET}", token=TOKEN).status == 401


@pytest.mark.parametrize("site", ["cross-site", "same-site", "nonsense"])
@pytest.mark.parametrize("path", PRIVATE[1:])
def test_other_sites_may_not_ask(path: str, site: str) -> None:
    assert ask(path, sec_fetch_site=site).status == 403
    assert ask(path, sec_fetch_site="same-origin").status == 200
    assert ask(path, sec_fetch_site="none").status == 200


def test_a_link_from_another_site_may_lead_to_the_page() -> None:
    assert ask("/", sec_fetch_site="cross-site").status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_it_only_reads(method: str) -> None:
    answer = ask("/", method=method)
    assert (answer.status, header(answer, "Allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize("path", [*PRIVATE, "/console/app.js"])
@pytest.mark.parametrize("token", [None, TOKEN])
def test_every_answer_forbids_what_a_browser_can_forbid(path: str, token: Token | None) -> None:
    answer = ask(path, token=token)
    assert set(HEADERS) <= set(answer.headers)
    policy = header(answer, "Content-Security-Policy") or ""
    assert "unsafe" not in policy
    assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy.split("; "))
    assert not [name for name, _ in answer.headers if name.lower().startswith("access-control")]


def test_code_without_numbers_needs_no_token() -> None:
    assert ask("/console/app.js", token=TOKEN, remote=True).status == 200


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_cookie_or_query_whatever_it_is_opens_or_breaks_it(cookie: str, query: str) -> None:
    assert ask("/", token=TOKEN, cookie=cookie, query=query, authorization=f"Bearer {query}").status == 401


def test_of_too_many_fields_none_counts() -> None:
    assert asked("GET", "/", "&".join(f"a{number}=1" for number in range(30)), {}) == Asked(
        method="GET", path="/", query={}, headers={}
    )


def test_the_token_comes_from_the_environment_or_a_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{SECRET}\n")
    file.chmod(stat.S_IRUSR)
    assert read_token({}) is None
    for environ in (
        {"SIDECAR_CONSOLE_TOKEN": SECRET, "SIDECAR_CONSOLE_TOKEN_FILE": "/nowhere"},
        {"SIDECAR_CONSOLE_TOKEN_FILE": str(file)},
    ):
        token = read_token(environ)
        assert token is not None
        assert token.matches(SECRET)
        assert SECRET not in repr(token)


@pytest.mark.parametrize("secret", ["short", "a" * 513, "with spaces in between", "mit-ümlauten-und-mehr"])
def test_a_weak_or_odd_token_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(TokenError, match=f"has {len(secret)} characters: it must have 16 to 512") as refused:
        read_token({"SIDECAR_CONSOLE_TOKEN": secret})
    assert secret not in str(refused.value)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="which cannot be read: No such file"):
        read_token({"SIDECAR_CONSOLE_TOKEN_FILE": str(tmp_path / "none")})
    (tmp_path / "odd").write_bytes(b"\xff" * 30)
    with pytest.raises(TokenError, match="it is not text"):
        read_token({"SIDECAR_CONSOLE_TOKEN_FILE": str(tmp_path / "odd")})
