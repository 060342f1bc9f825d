"""docs/dashboards.md names what there is, and its commands run."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.cli import main
from tests.dashboards.boards import BOARDS, ROOT

TEXT = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.strip()
]


def test_every_dashboard_is_listed_by_its_title_and_uid() -> None:
    listed = dict(re.findall(r"^\| ([^|]+?) \| `(claude-[\w-]+)` \|", TEXT, re.MULTILINE))
    assert listed == {board["title"].removeprefix("Claude / "): uid for uid, board in BOARDS.items()}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "sidecar"
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    assert len(list((tmp_path / "grafana").iterdir())) >= len(BOARDS)


def test_the_files_and_pictures_that_are_named_exist() -> None:
    named = re.findall(r"`((?:dashboards|sidecar|benchmarks)/[\w./]+)`", TEXT)
    named += [f"docs/{path}" for path in re.findall(r"\]\((images/[^)]+)\)", TEXT)]
    assert named
    assert [name for name in named if not (ROOT / name).exists() and "NAME" not in name] == []


def test_the_picture_is_small_enough_to_load() -> None:
    for picture in (ROOT / "docs" / "images").glob("*.png"):
        assert picture.stat().st_size < 400_000
        assert picture.read_bytes().startswith(b"\x89PNG")
