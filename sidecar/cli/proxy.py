"""The command ``sidecar proxy``."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import click

from sidecar.admin import AdminError, AdminServer
from sidecar.config import ConfigError
from sidecar.proxy.line import WorkerError
from sidecar.proxy.listening import ListenError, Listening
from sidecar.proxy.logs import LogFormat
from sidecar.proxy.loop import new_event_loop
from sidecar.proxy.run import serve
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
    "--workers",
    type=int,
    metavar="N",
    help="Processes that share the clients; each has the configured limits to itself.  [default: 1]",
)
@click.option(
    "--drain-seconds", type=float, metavar="SECONDS", help="How long requests may go on after SIGTERM.  [default: 25]"
)
@click.option("--log-format", metavar="text|json", help="How log lines, on standard error, look.  [default: text]")
@click.option("--access-log", is_flag=True, help="Log each request's end, not only failures; never content or keys.")
@click.option(
    "--protect",
    is_flag=True,
    help="Limit, retry, queue and break calls, as the file's [proxy.protection] and policies say.",
)
@click.option(
    "--allow-remote",
    is_flag=True,
    help="Let --listen and --admin be reached from other machines: keys then pass the network unencrypted, and "
    "whoever reaches it can send requests through this machine and read its metrics.",
)
@click.option("--check", is_flag=True, help="Say whether the configuration can be used, and exit.")
def command(config: Path | None, *, check: bool, **options: Any) -> None:
    """Run the proxy."""
    # What was not said on the command line leaves the word to the environment and the file. 0 is said.
    given = {name: value for name, value in options.items() if value not in (None, ()) and value is not False}
    if "listen" in given:
        given["listen"] = list(given["listen"])

    def read() -> Config:
        return build(read_values(given, file=config))

    try:
        if check:
            read()
            click.echo("The configuration can be used.")
        else:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(serve(read, started=_announce))
    except ConfigError as error:
        raise _Failure("\n  ".join(("the configuration cannot be used:", *error.faults))) from None
    except (ListenError, AdminError, WorkerError) as error:
        raise _Failure(str(error)) from None


def _announce(config: Config, places: list[Listening], admin: AdminServer) -> None:
    urls = [place.url for place in places]
    if config.log_format is LogFormat.JSON:
        fields = {"listen": urls, "upstream": str(config.proxy.upstream), "admin": f"http://{admin.address}"}
        logging.getLogger("sidecar.proxy").info("listening", extra={"fields": fields})
        return
    click.echo(f"sidecar proxy: listening on {', '.join(urls)} for {config.proxy.upstream}", err=True)
    if (url := next((url for url in urls if url.startswith("http")), None)) is not None:
        click.echo(f"  use it:   export ANTHROPIC_BASE_URL={url}", err=True)
    click.echo(f"  metrics:  http://{admin.address}/metrics", err=True)
