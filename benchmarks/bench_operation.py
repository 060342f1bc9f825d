"""How soon `sidecar proxy` takes requests, and what it holds while idle, beside a bare interpreter."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

RUNS = 5
START_TARGET = 0.3
MEMORY_TARGET = 32.0
SIDECAR = str(Path(sys.executable).with_name("sidecar"))
# A TLS upstream that refuses: nothing is sent anywhere, but certificates are loaded as they are for the API.
PROXY = [SIDECAR, "proxy", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--upstream", "https://127.0.0.1:1"]
# An installer compiles what it installs; this checkout may have been told not to.
ENVIRON = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
NOTHING = [sys.executable, "-c", "import sys; sys.stderr.write('listening\\n'); sys.stderr.flush(); sys.stdin.read()"]


def start(command: list[str]) -> tuple[float, float, float]:
    """Start it; return the seconds until it said so, the CPU seconds in them, and the MB it holds a moment later."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRON) as process:  # noqa: S603  # our own
        line = process.stderr.readline() if process.stderr else ""
        seconds = time.perf_counter() - began
        proc = Path(f"/proc/{process.pid}")
        ticks = sum(
            int(field) for field in (proc / "stat").read_text(encoding="ascii").rpartition(")")[2].split()[11:13]
        )
        time.sleep(1.0)
        found = re.search(r"VmRSS:\s+(\d+) kB", (proc / "status").read_text(encoding="ascii"))
        process.kill()
    if "listening" not in line or found is None:
        raise SystemExit(f"{command[0]} did not start: {line}")
    return seconds, ticks / os.sysconf("SC_CLK_TCK"), int(found[1]) / 1024


def main() -> None:
    rows = {"bare interpreter": NOTHING, "sidecar proxy": PROXY, "the same, 2 workers": [*PROXY, "--workers", "2"]}
    targets = f"targets {START_TARGET} s, {MEMORY_TARGET:.0f} MB"
    print(f"{'':24}{'ready':>10}{'CPU':>10}{'idle':>12}   (best, best and median of {RUNS}; {targets})")
    for name, command in rows.items():
        start(command)  # whatever has not been compiled yet is now
        seconds, cpu, memory = zip(*(start(command) for _ in range(RUNS)), strict=True)
        print(f"{name:24}{min(seconds):>8.2f} s{min(cpu):>8.2f} s{median(memory):>9.1f} MB")


if __name__ == "__main__":
    main()
