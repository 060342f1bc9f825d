"""`sidecar demo` as a newcomer runs it: with real servers, and ended at any moment."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from sidecar.demo import find

SIDECAR: Final = Path(sys.executable).with_name("sidecar")
PATIENCE: Final = 60.0


@contextmanager
def demo(tmp_path: Path, *options: str, path: str | None = None) -> Iterator[subprocess.Popen[str]]:
    """Start it, with a folder for its temporary files that belongs to this test."""
    environment = {**os.environ, "TMPDIR": str(tmp_path), **({} if path is None else {"PATH": path})}
    process = subprocess.Popen(
        [SIDECAR, "demo", *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def left_behind(tmp_path: Path) -> list[str]:
    """Files, and processes that were told of the folder."""
    found = [str(path) for path in tmp_path.iterdir()]
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
            except OSError:
                continue
            if str(tmp_path) in words:
                found.append(words)
    return found


def remains(tmp_path: Path) -> list[str]:
    """Wait for what is still ending; what is there all the same was left behind."""
    end = time.monotonic() + PATIENCE
    while left_behind(tmp_path) and time.monotonic() < end:
        time.sleep(0.05)
    return left_behind(tmp_path)


def test_the_story_ends_well(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    watching = tmp_path_factory.mktemp("compose") / "watching"
    with demo(tmp_path, "--once", "--plain", "--compose", str(watching)) as process:
        told, _ = process.communicate(timeout=300)
    assert process.returncode == 0, told
    steps = re.findall(r"\[x\] ([^:]+):", told)
    assert steps[:2] == ["A calm API", "A timeout spike"]
    assert {"The alert arrives", "The breaker opens", "Retries recover", "The breaker closes"} < set(steps)
    assert steps.index("The alert arrives") < steps.index("The alert resolves")
    assert "webhook: FIRING ClaudeTimeoutSpike" in told
    assert (watching / "compose.yaml").exists()
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminate"])
@pytest.mark.parametrize("after", ["", "are running", "Prometheus evaluates", "console"], ids=lambda text: text or "0")
def test_ending_it_leaves_nothing_behind(after: str, number: signal.Signals, tmp_path: Path) -> None:
    with demo(tmp_path, "--plain") as process:
        assert process.stdout is not None
        if after:
            for line in process.stdout:
                if after in line:
                    break
        else:  # as soon as it has anything that could be left behind
            while not left_behind(tmp_path):
                time.sleep(0.01)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=PATIENCE)
    assert "nothing is left behind" in rest
    assert process.returncode == 0
    assert remains(tmp_path) == []


def test_without_prometheus_it_says_so_and_goes_on(tmp_path: Path) -> None:
    with demo(tmp_path, "--plain", path="/nowhere:/bin") as process:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "console (proxy)" in line:
                break
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
    (line,) = [line for line in said if "no alerts" in line]
    assert "prometheus is not on PATH" in line
    assert "apt-get install prometheus prometheus-alertmanager" in line
    assert remains(tmp_path) == []


def test_once_without_prometheus_is_refused_at_once(tmp_path: Path) -> None:
    with demo(tmp_path, "--once", path="/nowhere") as process:
        told, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "--once needs Prometheus and Alertmanager on PATH" in told


def test_the_tests_have_real_servers() -> None:
    assert find("prometheus").exists()
    assert find("alertmanager").exists()
