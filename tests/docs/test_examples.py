"""Every Python example of our pages runs as a reader would run it: in a process and a folder of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from sidecar.chaos import chaos_server

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    if page.name != "recipes.md"  # whose programs are of several files
]
EXAMPLES: Final = [
    pytest.param(page.stem, code, id=f"{page.stem}-{number}")
    for page in PAGES
    for number, code in enumerate(re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL))
]
FAULTS: Final = {"long-answers": "truncate;after=5;tokens=100;continue,ok;tokens=100;continue"}
"""What happens to the requests of a page's examples."""
SAYS: Final = {"long-answers": "Waiting is what a user feels first", "console": "http://127.0.0.1:"}
"""What an example of a page prints."""


@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_an_example_runs(page: str, code: str, tmp_path: Path) -> None:
    with chaos_server() as chaos:
        if page in FAULTS:
            chaos.enqueue(FAULTS[page])
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code.replace("9464", "0")],  # any port that is free
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={
                **os.environ,
                "ANTHROPIC_BASE_URL": chaos.url,
                "ANTHROPIC_API_KEY": "k",
                "SIDECAR_SOCKET": "s.sock",  # relative, as a socket's path must be short
            },
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert SAYS.get(page, "") in done.stdout


def test_none_is_overlooked() -> None:
    assert len(EXAMPLES) == sum(page.read_text().count("```python") for page in PAGES) >= 25
