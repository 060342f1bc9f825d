import pytest

from sidecar.telemetry.exposition import Format, accepts_gzip, negotiate

PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        pytest.param(
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format.OPENMETRICS,
            id="Prometheus 2.42",
        ),
        pytest.param(
            f"{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,"
            "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            Format.PROTOBUF,
            id="Prometheus 2.42 with native histograms",
        ),
        pytest.param(
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
            "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
            "text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            Format.OPENMETRICS,
            id="Prometheus 3",
        ),
        pytest.param(
            f"{PROTOBUF};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
            "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
            "text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            Format.PROTOBUF,
            id="Prometheus 3 with native histograms",
        ),
        pytest.param("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.TEXT, id="a browser"),
        pytest.param("*/*", Format.TEXT, id="curl"),
        pytest.param("", Format.TEXT, id="nothing said"),
        pytest.param("application/json", Format.TEXT, id="nothing we have"),
        pytest.param("application/openmetrics-text;version=0.0.1", Format.OPENMETRICS, id="the draft of OpenMetrics"),
        pytest.param("application/openmetrics-text; version=2.0.0", Format.TEXT, id="an OpenMetrics to come"),
        pytest.param("application/openmetrics-text", Format.OPENMETRICS, id="any OpenMetrics"),
        pytest.param('APPLICATION/OpenMetrics-Text ; Version="1.0.0" ; Q=0.3', Format.OPENMETRICS, id="odd spelling"),
        pytest.param(f"{PROTOBUF};q=0.1,text/plain;q=0.9", Format.TEXT, id="text rather than protobuf"),
        pytest.param("text/plain;q=0.1,*/*;q=1", Format.TEXT, id="the closest range speaks"),
        pytest.param("text/*;q=0.5,application/openmetrics-text;q=0.4", Format.TEXT, id="a range of texts"),
        pytest.param(PROTOBUF.replace("delimited", "text"), Format.TEXT, id="another protobuf encoding"),
        pytest.param(PROTOBUF.replace("MetricFamily", "Other"), Format.TEXT, id="another protobuf message"),
        pytest.param("application/openmetrics-text;q=0,text/plain;q=0.1", Format.TEXT, id="not wanted at all"),
        pytest.param("application/openmetrics-text;q=2", Format.TEXT, id="a q out of range"),
        pytest.param("application/openmetrics-text;q=much", Format.TEXT, id="a q that is no number"),
        pytest.param("application/openmetrics-text;q=nan", Format.TEXT, id="a q that is not a number"),
        pytest.param(",;,;q=,=;" * 100_000, Format.TEXT, id="garbage"),
    ],
)
def test_the_format_is_what_the_scraper_wants_most(accept: str, expected: Format) -> None:
    assert negotiate(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("gzip", True),
        ("gzip, deflate, br", True),
        ("deflate, GZIP;q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("", False),
        ("identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("*;q=0", False),
        ("br", False),
    ],
)
def test_gzip_is_used_where_it_is_wanted(header: str, expected: bool) -> None:
    assert accepts_gzip(header) is expected
