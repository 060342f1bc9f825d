"""The command ``sidecar proxy``."""

import asyncio
from pathlib import Path
from typing import Any

import click

from sidecar.admin import AdminError, AdminServer
from sidecar.config import ConfigError
from sidecar.proxy.listening import ListenError, Listening
from sidecar.proxy.run import new_event_loop, serve
from sidecar.proxy.settings import Config, build, read_values

_HELP = """Metrics for every client of the Claude API, in any language, by changing one environment variable.

\b
  sidecar proxy
  export ANTHROPIC_BASE_URL=http://127.0.0.1:8788     # in the application's environment
  curl http://127.0.0.1:9464/metrics

Requests and answers pass through unchanged and undelayed; keys pass through and are neither stored nor logged.
What went by becomes metrics: latencies, timeouts by phase, retries and whether they helped, tokens.

\b
  sidecar proxy --listen unix:/run/sidecar.sock       # for clients that can use a Unix socket
  sidecar proxy --upstream https://gateway.example    # somewhere other than the API itself
  sidecar proxy --config sidecar.toml                 # everything, in its section [proxy]

\b
On the admin address:
  /metrics  for Prometheus: native histograms (protobuf), OpenMetrics with exemplars, or text
  /healthz  200 while the process answers
  /readyz   200 while an upstream can be reached; 503 while not, and while it drains

Each setting is taken from the command line, else from SIDECAR_NAME, else from the file (--config, $SIDECAR_CONFIG or
sidecar.toml). SIGTERM and Ctrl-C take no new clients, let requests under way end, and exit; a second one exits at once.
It exits with 2 when the configuration is wrong or an address is taken.
"""


class _Failure(click.ClickException):
    exit_code = 2


@click.command("proxy", help=_HELP)
@click.option(
    "--listen",
    multiple=True,
    metavar="ADDRESS",
    help="HOST:PORT or unix:/path; may be given several times.  [default: 127.0.0.1:8788]",
)
@click.option("--admin", metavar="HOST:PORT", help="Where metrics and health are.  [default: 127.0.0.1:9464]")
@click.option("--upstream", metavar="URL", help="Where requests go.  [default: https://api.anthropic.com]")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="The file with the settings.")
@click.option(
    "--drain-seconds", type=float, metavar="SECONDS", help="How long requests may go on after SIGTERM.  [default: 25]"
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Let --listen and --admin be reached from other machines: keys then pass the network unencrypted, and "
    "whoever reaches it can send requests through this machine and read its metrics.",
)
def command(config: Path | None, **options: Any) -> None:
    """Run the proxy."""
    given = {name: value for name, value in options.items() if value not in {None, (), False}}
    if "listen" in given:
        given["listen"] = list(given["listen"])
    try:
        settings = build(read_values(given, file=config))
        _run(settings)
    except ConfigError as error:
        raise _Failure("\n  ".join(("the configuration cannot be used:", *error.faults))) from None
    except (ListenError, AdminError) as error:
        raise _Failure(str(error)) from None


def _run(config: Config) -> None:
    def announce(places: list[Listening], admin: AdminServer) -> None:
        urls = [place.url for place in places]
        upstream = config.proxy.upstream
        click.echo(f"sidecar proxy: listening on {', '.join(urls)} for {upstream}", err=True)
        if (url := next((url for url in urls if url.startswith("http")), None)) is not None:
            click.echo(f"  use it:   export ANTHROPIC_BASE_URL={url}", err=True)
        click.echo(f"  metrics:  http://{admin.address}/metrics", err=True)

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(config, started=announce))
