"""``sidecar export``: writes what other tools load."""

from pathlib import Path
from typing import TextIO

import click

from sidecar.alerts import ValuesError, load_values
from sidecar.alerts.export import Format, Layout, bundle, default_slos, write
from sidecar.alerts.values import Values
from sidecar.cli.files import check_room, text_of, writing
from sidecar.cli.slo import bucket_options, read
from sidecar.dashboards import Form, Settings
from sidecar.dashboards import bundle as dashboard_files
from sidecar.dashboards import write as write_dashboards
from sidecar.rules.histograms import Buckets


@click.group("export")
def command() -> None:
    """Write files for Prometheus and its companions."""


@command.command("alerts")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@bucket_options
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Format]),
    default=Format.PROMETHEUS.value,
    show_default=True,
    help="Rule files, or PrometheusRule resources for the operator.",
)
@click.option("--values", "values_file", type=click.File(encoding="utf-8"), help="Your own values (YAML); - is stdin.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="One value, as ClaudeTimeoutSpike.ratio=0.1."
)
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="A label for every alert.")
@click.option(
    "--slo", "slo_file", type=click.File(encoding="utf-8"), help="Your objectives instead of the default ones."
)
@click.option("--resource-label", "resource_labels", multiple=True, metavar="NAME=VALUE", help="For PrometheusRules.")
@click.option("--force", is_flag=True, help="Overwrite slo.yaml and values.yaml too, where they were changed.")
def alerts(  # options explain themselves above
    *,
    folder: Path,
    buckets: Buckets,
    form: str,
    values_file: TextIO | None,
    settings: tuple[str, ...],
    labels: tuple[str, ...],
    slo_file: TextIO | None,
    resource_labels: tuple[str, ...],
    force: bool,
) -> None:
    """Write recording rules, alerts, SLO rules, runbooks and an Alertmanager example into DIR."""
    values = _values(values_file, (*settings, *(f"labels.{'='.join(_pair(label))}" for label in labels)))
    where = slo_file.name if slo_file else "slo.yaml"
    slos = read(where, text_of(slo_file) if slo_file else default_slos(), (buckets,))
    layout = Layout(buckets=buckets, form=Format(form), resource_labels=dict(map(_pair, resource_labels)))
    built = bundle(values, slos, layout)
    with writing():
        check_room(folder, built)
        for done in write(folder, built, force=force):
            click.echo(f"{'kept   ' if done.kept else 'written'} {done.path}")
    other = Buckets.NATIVE if buckets is Buckets.CLASSIC else Buckets.CLASSIC
    if (folder / "rules" / f"recording-{other}.yaml").exists():
        click.echo(f"note: load either the {buckets} or the {other} rules, not both", err=True)
    unset = load_values()
    if values.runbooks == unset.runbooks:
        click.echo(
            f"warning: messages name their runbook by its file only; publish {folder}/runbooks where whoever is called"
            " can read it, and say where: --set links.runbooks=URL",
            err=True,
        )
    if values.dashboards == unset.dashboards:
        click.echo(
            f"warning: messages lead to a Grafana at {unset.dashboards}; say where yours is:"
            " --set links.dashboards=URL",
            err=True,
        )


@command.command("dashboards")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice([form.value for form in Form]),
    default=Form.JSON.value,
    show_default=True,
    help="JSON files with provisioning for Grafana; ConfigMaps; or GrafanaDashboard resources for the operator.",
)
@click.option("--datasource-uid", metavar="UID", help="The Prometheus data source they open with.")
@click.option("--folder", "title", default="Claude", show_default=True, help="Grafana's folder for them.")
@click.option(
    "--resource-label", "resource_labels", multiple=True, metavar="NAME=VALUE", help="For ConfigMaps and resources."
)
def dashboards(
    *, folder: Path, form: str, datasource_uid: str | None, title: str, resource_labels: tuple[str, ...]
) -> None:
    """Write the Grafana dashboards into DIR, with what provisions them."""
    try:
        settings = Settings(
            form=Form(form), datasource_uid=datasource_uid, folder=title, labels=dict(map(_pair, resource_labels))
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    built = dashboard_files(settings)
    with writing():
        check_room(folder, built)
        for path in write_dashboards(folder, built):
            click.echo(f"written {path}")


def _values(file: TextIO | None, settings: tuple[str, ...]) -> Values:
    try:
        return load_values(text_of(file) if file else None, settings, where=file.name if file else "values")
    except ValuesError as error:
        raise click.ClickException(f"the values are wrong\n{error}") from error


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{text!r} is not NAME=VALUE")
    return name, value
