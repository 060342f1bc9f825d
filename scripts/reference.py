"""Writes the reference pages of docs/reference from what they tell of, so that they cannot be out of date.

``make reference`` runs this; a test compares the pages with what this would write.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sidecar.alerts import alert_groups, load_values  # noqa: E402  # the checkout comes first
from sidecar.cli import main as commands  # noqa: E402
from sidecar.rules import Alert  # noqa: E402
from sidecar.telemetry import reference  # noqa: E402

WIDTH: Final = 100
_MADE: Final = "<!-- made by scripts/reference.py: change what it tells of, then run `make reference` -->"
_SAID_ABOVE: Final = ("enabled", "severity", "for", "keep")
RUNBOOKS: Final = ROOT / "alerts" / "runbooks"
PAGES: Final = ROOT / "docs" / "reference"


def cli() -> str:
    """Tell of every command what its ``--help`` says."""
    return "\n".join(["# Commands", "", _MADE, "", *_command(commands, "sidecar", None)]).rstrip() + "\n"


def _command(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command,
        info_name=path.rpartition(" ")[2],
        parent=parent,
        **{**command.context_settings, "terminal_width": WIDTH, "max_content_width": WIDTH},
    )
    yield from (
        f"## {path}",
        "",
        "```text",
        *(line.rstrip() for line in command.get_help(context).splitlines()),
        "```",
        "",
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            if child is not None and not child.hidden:
                yield from _command(child, f"{path} {name}", context)


def alerts() -> str:
    """Tell of every alert what it means, what it asks, and which numbers in that may be changed."""
    values = load_values()
    built = {rule.name: rule for group in alert_groups(values) for rule in group.rules if isinstance(rule, Alert)}
    lines = ["# Alerts, one by one", "", _MADE, "", "[Alerts](../alerts.md) tells how they are loaded and changed.", ""]
    for name, settings in values.alerts.items():
        if name in built:
            lines += _alert(built[name], settings.given)
    return "\n".join(lines).rstrip() + "\n"


def _alert(rule: Alert, given: Mapping[str, Any]) -> Iterator[str]:
    meaning = (
        (RUNBOOKS / f"{rule.name}.md").read_text().partition("## What it means\n")[2].partition("\n## ")[0].strip()
    )
    yield from (f"## {rule.name}", "", meaning, "")
    begins = "as soon as it holds" if given["for"] == "0s" else f"when it holds for {given['for']}"
    ends = "" if given["keep"] == "0s" else f"; told for {given['keep']} after it stopped"
    yield f"- **{given['severity']}**, {begins}{ends}"
    numbers = ", ".join(f"`{name}` {_shown(value)}" for name, value in given.items() if name not in _SAID_ABOVE)
    if numbers:
        yield f"- {numbers}"
    yield f"- [what to do](../../alerts/runbooks/{rule.name}.md)"
    yield from ("", "```promql", *rule.expr.splitlines(), "```", "")


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_shown(each)}" for key, each in value.items()) + ")"
    return f"{value:g}" if isinstance(value, int | float) else str(value)


def metric_page() -> str:
    """Give docs/metrics.md with the table of families as it is now."""
    return reference.updated((ROOT / "docs" / "metrics.md").read_text())


MADE: Final[Mapping[Path, Callable[[], str]]] = {
    PAGES / "alerts.md": alerts,
    PAGES / "cli.md": cli,
    ROOT / "docs" / "metrics.md": metric_page,
}


def main() -> None:
    """Write what is out of date."""
    for path, make in MADE.items():
        page = make()
        if not path.exists() or path.read_text() != page:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(page)
            print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
