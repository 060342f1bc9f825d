"""An end that was asked for comes where the demo waits, and nowhere else."""

import signal
import subprocess
import sys

import pytest

ASKED = """
import os, pathlib, sys
from sidecar.demo import Process
from sidecar.demo.interrupt import listen, pause
listen()
pause(0)
for _ in range(2):
    os.kill(os.getpid(), int(sys.argv[1]))
print("what was begun is finished")
try:
    {waiting}
except KeyboardInterrupt:
    print("ended here")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "waiting", ["pause(600)", "Process(['touch', sys.argv[2]], pathlib.Path(sys.argv[2]))"], ids=["wait", "start"]
)
def test_asked_in_the_middle_it_ends_at_the_next_pause_and_starts_nothing_more(
    waiting: str, number: signal.Signals, tmp_path_factory: pytest.TempPathFactory
) -> None:
    untouched = tmp_path_factory.mktemp("folder") / "file"
    command = [sys.executable, "-c", ASKED.format(waiting=waiting), str(int(number)), str(untouched)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert told.stdout.splitlines() == ["what was begun is finished", "ended here"]
    assert not untouched.exists()


def test_asked_while_it_waits_it_ends_at_once() -> None:
    code = "from sidecar.demo.interrupt import listen, pause; listen(); print(flush=True); pause(600)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
