"""The wheel users install, built and tried in an environment that holds nothing but it and its dependencies."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# A clean interpreter: no checkout on its path, no coverage, no caller's environment.
CLEAN_ENV = {name: os.environ[name] for name in ("PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR") if name in os.environ}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=ROOT,
        env=CLEAN_ENV,
        check=True,
        capture_output=True,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean_python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the interpreter of a fresh environment with the wheel and its locked dependencies."""
    home = tmp_path_factory.mktemp("clean") / "venv"
    uv = str(Path(sys.executable).with_name("uv"))
    python = home / "bin" / "python"
    for command in (
        [uv, "venv", "--quiet", "--python", sys.executable, str(home)],
        # The lock's hashes do not cover a wheel built here, so it serves as constraints.
        [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(python),
            "--constraint",
            _constraints(home.parent),
            str(wheel),
        ],
    ):
        done = subprocess.run(command, env=CLEAN_ENV, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return python


def _constraints(folder: Path) -> str:
    pins = [line.split(" \\")[0] for line in (ROOT / "requirements-dev.lock").read_text().splitlines() if "==" in line]
    file = folder / "constraints.txt"
    file.write_text("\n".join(pins))
    return str(file)


def run(python: Path, *args: str) -> str:
    done = subprocess.run(
        [python, *args], cwd=python.parent, env=CLEAN_ENV, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_imports_and_knows_its_types(clean_python: Path) -> None:
    code = "import sidecar, pathlib; p = pathlib.Path(sidecar.__file__).parent; print(p, (p / 'py.typed').exists())"
    where, typed = run(clean_python, "-W", "error", "-c", code).split()
    assert Path(where).is_relative_to(clean_python.parent.parent)
    assert typed == "True"


def test_the_wheel_brings_the_command(clean_python: Path) -> None:
    import sidecar

    assert run(clean_python.with_name("sidecar"), "--version").strip() == f"sidecar, version {sidecar.__version__}"


def test_every_command_of_the_wheel_explains_itself(clean_python: Path) -> None:
    from sidecar.cli import main

    for name in main.list_commands(None):  # type: ignore[arg-type]  # our lazy group does not look at it
        assert "Usage: sidecar " + name in run(clean_python.with_name("sidecar"), name, "--help")


def test_all_data_files_of_the_package_are_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "sidecar").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert there - packed == set()


def test_the_hook_of_sidecar_run_works_from_the_wheel(clean_python: Path) -> None:
    code = "import os; os.environ['SIDECAR_RUN'] = '1'; os.execv({0!r}, [{0!r}, '-I', '-c', {1!r}])"
    hooked = "import sys; print('sidecar.client.zero_code' in sys.modules)"
    assert run(clean_python, "-c", code.format(str(clean_python), hooked)).strip() == "True"
    assert run(clean_python, "-c", hooked).strip() == "False"
