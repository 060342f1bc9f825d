"""Writes the reference pages of docs/reference from what they tell of, so that they cannot be out of date.

``make reference`` runs this; a test compares the pages with what this would write.
"""

import ast
import dataclasses
import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from sidecar.alerts import alert_groups, load_values  # noqa: E402  # the checkout comes first
from sidecar.cli import main as commands  # noqa: E402
from sidecar.config import CLIENT  # noqa: E402
from sidecar.policy import BreakerConfig, Retry, Timeouts  # noqa: E402
from sidecar.policy.budget import BudgetConfig  # noqa: E402
from sidecar.proxy.limits import Limits  # noqa: E402
from sidecar.proxy.protect.settings import Protection  # noqa: E402
from sidecar.proxy.settings import LISTENERS, PROXY, RULES, UPSTREAMS  # noqa: E402
from sidecar.rules import Alert  # noqa: E402
from sidecar.telemetry import reference  # noqa: E402

_CONFIGURATION: Final = """
`sidecar.toml` is read from the working directory, or from where `$SIDECAR_CONFIG` or `--config` says. Settings of
`[client]` and `[proxy]` may also come from the environment, as `SIDECAR_` and the setting's name in capitals, where
that is a plain value. What code or the command line gives goes first, then the environment, then the file. Every fault
of a file is told at once, and then nothing of it is used. [The client](../client.md), [the proxy](../proxy.md),
[protection](../protection.md) and [policies](../policies.md) say what it all means. Times are in seconds, sizes in
bytes; `false` switches off what has no default.
"""
_SECTIONS: Final = (
    ("The client", "[client]", CLIENT),
    ("The proxy", "[proxy]", PROXY),
    ("More upstreams", "[proxy.upstreams.NAME]", UPSTREAMS),
    ("More listeners", "[[proxy.listeners]]", LISTENERS),
    ("Profiles by rule", "[[proxy.profiles]]", RULES),
)
_PARTS: Final = (
    ("The proxy's limits", "[proxy.limits]", Limits),
    ("Protection", "[proxy.protection]", Protection),
    ("Timeouts of a policy", "[timeouts], [profiles.NAME.timeouts]; the defaults are the profile's", Timeouts),
    ("Retries", "[retry], [profiles.NAME.retry]", Retry),
    ("The retry budget", "[retry_budget]; or retry_budget = false", BudgetConfig),
    ("The breaker", "[breaker]; or breaker = false", BreakerConfig),
)
_NOT_SETTINGS: Final = frozenset({"policies"})
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


def configuration() -> str:
    """Tell of every setting of ``sidecar.toml``, with its default."""
    lines = ["# Configuration", "", _MADE, "", _CONFIGURATION.strip(), ""]
    for title, section, table in _SECTIONS:
        lines += [
            f"## {title}",
            "",
            f"`{section}`",
            "",
            "| setting | default | allowed | what it does |",
            "|---|---|---|---|",
        ]
        lines += [
            f"| `{name}` | {_default(setting.default)} | {_cell(setting.allowed)} | {_cell(setting.help)} |"
            for name, setting in table.items()
        ]
        lines.append("")
    for title, section, kind in _PARTS:
        lines += [f"## {title}", "", f"`{section}`", "", "| setting | default | what it does |", "|---|---|---|"]
        lines += [
            f"| `{name}` | {_default(default)} | {_cell(told)} |"
            for name, default, told in _fields(kind)
            if name not in _NOT_SETTINGS
        ]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _fields(kind: type[Any]) -> Iterator[tuple[str, object, str]]:
    """Give the fields of a frozen dataclass, with the texts that stand below them in its source."""
    body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    assert isinstance(body, ast.ClassDef)  # noqa: S101  # it is the source of a class
    texts = {
        each.target.id: following.value.value
        for each, following in pairwise(body.body)
        if isinstance(each, ast.AnnAssign)
        and isinstance(each.target, ast.Name)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
    }
    for each in dataclasses.fields(kind):
        default = each.default_factory() if callable(each.default_factory) else each.default
        yield each.name, default, str(texts.get(each.name, ""))


def _default(value: object) -> str:
    if value in (None, {}, [], ()) or value is dataclasses.MISSING:
        return ""
    return f"`{json.dumps(value, default=str)}`"


def _cell(text: str) -> str:
    """Fit a text into a cell, and its links to this folder."""
    text = re.sub(r"\]\((?=[a-z-]+\.md)", "](../", text.replace("](#", "](client.md#")).replace("``", "`")
    return " ".join(text.replace("|", "\\|").split())


def metric_page() -> str:
    """Give docs/metrics.md with the table of families as it is now."""
    return reference.updated((ROOT / "docs" / "metrics.md").read_text())


MADE: Final[Mapping[Path, Callable[[], str]]] = {
    PAGES / "alerts.md": alerts,
    PAGES / "cli.md": cli,
    PAGES / "configuration.md": configuration,
    ROOT / "docs" / "metrics.md": metric_page,
}


def main() -> None:
    """Write what is out of date; with ``--check`` only tell of it, and fail."""
    made = {path: make() for path, make in MADE.items()}
    stale = {path: page for path, page in made.items() if not path.exists() or path.read_text() != page}
    if sys.argv[1:] == ["--check"]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run `make reference`")
        sys.exit(bool(stale))
    for path, page in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
        print(f"{path.relative_to(ROOT)}: written")


if __name__ == "__main__":
    main()
