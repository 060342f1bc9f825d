"""Sidecar health: whether what the other dashboards say can be believed."""

from typing import Final

from dashboards.src import palette
from dashboards.src.page import Line, Page, Section
from dashboards.src.panels import COUNT, EXACT, Axis, Column, Query, Steps, graph, table, tile
from dashboards.src.query import INSTANCE, RATE, count, rate, select, top

_LOST: Final[Steps] = [(None, palette.HIDDEN), (1, palette.BAD)]
_SOME: Final[Steps] = [(None, palette.HIDDEN), (1, palette.NOTICE)]
_UP: Final = {"0": "down", "1": "up"}


def _line(expr: str) -> str:
    """Keep the six worst instances: there may be a hundred."""
    return top(f"max by (instance) ({expr})", "instance")


def _new(metric: str, by: str) -> str:
    return count(metric, INSTANCE, by=by, window=RATE) + " > 0"


def _now() -> Line:
    up = select("up", INSTANCE)
    return Line(
        4,
        [
            (
                6,
                tile(
                    "Targets down",
                    "Instances of claude-sidecar that Prometheus cannot scrape now. Good: 0. What a silent target would"
                    " tell is missing everywhere.",
                    Query(f"count({up} == 0) or 0 * count({up})"),
                    unit=EXACT,
                    steps=_LOST,
                    decimals=0,
                    empty="no targets yet",
                ),
            ),
            (
                6,
                tile(
                    "Records dropped in this range",
                    "Records that never became metrics, because they were lost or made no sense. Good: 0. Calls are not"
                    " affected, but counts and ratios are too low by what is missing.",
                    Query(count("sidecar_dropped_records_total", INSTANCE) + " or vector(0)"),
                    unit=EXACT,
                    steps=_LOST,
                    decimals=0,
                    sparkline=False,
                ),
            ),
            (
                6,
                tile(
                    "Own faults in this range",
                    "Faults of claude-sidecar itself, swallowed so that no call suffers. Good: 0. The log has the first"
                    " of each kind; please report them.",
                    Query(count("sidecar_internal_errors_total", INSTANCE) + " or vector(0)"),
                    unit=EXACT,
                    steps=_LOST,
                    decimals=0,
                    sparkline=False,
                ),
            ),
            (
                6,
                tile(
                    "Label values folded in this range",
                    "How often a value was counted as other because its label was full. Good: 0. Usually somebody sends"
                    " invented model names, or names with ids in them.",
                    Query(count("sidecar_label_overflows_total", INSTANCE) + " or vector(0)"),
                    unit=EXACT,
                    steps=_SOME,
                    decimals=0,
                    sparkline=False,
                ),
            ),
        ],
    )


def _targets() -> Line:
    return Line(
        8,
        [
            (
                12,
                table(
                    "Targets",
                    "Every instance, its version, how long its scrape takes and how many series it gives. Good: all up,"
                    " one version, scrapes far below a second. Series that keep growing are labels without bounds.",
                    [
                        Query(f"max by (job, instance) ({select('up', INSTANCE)})"),
                        Query(f"max by (job, instance, version) ({select('sidecar_build_info', INSTANCE)})"),
                        Query(f"max by (job, instance) ({select('scrape_duration_seconds', INSTANCE)})"),
                        Query(f"max by (job, instance) ({select('scrape_samples_scraped', INSTANCE)})"),
                        Query(f"time() - max by (job, instance) ({select('process_start_time_seconds', INSTANCE)})"),
                    ],
                    [
                        Column("job", "Job"),
                        Column("instance", "Instance"),
                        Column("version", "Version"),
                        Column(
                            "Value #A",
                            "State",
                            words=_UP,
                            steps=[(None, palette.BAD), (1, palette.GOOD)],
                            width=80,
                        ),
                        Column("Value #C", "Scrape", unit="s", decimals=1, width=100),
                        Column("Value #D", "Samples", unit=COUNT, width=100),
                        Column("Value #E", "Up since", unit="dtdurations", decimals=0),
                    ],
                    sort="State",
                    descending=False,
                    empty="no targets yet",
                ),
            ),
            (
                12,
                graph(
                    "Records dropped and own faults",
                    "Records that were not counted, by reason, and faults of claude-sidecar, by place. Good: empty.",
                    Query(_new("sidecar_dropped_records_total", "reason"), "dropped: {{reason}}"),
                    Query(_new("sidecar_internal_errors_total", "where"), "fault: {{where}}"),
                    Query(_new("sidecar_label_overflows_total", "label"), "folded: {{label}}"),
                    unit=COUNT,
                    every="2m",
                    bars=True,
                    stacked=True,
                    empty="nothing was dropped",
                ),
            ),
        ],
    )


def _load() -> list[Line]:
    return [
        Line(
            8,
            [
                (
                    8,
                    graph(
                        "Series given to Prometheus",
                        "Samples in each scrape, of many instances the six with most. Good: levels off once every"
                        " model has been seen.",
                        Query(_line(select("scrape_samples_scraped", INSTANCE)), "{{instance}}"),
                        unit=COUNT,
                        empty="no targets yet",
                    ),
                ),
                (
                    8,
                    graph(
                        "Duration of scrapes",
                        "How long Prometheus waits for the metrics. Good: a few milliseconds, and never near its"
                        " timeout of 10 s.",
                        Query(_line(select("scrape_duration_seconds", INSTANCE)), "{{instance}}"),
                        unit="s",
                        empty="no targets yet",
                    ),
                ),
                (
                    8,
                    graph(
                        "Event loop lag",
                        "How late the event loop of the proxy or the collector runs. Good: a few milliseconds. From"
                        " 100 ms on, streams through the proxy are held back: give it more CPU or workers.",
                        Query(_line(select("sidecar_event_loop_lag_seconds", INSTANCE)), "{{instance}}"),
                        unit="s",
                        empty="no proxy, no collector",
                    ),
                ),
            ],
        ),
        Line(
            8,
            [
                (
                    8,
                    graph(
                        "Memory",
                        "Resident memory of the processes that serve our metrics; an instrumented app's own is in it."
                        " Good: levels off.",
                        Query(_line(select("process_resident_memory_bytes", INSTANCE)), "{{instance}}"),
                        unit="bytes",
                        empty="no targets yet",
                    ),
                ),
                (
                    8,
                    graph(
                        "CPU",
                        "Cores used by the same processes. Good: well below 1 for each worker.",
                        Query(
                            top(rate("process_cpu_seconds_total", INSTANCE, by="instance"), "instance"), "{{instance}}"
                        ),
                        unit="suffix: cores",
                        empty="no targets yet",
                    ),
                ),
                (
                    8,
                    graph(
                        "Open files and connections",
                        "File descriptors in use, as a share of what the system allows. Good: below 70 %; at 100 % new"
                        " connections fail.",
                        Query(
                            _line(f"{select('process_open_fds', INSTANCE)} / {select('process_max_fds', INSTANCE)}"),
                            "{{instance}}",
                        ),
                        unit="percentunit",
                        axis=Axis(maximum=1),
                        empty="no targets yet",
                    ),
                ),
            ],
        ),
    ]


PAGE: Final = Page(
    uid="claude-sidecar-health",
    description="Can what the other dashboards say be believed? Scrapes, lost records, memory and load.",
    variables=INSTANCE,
    sections=[Section("", [_now(), _targets()]), Section("Load", _load())],
)
