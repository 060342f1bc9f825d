"""Runs the tests against the oldest and the newest supported dependencies, each in an environment of its own.

"Oldest" are the lower bounds of pyproject.toml for the three libraries whose behaviour we lean on; "newest" is
whatever the registry has today. Arguments go to pytest.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEANED_ON = ("anthropic", "prometheus-client", "opentelemetry-sdk")


def lower_bounds(project: dict[str, list[str]]) -> list[str]:
    """Turn ``name>=x`` into ``name==x`` for what we lean on; opentelemetry's parts move together."""
    pins = {}
    for requirement in project["dependencies"]:
        name, found, bound = requirement.partition(";")[0].partition(">=")
        if found and name.strip() in LEANED_ON:
            pins[name.strip()] = bound.strip()
    missing = set(LEANED_ON) - set(pins)
    if missing:
        sys.exit(f"matrix: pyproject.toml has no lower bound for {', '.join(sorted(missing))}")
    otel = pins["opentelemetry-sdk"]
    extras = {"opentelemetry-exporter-otlp-proto-http": otel, "opentelemetry-proto": otel}
    return [f"{name}=={bound}" for name, bound in (pins | extras).items()]


def main() -> None:
    """Make each environment, say what is in it, run the tests in it, and fail if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["oldest", "newest"], help="run one column of the matrix")
    options, pytest_args = parser.parse_known_args()

    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    columns = {"oldest": lower_bounds(pyproject["project"]), "newest": []}
    failed = []
    for column, pins in columns.items():
        if options.only not in {None, column}:
            continue
        print(f"== {column}: {', '.join(pins) or 'whatever is newest'}", flush=True)
        with tempfile.TemporaryDirectory(prefix="sidecar-matrix-") as scratch:
            home = Path(scratch, "venv")
            python = str(home / "bin" / "python")
            uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}") or "uv"
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(home)], check=True)
            install = [uv, "pip", "install", "--quiet", "--python", python, "--upgrade"]
            target = [f"--group={name}" for name in pyproject["dependency-groups"]]
            target += ["--editable", f".[{','.join(pyproject['project']['optional-dependencies'])}]", *pins]
            subprocess.run([*install, *target], cwd=ROOT, check=True)
            command = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *pytest_args]
            env = os.environ | {"PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
            if subprocess.run(command, cwd=ROOT, env=env, check=False).returncode:
                failed.append(column)
    if failed:
        sys.exit(f"matrix: failed with the {' and the '.join(failed)} dependencies")


if __name__ == "__main__":
    main()
