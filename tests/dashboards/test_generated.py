"""The JSON files are what the code makes, to the byte."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.dashboards import Settings, bundle
from tests.dashboards.boards import BOARDS, FOLDER, ROOT

DATA = Path("sidecar", "dashboards", "data")

UIDS = {
    "claude-overview",
    "claude-latency",
    "claude-timeouts-retries",
    "claude-breakers-limits",
    "claude-slo",
    "claude-tokens",
    "claude-sidecar-health",
}


def generate(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dashboards.src", *arguments]
    return subprocess.run(command, cwd=root, check=False, capture_output=True, text=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a checkout of its own, in which a file may be changed."""
    for part in (Path("dashboards", "src"), DATA):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_regenerating_changes_nothing() -> None:
    done = generate(ROOT, "--check")
    assert done.returncode == 0, done.stderr


def test_exporting_changes_nothing() -> None:
    """What stands in dashboards/ is what the package exports, and nothing else."""
    there = {
        str(path.relative_to(FOLDER)): path.read_text(encoding="utf-8")
        for path in FOLDER.rglob("*")
        if path.is_file() and "src" not in path.relative_to(FOLDER).parts
    }
    assert there == bundle(Settings())


def test_a_changed_byte_is_found_and_mended(checkout: Path) -> None:
    board = checkout / DATA / "claude-overview.json"
    before = board.read_bytes()
    board.write_bytes(before.replace(b"Overview", b"overview", 1))
    done = generate(checkout, "--check")
    assert done.returncode == 1
    assert "claude-overview.json" in done.stderr
    assert "make dashboards" in done.stderr
    assert generate(checkout).returncode == 0
    assert board.read_bytes() == before


def test_a_dashboard_that_is_no_longer_made_is_found_and_removed(checkout: Path) -> None:
    left = checkout / DATA / "claude-yesterday.json"
    left.write_text("{}")
    assert "claude-yesterday.json" in generate(checkout, "--check").stderr
    assert generate(checkout).returncode == 0
    assert not left.exists()


def test_the_set_is_complete_and_its_uids_are_what_alerts_and_bookmarks_point_to() -> None:
    assert set(BOARDS) == UIDS
    assert {board["uid"] for board in BOARDS.values()} == UIDS
