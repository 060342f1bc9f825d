"""``sidecar slo``: objectives as code."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

from sidecar.cli.files import text_of, writing
from sidecar.rules import Fault, Severity, as_operator, as_prometheus
from sidecar.rules.histograms import Buckets
from sidecar.slo import Slo, errors, explain, generate, load, validate


def bucket_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Ask which way Prometheus stores our histograms."""
    native = click.option(
        "--native", "buckets", flag_value=Buckets.NATIVE, type=Buckets, help="Prometheus stores native histograms."
    )
    classic = click.option(
        "--classic",
        "buckets",
        flag_value=Buckets.CLASSIC,
        type=Buckets,
        default=Buckets.CLASSIC,
        help="It stores classic buckets (the default, and what it does by itself).",
    )
    return native(classic(function))


def read(where: str, text: str, variants: tuple[Buckets, ...]) -> list[Slo]:
    """Read and judge objectives; report every fault, and end the command when there is an error."""
    slos, faults = load(text)
    found = {*faults, *(fault for buckets in variants for fault in validate(slos, buckets))}
    for fault in sorted(found):
        _report(where, fault)
    wrong = errors(list(found))
    if wrong:
        raise click.ClickException(f"{where} has {len(wrong)} error{'s' * (len(wrong) > 1)}; nothing was generated")
    return slos


def _report(where: str, fault: Fault) -> None:
    colour = "red" if fault.severity is Severity.ERROR else "yellow"
    click.echo(f"{where}:{fault.line}: {click.style(fault.severity, fg=colour)}: {fault.message}", err=True)


@click.group("slo")
def command() -> None:
    """Check objectives, explain them, and make rules of them.

    FILE holds objectives in our own short form, as Sloth's prometheus/v1, or as OpenSLO v1; - is stdin.
    """


_FILE = click.argument("file", type=click.File(encoding="utf-8"))


@command.command("validate")
@_FILE
def validate_command(file: TextIO) -> None:
    """Say everything that is wrong in FILE, each with its line; exit with 1 when something is."""
    slos = read(file.name, text_of(file), tuple(Buckets))
    click.echo(f"{file.name}: {len(slos)} objective{'s' * (len(slos) != 1)}, no errors")


@command.command("generate")
@_FILE
@bucket_options
@click.option("--operator", is_flag=True, help="Make a PrometheusRule resource.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; stdout by default.")
def generate_command(*, file: TextIO, buckets: Buckets, operator: bool, output: Path | None) -> None:
    """Make recording rules and burn-rate alerts of FILE."""
    if output is not None and output.exists() and Path(file.name).exists() and output.samefile(file.name):
        raise click.UsageError(f"{output} holds the objectives themselves: name another file for the rules")
    groups = generate(read(file.name, text_of(file), (buckets,)), buckets)
    header = "Made by `sidecar slo generate`; change the objectives instead."
    text = (
        as_operator(groups, name="claude-sidecar-slo", labels={}, header=header)
        if operator
        else as_prometheus(groups, header)
    )
    with writing():
        if output is None:
            click.echo(text, nl=False)
        else:
            output.write_text(text, encoding="utf-8")


@command.command("explain")
@_FILE
@bucket_options
def explain_command(file: TextIO, buckets: Buckets) -> None:
    """Say in plain words what FILE promises, and when its alerts come."""
    click.echo(explain(read(file.name, text_of(file), (buckets,)), buckets), nl=False)
