"""The process's own metrics are those of prometheus_client, in name, kind and value."""

from pathlib import Path

from prometheus_client import PlatformCollector, ProcessCollector

from sidecar.telemetry.process import ProcessMetrics


def theirs() -> dict[str, tuple[str, list[dict[str, str]], float]]:
    metrics = [*ProcessCollector(registry=None).collect(), *PlatformCollector(registry=None).collect()]
    return {m.samples[0].name: (m.type, [m.samples[0].labels], m.samples[0].value) for m in metrics}


def test_they_are_what_every_prometheus_client_shows() -> None:
    ours = {view.family.name: view for view in ProcessMetrics().collect()}
    expected = theirs()
    assert list(ours) == list(expected)
    for name, (kind, [labels], value) in expected.items():
        view = ours[name]
        [(series, found)] = view.values
        assert view.family.kind.value == kind
        assert dict(zip(view.family.labels, series, strict=True)) == labels
        assert abs(found - value) <= abs(value) * 0.2 + 5, name


def test_where_there_is_no_proc_only_python_is_told(tmp_path: Path) -> None:
    assert [view.family.name for view in ProcessMetrics(tmp_path).collect()] == ["python_info"]
