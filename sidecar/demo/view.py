"""Shows the story: a live picture on a terminal, a line for each thing that happens elsewhere."""

import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sidecar.demo.pages import Numbers
from sidecar.demo.story import Step, Story
from sidecar.demo.webhook import Notice

__all__ = ["PlainView", "TerminalView", "View", "picture"]

_LINES: Final = 6
_STATES: Final = {"closed": "green", "open": "bold red", "half_open": "yellow"}
_SPARKS: Final = " ▁▂▃▄▅▆▇█"
_KEPT: Final = 60


class View(Protocol):
    """What the demo tells of."""

    def say(self, text: str) -> None:
        """Tell of a preparation."""

    def step(self, step: Step, shown: str) -> None:
        """Tell that a step has been seen."""

    def notice(self, notice: Notice) -> None:
        """Tell of a message that came to the webhook."""

    def numbers(self, numbers: Numbers) -> None:
        """Tell how it goes."""

    def links(self, links: Mapping[str, str]) -> None:
        """Tell what to open."""


def _words(notice: Notice) -> str:
    state = "FIRING" if notice.firing else "resolved"
    return f"{state} {notice.name}: {notice.annotations.get('summary', '')}"


class PlainView:
    """A line a thing, with the seconds since the start."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write: Final = write
        self._clock: Final = clock
        self._start: Final = clock()
        self._next = 0.0

    def _line(self, text: str) -> None:
        self._write(f"{self._clock() - self._start:6.1f} s  {text}")

    def say(self, text: str) -> None:
        """Write it."""
        self._line(text)

    def step(self, step: Step, shown: str) -> None:
        """Write it."""
        self._line(f"[x] {step.title}: {shown}")

    def notice(self, notice: Notice) -> None:
        """Write it."""
        self._line(f"webhook: {_words(notice)}")

    def numbers(self, numbers: Numbers) -> None:
        """Write them every ten seconds: a log wants no picture."""
        now = self._clock() - self._start
        if now >= self._next:
            self._next = now + 10
            self._line(
                f"{numbers.rate:.1f} calls/s, {numbers.timing_out:.0%} timing out, "
                f"p95 {'-' if numbers.p95 is None else f'{numbers.p95:.1f} s'}, "
                f"breakers: {', '.join(sorted(numbers.breakers.values())) or 'none yet'}"
            )

    def links(self, links: Mapping[str, str]) -> None:
        """Write them."""
        for what, url in links.items():
            self._line(f"{what}: {url}")


class TerminalView:
    """One picture, drawn anew as things happen."""

    def __init__(self, console: Console, story: Story) -> None:
        self._console: Final = console
        self._story: Final = story
        self._said: Final[deque[Text]] = deque(maxlen=_LINES)
        self._links: Mapping[str, str] = {}
        self._numbers = Numbers()
        self._shares: Final[deque[float]] = deque(maxlen=_KEPT)
        self._live: Final = Live(self._picture(), console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def _draw(self) -> None:
        self._live.update(self._picture(), refresh=True)

    def _picture(self) -> RenderableType:
        return picture(self._story, self._numbers, list(self._shares), list(self._said), self._links)

    def say(self, text: str) -> None:
        """Show it among the last lines."""
        self._said.append(Text(text, style="dim"))
        self._draw()

    def step(self, step: Step, shown: str) -> None:  # noqa: ARG002  # the story holds it
        """Tick it."""
        self._draw()

    def notice(self, notice: Notice) -> None:
        """Show it among the last lines, so that nobody misses it."""
        self._said.append(Text(_words(notice), style="bold white on red" if notice.firing else "bold green"))
        self._draw()

    def numbers(self, numbers: Numbers) -> None:
        """Show them."""
        self._numbers = numbers
        self._shares.append(numbers.timing_out)
        self._draw()

    def links(self, links: Mapping[str, str]) -> None:
        """Show them below."""
        self._links = links
        self._draw()


def picture(
    story: Story, numbers: Numbers, shares: list[float], said: list[Text], links: Mapping[str, str]
) -> RenderableType:
    """Draw the whole: steps, numbers, what was said, what to open."""
    steps = Table.grid(padding=(0, 2))
    for step in story.steps:
        shown = story.told.get(step.name)
        mark = Text("✔", style="bold green") if shown else Text("·", style="dim")
        steps.add_row(mark, Text(step.title, style="" if shown else "dim"), Text(shown or "", style="cyan"))
    figures = Table.grid(padding=(0, 2))
    figures.add_row("calls", f"{numbers.calls}  ({numbers.rate:.1f}/s)")
    figures.add_row("p95", "–" if numbers.p95 is None else f"{numbers.p95:.2f} s")
    figures.add_row(
        "timing out",
        Text(f"{numbers.timing_out:4.0%} ", style="bold red" if numbers.timing_out > 0.05 else "green"),  # noqa: PLR2004  # the alert's own ratio
    )
    figures.add_row("", Text(_spark(shares), style="red"))
    for breaker, state in sorted(numbers.breakers.items()):
        figures.add_row(breaker.rpartition("/")[2], Text(state.replace("_", " "), style=_STATES.get(state, "")))
    parts: list[RenderableType] = [
        Panel(steps, title="the story", border_style="blue", title_align="left"),
        Panel(figures, title="now", border_style="blue", title_align="left"),
    ]
    if said:
        parts.append(Panel(Group(*said), title="what happened", border_style="blue", title_align="left"))
    if links:
        rows = Table.grid(padding=(0, 2))
        for what, url in links.items():
            rows.add_row(Text(what, style="dim"), Text(url, style=f"link {url}"))
        parts.append(Panel(rows, title="open (Ctrl-C ends everything)", border_style="blue", title_align="left"))
    return Group(*parts)


def _spark(shares: list[float]) -> str:
    top = len(_SPARKS) - 1
    return "".join(_SPARKS[min(top, round(share * top + 0.49))] for share in shares)
