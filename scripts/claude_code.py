"""Runs the Claude Code CLI against the fake API, straight and through a real `sidecar proxy`, and compares.

``make test-claude-code`` installs it from npm into .venv (some 360 MB) and asks it to say something, once without
faults and once with a 529 at first. Its answer must be the same either way, and the proxy must have counted what
happened.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from scripts.proxy_kit import Page, chaos, get, proxy
from sidecar.demo.loopback import opened

ROOT: Final = Path(__file__).parents[1]
VERSION: Final = "2.1.329"
PATIENCE: Final = 120
_OVERLOADED: Final = 529


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the API does first, and what the proxy must then say of the calls (the CLI makes several)."""

    name: str
    faults: str
    failed: int
    """How many attempts, of the first call."""


CASES: Final = (Case(name="all well", faults="", failed=0), Case(name="529 once", faults="529", failed=1))


def installed() -> Path:
    """Install the CLI where it is not; return its program."""
    home = ROOT / ".venv" / f"claude-code-{VERSION}"
    program = home / "node_modules" / ".bin" / "claude"
    made = home / ".made"
    if not made.exists():
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        # Its own install step, which npm may ask to be allowed, only puts the native program in the stub's place.
        npm = [
            "npm",
            "install",
            "--prefix",
            str(home),
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--loglevel=error",
        ]
        subprocess.run([*npm, f"@anthropic-ai/claude-code@{VERSION}"], check=True, env=_environment())
        package = home / "node_modules" / "@anthropic-ai" / "claude-code"
        subprocess.run(["node", package / "install.cjs"], check=True, env=_environment())
        made.touch()
    return program


def said(program: Path, url: str) -> str:
    """Ask it through this address; return what it says."""
    with tempfile.TemporaryDirectory(prefix="claude-code-") as home:
        environment = {
            "PATH": _environment()["PATH"],
            "HOME": home,
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "any",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        }
        ran = subprocess.run(
            [program, "-p", "Hello"],
            cwd=home,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    if ran.returncode:
        raise SystemExit(f"claude -p ended with {ran.returncode}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def played(case: Case, program: Path) -> list[str]:
    """Play one case both ways, each in front of an API of its own: the same seed gives the same answers."""
    answers = []
    wrong: list[str] = []
    for way in ("straight", "through the proxy"):
        with tempfile.TemporaryDirectory(prefix="sidecar-cli-") as folder:
            home = Path(folder)
            api, api_url = chaos(home, "chaos", "instant")
            with api:
                if case.faults:
                    opened(f"{api_url}/chaos/next", PATIENCE, case.faults.encode()).close()
                if way == "straight":
                    answers.append(said(program, api_url))
                    continue
                running, url, admin = proxy(home, "proxy", api_url)
                with running:
                    answers.append(said(program, url))
                    wrong = settled(case, admin, api_url)
    if answers[0] != answers[1] or not answers[0].strip():
        wrong.append(f"it said {answers[0]!r} without, {answers[1]!r} with the proxy")
    print(f"{case.name}: {len(answers[1])} characters, {'as' if not wrong else 'NOT as'} without the proxy", flush=True)
    return [f"{case.name}: {each}" for each in wrong]


def settled(case: Case, admin: str, api_url: str) -> list[str]:
    """Wait until the proxy has told what must be told; return what is wrong for good."""
    give_up = time.monotonic() + PATIENCE / 10
    while True:
        page = Page(get(f"http://{admin}/metrics"))
        wrong = list(misread(case, page, get(f"{api_url}/chaos/truth")))
        if not wrong or time.monotonic() > give_up:
            return wrong
        time.sleep(0.1)


def misread(case: Case, page: Page, truth: str) -> Iterator[str]:
    """Compare the proxy's counts with what happened."""
    attempts = json.loads(truth)["attempts"]
    asked = [each for each in attempts if each["endpoint"] == "messages"]
    calls = len(asked) - case.failed
    expected = {
        "attempts": (page.total("claude_attempts_total", endpoint="messages"), len(asked)),
        "calls": (page.total("claude_calls_total", endpoint="messages"), calls),
        "inferred calls that ended well": (
            page.total("claude_calls_total", endpoint="messages", source="inferred", outcome="ok"),
            calls,
        ),
        "retries after an overload": (page.total("claude_retries_total", reason="overloaded"), case.failed),
        "recovered calls": (page.total("claude_retried_calls_total", result="recovered"), case.failed),
        "requests of 529": (sum(each["status"] == _OVERLOADED for each in asked), case.failed),
    }
    for what, (count, right) in expected.items():
        if count != right or not asked:
            yield f"{what}: {count:.0f}, not {right}"


def _environment() -> dict[str, str]:
    """Give npm and the CLI the Node of the development packages."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def main() -> None:
    """Run from the command line."""
    program = installed()
    faults = [fault for case in CASES for fault in played(case, program)]
    for fault in faults:
        print(f"test-claude-code: {fault}", file=sys.stderr)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
