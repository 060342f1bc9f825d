"""The command line: the only place that knows every part. Each command loads its part when it is run."""

from importlib import import_module
from typing import Final

import click

from sidecar._version import __version__

# Command -> (module, its click command, one line of help). The help stands here so that `sidecar --help`
# imports none of the modules.
_COMMANDS: Final = {
    "proxy": ("sidecar.cli.proxy", "Metrics for every client, by changing one environment variable."),
    "collect": ("sidecar.cli.collect", "Receive what many processes report, and serve it as one scrape target."),
    "export": ("sidecar.cli.export", "Write alert rules, runbooks or Grafana dashboards into a folder."),
    "slo": ("sidecar.cli.slo", "Check and explain objectives, and make rules of them."),
    "chaos": ("sidecar.cli.chaos", "A fake Claude API that misbehaves on command."),
    "demo": ("sidecar.cli.demo", "See the whole thing work on this machine: from a calm API to an alert."),
    "run": ("sidecar.cli.run", "Run a Python program with every call observed, without changing it."),
}


class _LazyGroup(click.Group):
    """A group whose commands are imported only when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)  # noqa: S101  # our own table
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sidecar")
def main() -> None:
    """Observability and SLO sidecar for the Claude API.

    Every command explains itself: sidecar COMMAND --help.
    """
