"""`sidecar demo`: starts the fake API on a free port, calls it through the SDK, and tells what came of each call."""

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from anthropic import Anthropic

    from sidecar.chaos import Attempt

__all__ = ["command"]

_KW: Final[dict[str, Any]] = {
    "model": "claude-sonnet-5",
    "max_tokens": 200,
    "messages": [{"role": "user", "content": "What does a user feel first?"}],
}
_TIMEOUT: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of the demo, and the fault it asks for."""

    what: str
    chaos: str
    make: "Callable[[Anthropic, dict[str, str]], str]"


@dataclass(frozen=True, slots=True)
class _Told:
    """One line of the report."""

    what: str
    chaos: str
    came: str
    seconds: float
    attempts: "tuple[Attempt, ...]"

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The line's cells: what the application saw, then what the server knows."""
        truth = ", ".join(f"{attempt.status or 'no answer'} {attempt.end}" for attempt in self.attempts)
        return self.what, self.chaos, self.came, f"{self.seconds:.2f} s", truth


_HEADINGS: Final = ("call", "x-chaos", "the application saw", "took", "each attempt was")


def _plain(client: "Anthropic", headers: dict[str, str]) -> str:
    message = client.messages.create(**_KW, extra_headers=headers)
    return f"{message.usage.output_tokens} tokens, {message.stop_reason}"


def _streamed(client: "Anthropic", headers: dict[str, str]) -> str:
    with client.messages.create(**_KW, stream=True, extra_headers=headers) as stream:
        kinds = [event.type for event in stream]
    deltas = kinds.count("content_block_delta")
    return (
        f"{deltas} pieces, {'complete' if kinds[-1] == 'message_stop' else 'no message_stop: cut short, and no error'}"
    )


_CALLS: Final = (
    _Call("a good call", "ok", _plain),
    _Call("a good stream", "ok;tps=200", _streamed),
    _Call("overloaded once, then well", "529 x1", _plain),
    _Call("no answer at all", "hang", _plain),
    _Call("a stream falls silent", "stall;after=4", _streamed),
    _Call("a stream is cut cleanly", "truncate-clean;after=4", _streamed),
    _Call("an error within a 200", "error-event;after=4", _streamed),
)


@click.command()
def command() -> None:
    """Start a fake Claude API, call it through the SDK, and show what came of each call.

    Nothing leaves this machine and no API key is needed. To go on by yourself: sidecar chaos --help.
    """
    from anthropic import Anthropic  # noqa: PLC0415  # 0.8 s and 74 MB, only when the demo runs

    from sidecar.chaos import chaos_server  # noqa: PLC0415  # the same

    with (
        chaos_server() as chaos,
        Anthropic(base_url=chaos.url, api_key="any", max_retries=1, timeout=_TIMEOUT) as client,
    ):
        click.echo(f"A fake Claude API listens on {chaos.url}; the client waits {_TIMEOUT:g} s and retries once.\n")
        told = []
        for call in _CALLS:
            chaos.reset()
            start = time.perf_counter()
            try:
                came = call.make(client, {"x-chaos": call.chaos})
            except Exception as error:  # noqa: BLE001  # showing what comes of a call is the demo
                came = f"{type(error).__module__.partition('.')[0]}.{type(error).__name__}"
            seconds = time.perf_counter() - start
            told.append(_Told(call.what, call.chaos, came, seconds, chaos.settled(1)))
    _show(told)
    click.echo("\nTry it yourself: sidecar chaos --scenario timeout-spike")


def _show(told: list[_Told]) -> None:
    """Print a table: rich's on a terminal, tab-separated lines elsewhere."""
    if not sys.stdout.isatty():
        click.echo("\t".join(_HEADINGS))
        for line in told:
            click.echo("\t".join(line.cells))
        return
    from rich.console import Console  # noqa: PLC0415  # only where it can be seen
    from rich.table import Table  # noqa: PLC0415  # the same

    table = Table()
    for heading in _HEADINGS:
        table.add_column(heading, overflow="fold")
    for line in told:
        table.add_row(*line.cells)
    Console().print(table)
