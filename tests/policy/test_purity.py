"""The policies do no I/O and read no wall clock: what they import, and what they touch, is in these short lists."""

import ast
from pathlib import Path

import pytest

import sidecar.policy

FILES = sorted(Path(sidecar.policy.__file__).parent.glob("*.py"))
PURE = {
    *("collections", "contextlib", "contextvars", "dataclasses", "datetime", "email", "enum", "functools", "logging"),
    *("math", "random", "re", "threading", "time", "tomllib", "types", "typing", "sidecar"),
}


def imported(tree: ast.AST) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    return names


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_it_imports_nothing_that_can_reach_outside(file: Path) -> None:
    assert imported(ast.parse(file.read_text())) <= PURE


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_time_and_chance_come_from_outside(file: Path) -> None:
    tree = ast.parse(file.read_text())
    used = {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        if node.value.id in {"time", "random", "datetime"}
    }
    assert used <= {"time.monotonic", "datetime.combine"}
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"open", "print", "time.monotonic", "sleep", "input"}


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 10
