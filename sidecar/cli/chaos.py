"""`sidecar chaos`: runs the fake API in the foreground and says how to use it."""

import asyncio
import contextlib
import signal
from typing import Final

import click

from sidecar.chaos.faults import FAULTS, OVERRIDES, PARAMETERS, STATUSES, Fault
from sidecar.chaos.loop import new_event_loop
from sidecar.chaos.scenario import Scenario
from sidecar.chaos.scenario_file import ScenarioError, builtin_names, load_scenario
from sidecar.chaos.server import ChaosServer, ListenError

__all__ = ["command"]

_MAX_PORT: Final = 65_535


def _address(_: click.Context, __: click.Parameter, value: str) -> tuple[str, int]:
    """Take HOST:PORT apart; also [::1]:PORT."""
    host, colon, port = value.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port) <= _MAX_PORT):
        allowed = f"HOST:PORT, with a port from 0 (any free one) to {_MAX_PORT}"
        raise click.BadParameter(f"found {value!r}: allowed is {allowed}")
    return host, int(port)


def _grammar() -> str:
    """Tell every fault and parameter, from the table that parses them."""
    statuses = "  " + ", ".join(str(status) for status in sorted(STATUSES))
    retry = "  " + " " * 26 + "each with retry-after, retry-after-ms, should-retry; 429 also with spend (about money)"
    lines = [f"{statuses}", retry]
    for name, row in FAULTS.items():
        if row.base.fault is not Fault.STATUS:
            parameters = "".join(f";{key}" for key in row.parameters)
            lines.append(f"  {name + parameters:<26}{row.help}")
    lines += ["\b", "Parameters are written key=value. Every fault also takes:", "\b"]
    lines.extend(f"  {key:<16}{PARAMETERS[key].allowed}" for key in OVERRIDES)
    return "\n".join(lines)


def _list_scenarios(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001  # click's signature
    if wanted:
        for name in builtin_names():
            click.echo(f"{name:<22}{load_scenario(name).summary}")
        ctx.exit()


_EPILOG: Final = f"""\b
A request can force its own fault with the header x-chaos:
\b
  curl -N http://127.0.0.1:8790/v1/messages -H 'x-chaos: stall;after=3' \\
    -H 'x-api-key: any' -H 'anthropic-version: 2023-06-01' \\
    -d '{{"model": "claude-sonnet-5", "max_tokens": 100, "stream": true,
         "messages": [{{"role": "user", "content": "Hello"}}]}}'
\b
The faults, with the parameters each takes:
\b
{_grammar()}
\b
By attempt of a call (x-stainless-retry-count):
  529,529,ok    fails twice, then succeeds; the last one holds from then on
  529 x2        the same
\b
What happened, as JSON: GET /chaos/truth (?since=SEQUENCE&limit=COUNT); start over: POST /chaos/reset;
faults for the next requests whatever their headers: POST /chaos/next with a list such as 529,529,ok as its body;
the server's state: GET /chaos.
"""


@click.command(epilog=_EPILOG, context_settings={"max_content_width": 120})
@click.option(
    "--listen",
    callback=_address,
    default="127.0.0.1:8790",
    show_default=True,
    metavar="HOST:PORT",
    help="Where to listen; port 0 takes any free one.",
)
@click.option(
    "--scenario",
    default="calm",
    show_default=True,
    metavar="NAME|FILE",
    help="A built-in scenario (see --list), or a .toml, .yaml or .yml file.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="The same seed, the same sequence."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0.001, max=10_000),
    default=1.0,
    show_default=True,
    help="How fast the scenario's phases follow each other; latencies stay as they are.",
)
@click.option(
    "--list",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_list_scenarios,
    help="List the built-in scenarios.",
)
def command(listen: tuple[str, int], scenario: str, seed: int, speed: float) -> None:
    """Run a fake Claude API that misbehaves on command.

    It speaks /v1/messages (JSON and streaming), count_tokens, models and batches, accepts any API key, and fails as
    its scenario and each request's x-chaos header say. Stop it with Ctrl-C.
    """
    try:
        loaded = load_scenario(scenario)
    except ScenarioError as error:
        raise _BadInputError(str(error)) from None
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_serve(loaded, listen, seed=seed, speed=speed))
    except ListenError as error:
        raise _BadInputError(str(error.strerror)) from None


class _BadInputError(click.ClickException):
    """What the user gave cannot be used."""

    exit_code = 2


async def _serve(scenario: Scenario, listen: tuple[str, int], *, seed: int, speed: float) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C then ends the runner itself
            loop.add_signal_handler(number, stop.set)
    server = ChaosServer(scenario, seed=seed, speed=speed)
    try:
        await server.start(*listen)
        click.echo(f"sidecar chaos: scenario {scenario.name!r}, seed {seed}, listening on {server.url}")
        click.echo(f"  use it:     export ANTHROPIC_BASE_URL={server.url} ANTHROPIC_API_KEY=any")
        click.echo("  per call:   header x-chaos, such as 529, stall;after=3 or 529,529,ok (sidecar chaos --help)")
        click.echo(f"  what was:   {server.url}/chaos/truth")
        await stop.wait()
    finally:
        await server.close()
    counts = server.truth.counts()
    click.echo(f"sidecar chaos: stopped after {counts['total']} requests")
