"""What every dashboard, panel and query must have: the format, the layout, and the rules of Grafana's linter."""

import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any, Final

import pytest

from tests.dashboards.boards import BOARDS, annotations, panels, queries, used_variables, variables

# Of the classic dashboard format (schema version 41) what Grafana reads of a panel: key -> type. Written by hand from
# its documentation, and kept to what we use: a key that is not here is a typing error of ours.
PANEL: Final[dict[str, type | tuple[type, ...]]] = {
    "id": int,
    "type": str,
    "title": str,
    "description": str,
    "transparent": bool,
    "datasource": dict,
    "gridPos": dict,
    "targets": list,
    "fieldConfig": dict,
    "options": dict,
    "transformations": list,
    "interval": str,
    "timeFrom": str,
    "maxDataPoints": (int, float),
    "repeatDirection": str,
}
REQUIRED = {"id", "type", "title", "description", "datasource", "gridPos", "targets", "fieldConfig", "options"}
TARGET: Final[dict[str, type]] = {
    "refId": str,
    "expr": str,
    "datasource": dict,
    "legendFormat": str,
    "format": str,
    "instant": bool,
    "range": bool,
    "exemplar": bool,
}
KINDS = {"timeseries", "stat", "table", "heatmap", "state-timeline", "bargauge"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
COUNTERS = re.compile(r"\b\w+_total\{")
SCREEN = 21
"""Units of height that fit a screen of 1080 lines below Grafana's own bars."""


def every_panel() -> Iterator[Any]:
    for name, board in BOARDS.items():
        for panel in panels(board):
            yield pytest.param(board, panel, id=f"{name}: {panel['title']}")


each_board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
each_panel = pytest.mark.parametrize(("board", "panel"), list(every_panel()))


@each_board
def test_a_dashboard_is_of_the_known_format(board: dict[str, Any]) -> None:
    assert board["schemaVersion"] == 41
    assert board["title"].startswith("Claude / ")
    assert {"claude", "claude-sidecar"} <= set(board["tags"])
    assert board["description"]
    assert board["timezone"] == "browser"
    assert set(board["time"]) == {"from", "to"}
    assert "id" not in board, "an id belongs to one Grafana; the uid is what stays"


@each_board
def test_a_dashboard_cannot_be_edited_in_place(board: dict[str, Any]) -> None:
    """What is changed in a provisioned dashboard is lost with the next release; copies can be edited."""
    assert board["editable"] is False


@each_board
def test_ids_are_unique(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    assert all(number > 0 for number in ids)


@each_board
def test_panels_lie_on_the_grid_and_do_not_overlap(board: dict[str, Any]) -> None:
    places = [panel["gridPos"] for panel in board["panels"]]
    for place in places:
        assert place["x"] >= 0
        assert place["w"] > 0
        assert place["h"] > 0
        assert place["x"] + place["w"] <= 24
    for one, two in combinations(places, 2):
        beside = one["x"] + one["w"] <= two["x"] or two["x"] + two["w"] <= one["x"]
        above = one["y"] + one["h"] <= two["y"] or two["y"] + two["h"] <= one["y"]
        assert beside or above, (one, two)


def test_the_overview_fits_one_screen() -> None:
    places = [panel["gridPos"] for panel in BOARDS["claude-overview"]["panels"]]
    assert max(place["y"] + place["h"] for place in places) <= SCREEN


@each_board
def test_every_variable_is_used_and_every_used_variable_is_there(board: dict[str, Any]) -> None:
    texts = [target["expr"] for panel in panels(board) for target in panel["targets"]]
    texts += [target["datasource"]["uid"] for panel in panels(board) for target in panel["targets"]]
    texts += [annotation.get("expr", "") for annotation in board["annotations"]["list"]]
    used = set().union(*(used_variables(text) for text in texts))
    assert used == set(variables(board))
    known: set[str] = set()
    for name, variable in variables(board).items():
        if variable["type"] == "query":
            assert used_variables(variable["query"]["query"]) <= known, f"{name} is narrowed by a later variable"
        known.add(name)


@each_board
def test_every_variable_but_the_data_source_takes_several_values_and_all(board: dict[str, Any]) -> None:
    found = variables(board)
    assert next(iter(found)) == "datasource"
    assert found.pop("datasource")["type"] == "datasource"
    for variable in found.values():
        assert variable["multi"]
        assert variable["includeAll"]
        assert variable["allValue"] in {".*", ".+"}
        assert variable["current"]["value"] == ["$__all"]
        assert variable["refresh"] == 2, "its values follow the time range"
        assert variable["datasource"] == SOURCE


@each_board
def test_links_lead_to_all_the_others_and_keep_time_and_filters(board: dict[str, Any]) -> None:
    assert {link["url"] for link in board["links"]} == {f"/d/{uid}" for uid in BOARDS if uid != board["uid"]}
    for link in board["links"]:
        assert link["type"] == "link"
        assert link["keepTime"]
        assert link["includeVars"]
        assert link["title"]


@each_board
def test_the_import_dialog_asks_for_the_data_source(board: dict[str, Any]) -> None:
    (asked,) = board["__inputs"]
    assert asked["type"] == "datasource"
    assert asked["pluginId"] == "prometheus"
    assert variables(board)["datasource"]["current"]["value"] == "${" + asked["name"] + "}"
    required = {each["id"] for each in board["__requires"] if each["type"] == "panel"}
    assert required == {panel["type"] for panel in panels(board)}


@each_panel
def test_a_panel_is_of_the_known_format(board: dict[str, Any], panel: dict[str, Any]) -> None:
    assert panel["type"] in KINDS
    assert panel.keys() >= REQUIRED
    for key, value in panel.items():
        assert key in PANEL, f"the format has no {key}, or we did not use it so far"
        assert isinstance(value, PANEL[key]), key
    for target in panel["targets"]:
        for key, value in target.items():
            assert key in TARGET, f"the format has no {key}, or we did not use it so far"
            assert isinstance(value, TARGET[key]), key


@each_panel
def test_a_panel_says_what_it_shows_and_what_good_looks_like(board: dict[str, Any], panel: dict[str, Any]) -> None:
    assert panel["title"].strip()
    description = panel["description"]
    assert description.endswith(".")
    assert len(description) > 40
    assert "Good: " in description


@each_panel
def test_a_panel_asks_the_chosen_data_source(board: dict[str, Any], panel: dict[str, Any]) -> None:
    assert panel["datasource"] == SOURCE
    assert panel["targets"]
    assert all(target["datasource"] == SOURCE for target in panel["targets"])
    refs = [target["refId"] for target in panel["targets"]]
    assert len(refs) == len(set(refs))


@each_panel
def test_numbers_have_a_unit(board: dict[str, Any], panel: dict[str, Any]) -> None:
    if panel["type"] == "table":
        units = {
            override["matcher"]["options"]: {each["id"] for each in override["properties"]}
            for override in panel["fieldConfig"]["overrides"]
        }
        renamed = panel["transformations"][-1]["options"]["renameByName"]
        numbers = [title for name, title in renamed.items() if name.startswith("Value")]
        assert numbers
        assert all(units[title] & {"unit", "mappings"} for title in numbers)
    elif panel["type"] == "heatmap":
        assert panel["options"]["yAxis"]["unit"]
    elif panel["type"] == "state-timeline":
        assert panel["fieldConfig"]["defaults"]["mappings"]
    else:
        assert panel["fieldConfig"]["defaults"]["unit"]


@each_panel
def test_a_panel_without_data_says_so_in_words(board: dict[str, Any], panel: dict[str, Any]) -> None:
    assert panel["fieldConfig"]["defaults"]["noValue"]


@each_panel
def test_a_graph_with_many_lines_names_them_by_a_label(board: dict[str, Any], panel: dict[str, Any]) -> None:
    if panel["type"] in {"timeseries", "bargauge", "state-timeline"}:
        for target in panel["targets"]:
            assert target["legendFormat"] != "__auto"


def test_counters_are_read_as_rates() -> None:
    """Grafana's linter: a counter's own value means nothing, and it is summed only after `rate`."""
    for query in queries():
        for found in COUNTERS.finditer(query.expr):
            before = query.expr[: found.start()]
            assert re.search(r"(rate|increase)\($", before), query


def test_windows_fit_the_resolution_of_the_graph() -> None:
    """Grafana's linter: `$__rate_interval`, unless what is asked for is the whole range or a fixed span of time."""
    fixed = {
        # At what pace a limit runs out is told over ten minutes: in less, a refill looks like the trend.
        "claude-breakers-limits / Rate limits now / E": "10m",
    }
    for query in queries():
        # A quoted string may hold brackets too.
        bare = re.sub(r'"[^"]*"', '""', query.expr)
        for window in re.findall(r"\[([^\]]+)\]", bare):
            allowed = {"$__rate_interval", "$__range", "$__range:$__interval", fixed.get(str(query))}
            assert window in allowed, query


def test_the_range_as_a_window_is_asked_once_per_query_not_per_point() -> None:
    for query in queries():
        if "$__range" in query.expr and not query.instant:
            assert "@ end()" in query.expr, query


def test_every_query_is_filtered_by_job_and_what_says_which_instance_by_instance() -> None:
    """Grafana's linter wants both everywhere. Recorded series have no instance, and no objective's own series a job."""
    without_job = re.compile(r"^slo:(objective|error_budget):ratio$")
    for query in (*queries(), *annotations()):
        wanted = {"job"} | (
            {"instance"} if query.board == "claude-sidecar-health" and query.panel != "annotations" else set()
        )
        for metric, matchers in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}", query.expr):
            if not without_job.match(metric):
                assert wanted <= used_variables(matchers), (str(query), metric)


def test_nothing_is_divided_by_what_may_be_nothing() -> None:
    """A quiet service has no NaN: what is divided by is positive, or a setting that cannot be 0."""
    never_zero = re.compile(
        r"^\s*(on \(sloth_id\) group_left \(\) max by \(sloth_id\) \(slo:error_budget"
        r"|process_max_fds|max by \(profile, phase\) \(claude_timeout_setting_seconds"
        r"|max by \(job, model\) \(claude:prompt_tokens:mean_7d)"
    )
    for query in queries():
        bare = re.sub(r"\{[^}]*\}", "", query.expr)
        for divisor in re.split(r" / ", bare)[1:]:
            assert re.search(r"> 0\)", divisor) or never_zero.match(divisor), (str(query), divisor)
