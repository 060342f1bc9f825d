"""Who may import whom: the rule that keeps each part usable, and understandable, on its own."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "sidecar"

# Part of the package -> what of ours it may import. `cli` and the facade are the places that know all.
MAY_IMPORT = {
    "model": set[str](),
    "wire": {"model"},
    "policy": {"model"},
    "telemetry": {"model", "_version"},
    "admin": {"console", "telemetry"},
    "console": {"model", "telemetry", "slo", "alerts", "_version"},
    "chaos": {"model", "wire"},
    "rules": {"model"},
    "slo": {"model", "rules", "_version"},
    "dashboards": set[str](),
    "demo": set[str](),
    "alerts": {"model", "rules", "slo", "_version"},
    "client": {"admin", "config", "model", "policy", "telemetry", "wire"},
    "config": {"model"},
    "proxy": {"admin", "config", "model", "policy", "telemetry", "wire"},
}


def imports_of(file: Path) -> set[str]:
    """Collect the parts of ours that a file imports, wherever in it the import stands."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {
                f"{node.module}.{alias.name}" if node.module == "sidecar" else node.module for alias in node.names
            }
    return {module.split(".")[1] for module in modules if module.startswith("sidecar.")}


@pytest.mark.parametrize("part", MAY_IMPORT)
def test_a_part_imports_only_what_it_may(part: str) -> None:
    files = sorted((PACKAGE / part).rglob("*.py"))
    assert files, f"sidecar/{part} has no modules: does this test still name the parts that there are?"
    strangers = {
        f"{file.relative_to(PACKAGE)} imports sidecar.{name}"
        for file in files
        for name in imports_of(file) - MAY_IMPORT[part] - {part}
    }
    assert strangers == set()


def test_every_part_has_its_rule() -> None:
    parts = {init.parent.name for init in PACKAGE.glob("*/__init__.py")}
    assert parts - {"cli"} == set(MAY_IMPORT)


def test_only_the_command_line_knows_the_command_line() -> None:
    knowing = {
        str(file.relative_to(PACKAGE))
        for file in PACKAGE.rglob("*.py")
        if "cli" in imports_of(file) and file.relative_to(PACKAGE).parts[0] != "cli"
    }
    assert knowing == set()
