"""The command ``sidecar demo``: glue between the stage, the story and the view."""

import contextlib
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sidecar.demo.stage import Stage
    from sidecar.demo.story import Story
    from sidecar.demo.view import View

__all__ = ["command"]

_GLANCE: Final = 0.5
_ENDING: Final = 20.0
"""Seconds after which every program has been ended, one way or the other."""
_ENOUGH: Final = 210.0
"""Seconds in which the story is over on a slow machine, or something is wrong."""

_HELP = """See the whole thing work, on this machine alone and with no API key: from a calm API to an alert.

It starts a fake Claude API that will misbehave, a proxy, a collector, and applications that call: two in Python, and
one in TypeScript where node and npm are installed. Where Prometheus and Alertmanager are on PATH they watch with the
bundled rules, and what they send is shown as it arrives. The story takes about a minute and a half: calm, a timeout
spike, the alert, breakers that open so that calls fail fast, retries that recover, all clear. Then everything stays up,
for you to look around, until Ctrl-C.

\b
  sidecar demo
  sidecar demo --once                # end with the story: 0 if the alert arrived and resolved, else 1
  sidecar demo --compose ./watching  # also write a compose.yaml with Prometheus, Alertmanager, Grafana and Tempo

Nothing is installed but the TypeScript SDK, into a folder that goes with the demo.
"""


@click.command("demo", help=_HELP)
@click.option(
    "--once", is_flag=True, help="End when the story does, and say by the exit code whether it came out well."
)
@click.option("--plain", is_flag=True, help="A line for each thing that happens, as where the output is no terminal.")
@click.option(
    "--compose",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write a compose.yaml that watches this demo, with dashboards in Grafana, and all it needs, into this folder.",
)
def command(*, once: bool, plain: bool, compose: Path | None) -> None:
    """Run the demo."""
    from sidecar.demo.interrupt import listen  # noqa: PLC0415  # only where it is run
    from sidecar.demo.process import ProcessError  # noqa: PLC0415  # only where it is run
    from sidecar.demo.programs import MissingProgramError, find  # noqa: PLC0415  # only where it is run
    from sidecar.demo.story import Story  # noqa: PLC0415

    try:
        for program in ("prometheus", "alertmanager"):
            find(program)
        story = Story()
    except MissingProgramError:
        story = Story(alerts=False)
        if once:
            raise click.ClickException(
                "--once needs Prometheus and Alertmanager on PATH: without them no alert can arrive"
            ) from None
    listen()
    with contextlib.suppress(KeyboardInterrupt):
        try:
            came_out_well = _run(story, once=once, plain=plain or not sys.stdout.isatty(), compose=compose)
        except OSError as error:
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            raise click.ClickException(what) from error
        except ProcessError as error:
            raise click.ClickException(str(error)) from error
        sys.exit(0 if came_out_well else 1)
    click.echo("stopped; nothing is left behind")


def _run(story: "Story", *, once: bool, plain: bool, compose: Path | None) -> bool:
    from sidecar.demo.grafana import DASHBOARDS  # noqa: PLC0415  # only where it is run
    from sidecar.demo.stage import set_up, values_of  # noqa: PLC0415  # the same

    with (
        _folder() as folder,
        _view(story, plain=plain) as view,
        set_up(folder, view.say) as stage,
    ):
        if compose is not None:
            from sidecar.demo.compose import write  # noqa: PLC0415  # the same

            targets = {"collector": stage.collector, "proxy": stage.proxy_admin}
            file = write(compose, targets, stage.receiver.url, values_of(folder))
            view.say(f"docker compose -f {file} up: Grafana is then at http://localhost:3000{DASHBOARDS}")
        view.links(stage.links)
        _follow(stage, story, view, until_told=once)
        for step in story.missing:
            view.say(f"not seen: {step.title}")
        return not story.missing


@contextlib.contextmanager
def _folder() -> "Iterator[Path]":
    """Give a folder that is gone at the end, also where a program that is just ending still writes into it."""
    folder = Path(tempfile.mkdtemp(prefix="claude-sidecar-demo-"))
    try:
        yield folder
    finally:
        give_up = time.monotonic() + _ENDING
        while folder.exists() and time.monotonic() < give_up:
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(_GLANCE / 10)


def _follow(stage: "Stage", story: "Story", view: "View", *, until_told: bool) -> None:
    """Look, and tell what is new, until the story is told (or for ever)."""
    from sidecar.demo.interrupt import pause  # noqa: PLC0415  # only where it is run
    from sidecar.demo.pages import Window, fetch  # noqa: PLC0415  # the same
    from sidecar.demo.story import Scene  # noqa: PLC0415  # the same

    window, start, seen = Window(), time.monotonic(), 0
    while not until_told or (story.missing and time.monotonic() - start < _ENOUGH):
        numbers = window.add(time.monotonic(), [fetch(address) for address in stage.pages])
        notices = stage.receiver.received
        for notice in notices[seen:]:
            view.notice(notice)
        seen = len(notices)
        for step in story.see(Scene(numbers, notices)):
            view.step(step, story.told[step.name])
            if not story.missing and not until_told:
                view.say("That was the story. Everything stays up until Ctrl-C: look around.")
        view.numbers(numbers)
        pause(_GLANCE)


@contextlib.contextmanager
def _view(story: "Story", *, plain: bool) -> "Iterator[View]":
    from sidecar.demo.view import PlainView, TerminalView  # noqa: PLC0415  # only where it is run

    if plain:
        yield PlainView(click.echo)
        return
    from rich.console import Console  # noqa: PLC0415  # the same

    with TerminalView(Console(), story) as view:
        yield view
