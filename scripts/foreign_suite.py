"""Run somebody else's test suite twice, without and with `sidecar.install()`, and compare test by test.

`python scripts/foreign_suite.py sdk` takes the Anthropic SDK's own suite, `... langchain` the unit tests of
langchain-anthropic: each from its source distribution, in a scratch environment under `build/`.
"""

import argparse
import subprocess
import sys
import tarfile
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
BUILD: Final = ROOT / "build" / "suites"
PLUGIN: Final = "sidecar_installed"


@dataclass(frozen=True, slots=True)
class Suite:
    """Whose tests, and what they need."""

    package: str
    version: str
    tests: tuple[str, ...]
    extras: str = ""
    groups: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


SUITES: Final = {
    "sdk": Suite(
        package="anthropic",
        version=version("anthropic"),
        tests=("tests",),
        extras="[aiohttp,aws,bedrock,google-cloud,mcp,vertex,webhooks]",
        groups=("dev",),
        # These need the mock server that the SDK's authors generate from their OpenAPI document.
        options=("--ignore=tests/api_resources",),
    ),
    "langchain": Suite(
        package="langchain-anthropic",
        version="1.7.7",
        tests=("tests/unit_tests",),
        groups=("test",),
        options=("-p", "no:cacheprovider", "--disable-socket", "--allow-unix-socket"),
    ),
}
_NOT_NEEDED: Final = (
    "pyright",
    "ruff",
    "mypy",
    "boto3-stubs",
    "griffe",
    "types-",
    "langchain-core @",
    "pytest-watcher",
)


def run(command: Sequence[str | Path], cwd: Path = ROOT, *, check: bool = True) -> int:
    """Run a command, and stop here when it fails."""
    print("+", *map(str, command), flush=True)
    return subprocess.run([str(word) for word in command], cwd=cwd, check=check).returncode


def source_of(suite: Suite) -> Path:
    """Download and unpack the source distribution."""
    home = BUILD / suite.package
    home.mkdir(parents=True, exist_ok=True)
    wanted = f"{suite.package}=={suite.version}"
    found = f"{suite.package.replace('-', '_')}-{suite.version}.tar.gz"
    if not (home / found).exists():
        pip: list[str | Path] = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            ":all:",
            wanted,
        ]
        run([*pip, "--dest", home])
    source = home / found.removesuffix(".tar.gz")
    if not source.exists():
        with tarfile.open(home / found) as tar:
            tar.extractall(home, filter="data")
    return source


def python_for(suite: Suite, source: Path) -> Path:
    """Make the environment: the suite's package and what its tests need, and ourselves."""
    python = source.parent / "venv" / "bin" / "python"
    if (source.parent / "venv" / ".made").exists():
        return python
    uv = [str(ROOT / ".venv" / "bin" / "uv")]
    run([*uv, "venv", "--quiet", "--seed", "--clear", "--python", sys.executable, str(source.parent / "venv")])
    groups = tomllib.loads((source / "pyproject.toml").read_text()).get("dependency-groups", {})
    needs = [
        need
        for group in suite.groups
        for need in groups.get(group, ())
        if isinstance(need, str) and not need.startswith(_NOT_NEEDED)
    ]
    install: list[str | Path] = [*uv, "pip", "install", "--quiet", "--no-sources", "--python", python]
    run([*install, f"{source}{suite.extras}", *needs, "-e", str(ROOT)])
    (source.parent / "venv" / ".made").touch()
    return python


def outcomes(suite: Suite, source: Path, python: Path, *, installed: bool) -> dict[str, str]:
    """Run the suite; give each test's outcome."""
    report = source.parent / ("with.xml" if installed else "without.xml")
    report.unlink(missing_ok=True)
    plugin = ["-p", PLUGIN] if installed else []
    (source / f"{PLUGIN}.py").write_text("import sidecar\n\nsidecar.install(telemetry=sidecar.Telemetry())\n")
    command: list[str | Path] = [python, "-m", "pytest", *plugin, *suite.tests, *suite.options, "-q", "--no-header"]
    run([*command, f"--junit-xml={report}"], cwd=source, check=False)
    found = {}
    for case in ET.parse(report).iter("testcase"):  # noqa: S314  # pytest's own report
        kinds = {child.tag for child in case}
        outcome = next((kind for kind in ("error", "failure", "skipped") if kind in kinds), "passed")
        found[f"{case.get('classname')}::{case.get('name')}"] = outcome
    return found


def main() -> int:
    """Run both ways and tell the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    suite = SUITES[parser.parse_args().suite]
    source = source_of(suite)
    python = python_for(suite, source)
    without = outcomes(suite, source, python, installed=False)
    within = outcomes(suite, source, python, installed=True)
    differing = sorted(name for name in without.keys() | within.keys() if without.get(name) != within.get(name))
    for name, results in (("without", without), ("with", within)):
        counts = {kind: sum(1 for each in results.values() if each == kind) for kind in sorted(set(results.values()))}
        print(f"{source.name} {name:>8} sidecar.install(): {counts}")
    for name in differing:
        print(f"DIFFERS {name}: {without.get(name)} without, {within.get(name)} with")
    print(f"{len(differing)} differences")
    return 1 if differing or not without else 0


if __name__ == "__main__":
    sys.exit(main())
