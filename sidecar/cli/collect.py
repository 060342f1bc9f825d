"""The command ``sidecar collect``."""

import asyncio
import sys
from pathlib import Path

import click

from sidecar.admin import Address, AdminError, parse_address
from sidecar.collect import Settings, collect
from sidecar.telemetry.socket import SocketError, default_socket

_HELP = """Collect what many processes report, and serve it as one scrape target.

Applications under gunicorn, Celery or cron are many processes, some too short-lived to be scraped. They send their
finished records, and each second their gauges, to a Unix socket; this command receives them.

\b
  sidecar collect                                     # the default socket, metrics at http://127.0.0.1:9464/metrics
  sidecar collect --socket /run/app/sidecar.sock      # applications: SIDECAR_SOCKET=/run/app/sidecar.sock
  sidecar collect --admin 0.0.0.0:9464 --allow-remote # scraped from another machine

\b
On the admin address:
  /         the console: what the last hour was like, live in a browser
  /metrics  for Prometheus: native histograms (protobuf), OpenMetrics with exemplars, or text
  /healthz  200 while the process answers
  /readyz   200 while it takes records; 503 while it shuts down

The socket's file mode says who may send; by default only the same user. SIGTERM ends it: what was received is counted
first, and applications keep what they have for the next start. It exits with 2 when the socket or the address is taken.
"""


class _Failure(click.ClickException):
    exit_code = 2


class _Mode(click.ParamType[int]):
    name = "mode"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            mode = value if isinstance(value, int) else int(str(value), 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o777:  # noqa: PLR2004  # all permissions there are
            self.fail(f"{value!r} is not a file mode: write it in octal, such as 0600 or 0660", param, ctx)
        return mode


@click.command("collect", help=_HELP)
@click.option(
    "--socket",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where records come in. Else $SIDECAR_SOCKET, else in the user's runtime directory.",
)
@click.option("--socket-mode", type=_Mode(), default="0600", show_default=True, help="Who may send, in octal.")
@click.option("--admin", default="127.0.0.1:9464", show_default=True, metavar="HOST:PORT", help="Where metrics are.")
@click.option("--allow-remote", is_flag=True, help="Let --admin be reached from other machines; it has no password.")
def command(socket: Path | None, socket_mode: int, admin: str, *, allow_remote: bool) -> None:
    """Run the collector."""
    try:
        settings = Settings(
            admin=parse_address(admin, allow_remote=allow_remote),
            socket=socket or default_socket(),
            socket_mode=socket_mode,
        )
        _run(settings)
    except (SocketError, AdminError) as error:
        raise _Failure(str(error)) from error


def _run(settings: Settings) -> None:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(collect(settings, started=_announce))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415  # not on every platform
    except ImportError:
        return None
    return uvloop.Loop


def _announce(socket: Path, admin: Address) -> None:
    click.echo(f"sidecar collect: records from {socket}, metrics at http://{admin}/metrics", err=True)
    sys.stderr.flush()
