"""Runs mutmut over sidecar/policy, and fails when too many mutants live or when one of them is not explained.

An explanation stands in tests/policy/SURVIVORS.md and quotes the line as the mutant has it: mutmut's own numbers
change with every edit.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTMUT = Path(sys.executable).parent / "mutmut"
LEAST_KILLED = 0.95
LIVING = ("survived", "suspicious", "no tests", "skipped")


def mutmut(*words: str) -> str:
    return subprocess.run([MUTMUT, *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def changed_line(mutant: str) -> str:
    """Find the line a mutant puts in place of another, or "without" the one it takes out, and no indentation."""
    lines = mutmut("show", mutant).splitlines()
    added = [line[1:].strip() for line in lines if line.startswith("+") and not line.startswith("+++")]
    taken = [line[1:].strip() for line in lines if line.startswith("-") and not line.startswith("---")]
    return added[0] if added else f"without {taken[0]}"


def main() -> int:
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    subprocess.run([MUTMUT, "run", "--max-children", "2"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    states = dict(
        line.strip().rsplit(": ", 1) for line in mutmut("results", "--all", "true").splitlines() if ": " in line
    )
    alive = sorted(name for name, state in states.items() if state in LIVING)
    explained = (ROOT / "tests/policy/SURVIVORS.md").read_text()
    missing = 0
    for name in alive:
        line = changed_line(name)
        known = f"`{line}`" in explained
        missing += not known
        print(f"{'explained' if known else 'NOT EXPLAINED':14}{states[name]:10}{name}: {line}")
    killed = 1 - len(alive) / len(states)
    print(json.dumps({"mutants": len(states), "alive": len(alive), "killed": round(killed, 4), "unexplained": missing}))
    return int(killed < LEAST_KILLED or missing > 0)


if __name__ == "__main__":
    sys.exit(main())
