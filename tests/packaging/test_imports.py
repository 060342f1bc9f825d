"""What an import costs: our users pay for what they use, and nothing before."""

import subprocess
import sys

import pytest


def modules_after(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "statement", ["import sidecar", "import sidecar.model", "import sidecar.cli", "import sidecar.pytest_plugin"]
)
@pytest.mark.parametrize("heavy", ["anthropic", "opentelemetry.sdk", "opentelemetry.trace", "httpx2", "rich"])
def test_importing_us_does_not_import_what_is_heavy(statement: str, heavy: str) -> None:
    assert heavy not in modules_after(statement)


def test_a_name_we_do_not_have_is_an_attribute_error() -> None:
    import sidecar

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = sidecar.nonsense  # type: ignore[attr-defined]


def test_every_public_name_loads() -> None:
    import sidecar

    assert [name for name in sidecar.__all__ if getattr(sidecar, name, None) is None] == []
