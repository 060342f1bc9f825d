"""What the pages name is there: links, commands and their options, metrics, targets of make; and their data parses."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import pytest
import yaml

from sidecar.alerts import ALERT_NAMES
from sidecar.cli import main
from sidecar.telemetry.families import FAMILIES

ROOT: Final = Path(__file__).parents[2]
PAGES: Final = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_BLOCK: Final = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\]\((?!https?://|mailto:)([^)\s#]*)(?:#([^)\s]+))?\)")
_SUFFIXES: Final = ("", "_bucket", "_count", "_sum")


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in _BLOCK.findall(page.read_text()) if language in languages]


def anchors(page: Path) -> set[str]:
    """Name the places in a page that can be linked to, as the repository's pages spell them."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def commands(page: Path) -> Iterator[list[str]]:
    """Give the words of each line that runs one of our commands."""
    typed = [line for text in blocks(page, "sh", "bash") for line in text.replace("\\\n", " ").splitlines()]
    typed += [line[2:] for text in blocks(page, "console") for line in text.splitlines() if line.startswith("$ ")]
    for line in typed:
        if found := re.match(r"(?:[A-Z_]+=\S+ )*(sidecar(?: [^#&|>]*)?)$", line.partition(" #")[0].rstrip("& ")):
            yield shlex.split(found[1])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for path, anchor in _LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(f"{path}#{anchor}")
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_their_options_exist(page: Path) -> None:
    for words in commands(page):
        command: click.Command = main
        context = click.Context(main, **main.context_settings)
        rest = words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(context, rest[0])
            assert found, f"{' '.join(words)}: there is no {rest[0]}"
            command, rest = found, rest[1:]
        there = {name for parameter in command.get_params(context) for name in parameter.opts} | {"--help", "--version"}
        if command.name != "run":  # what follows is another program's
            used = {word.partition("=")[0] for word in rest if word.startswith("--")}
            assert used <= there, f"{' '.join(words)}: there is no {used - there}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_metrics_and_alerts_that_are_named_exist(page: Path) -> None:
    families = {f"{family.name}{suffix}" for family in FAMILIES for suffix in _SUFFIXES}
    text = page.read_text()
    named = set(
        re.findall(r"\b(?:claude|sidecar)_[a-z_]+_(?:total|seconds|ratio|tokens|state|info|flight)(?:_[a-z]+)?\b", text)
    )
    assert {name for name in named if name not in families} == set()
    assert set(re.findall(r"\bClaude[A-Z][A-Za-z0-9]+\b", text)) <= {*ALERT_NAMES, "ClaudeErrorBudgetBurn"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_data_parses(page: Path) -> None:
    for text in blocks(page, "yaml"):
        list(yaml.safe_load_all(text))
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in blocks(page, "json"):
        json.loads(text)


def test_targets_of_make_exist() -> None:
    there = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= there, page.name
