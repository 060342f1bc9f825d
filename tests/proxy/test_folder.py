"""A folder lives as long as its process, and no longer than until the next one starts."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from sidecar.proxy import folder
from sidecar.proxy.folder import PREFIX, Folder

KILLED = """
import os, pathlib, sys
from sidecar.proxy.folder import Folder
path = Folder(pathlib.Path(sys.argv[1])).path
(path / "records.sock").touch()
print(path, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_folder_is_this_users_alone_and_is_removed_when_it_is_closed(tmp_path: Path) -> None:
    own = Folder(tmp_path)
    (own.path / "records.sock").touch()
    assert own.path.parent == tmp_path
    assert own.path.stat().st_mode & 0o77 == 0
    own.close()
    own.close()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run((sys.executable, "-c", KILLED, str(tmp_path)), check=False, capture_output=True, text=True)
    left = Path(killed.stdout.strip())
    assert (left / "records.sock").exists()
    own = Folder(tmp_path)
    assert list(tmp_path.iterdir()) == [own.path]
    own.close()


def test_what_a_living_process_or_somebody_else_has_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living = Folder(tmp_path)
    other = tmp_path / "claude-sidecar-demo-1"
    other.mkdir()
    target = tmp_path / "target"
    target.mkdir()
    link = tmp_path / f"{PREFIX}link"
    link.symlink_to(target)
    file = tmp_path / f"{PREFIX}file"
    file.touch()
    second = Folder(tmp_path)
    assert {living.path, other, target, link, file, second.path} == set(tmp_path.iterdir())
    second.close()
    living.close()

    anothers = tmp_path / f"{PREFIX}anothers"
    anothers.mkdir()
    monkeypatch.setattr("os.getuid", lambda: os.geteuid() + 1)
    folder.sweep(tmp_path)
    assert anothers.exists()


def test_one_that_somebody_sweeps_away_as_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    make = tempfile.mkdtemp

    def swept_at_once(**wanted: Any) -> str:
        made.append(make(**wanted))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr("tempfile.mkdtemp", swept_at_once)
    own = Folder(tmp_path)
    assert [str(own.path)] == made[1:]
    assert own.path.is_dir()
    own.close()


def test_where_nothing_can_be_locked_a_folder_is_had_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError

    monkeypatch.setattr("fcntl.flock", broken)
    own = Folder(tmp_path)
    assert own.path.is_dir()
    own.close()
    assert not own.path.exists()
