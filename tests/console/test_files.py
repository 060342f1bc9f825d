"""The page's files: small, whole, without foreign code but what is named, and in the dashboards' colours."""

import gzip
import re
from pathlib import Path

import pytest

from dashboards.src import palette
from sidecar.console import asked
from sidecar.console.assets import TYPES, answer, names

STATIC = Path(__file__).parents[2] / "sidecar" / "console" / "static"
PAGES = ("index.html", "login.html")
CODE = [name for name in names() if name != "uplot.js"]


def test_all_of_it_is_at_most_120_kilobytes() -> None:
    sizes = {path.name: path.stat().st_size for path in STATIC.iterdir()}
    assert sum(sizes.values()) <= 120_000, sizes


def test_what_is_not_ours_comes_with_its_licence() -> None:
    assert "uPlot (v1.6.32)" in (STATIC / "uplot.js").read_text()[:100]
    assert "Permission is hereby granted" in (STATIC / "uplot.LICENSE").read_text()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_inline_script_or_style(name: str) -> None:
    text = (STATIC / name).read_text()
    assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=|javascript:", text) == []


@pytest.mark.parametrize("name", [*PAGES, *CODE])
def test_nothing_is_fetched_from_elsewhere(name: str) -> None:
    text = (STATIC / name).read_text()
    allowed = {"http://www.w3.org/2000/svg", "http://127.0.0.1:8788"}
    assert set(re.findall(r"https?://[\w.:/-]+", text)) - allowed == set()
    for target in re.findall(r'(?:src|href)="([^"#]+)"|from "([^"]+)"', text):
        path = "".join(target)
        assert path in {"/", "/metrics", "/api/v1/status"} or path.removeprefix("/console/") in names(), path


@pytest.mark.parametrize("name", [name for name in CODE if name.endswith(".js")])
def test_text_never_becomes_markup(name: str) -> None:
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", (STATIC / name).read_text()) == []


def test_the_colours_are_the_dashboards() -> None:
    dark = (STATIC / "console.css").read_text().partition("}")[0]
    shown = {name.replace("-", "_"): value for name, value in re.findall(r"--([\w-]+): (#[0-9A-F]{6});", dark)}
    meanings = {"good": palette.GOOD, "notice": palette.NOTICE, "bad": palette.BAD, "quiet": palette.QUIET}
    for colours in (palette.PERCENTILES, palette.OUTCOMES, palette.PHASES, palette.RESULTS, meanings):
        for name, value in colours.items():
            assert shown[str(name)] == value, name


@pytest.mark.parametrize("name", names())
def test_a_file_is_sent_whole_packed_or_not_at_all(name: str) -> None:
    path, body = f"/console/{name}", (STATIC / name).read_bytes()
    plain = answer(asked("GET", path, "", {}))
    headers = dict(plain.headers)
    assert (plain.status, plain.body) == (200, body)
    assert headers["Content-Type"] == TYPES[name.rpartition(".")[2]]
    assert headers["Content-Length"] == str(len(body))
    packed = answer(asked("GET", path, "", {"accept-encoding": "gzip"}))
    assert gzip.decompress(packed.body) == body
    assert dict(packed.headers)["Content-Encoding"] == "gzip"
    known = answer(asked("GET", path, "", {"if-none-match": headers["ETag"]}))
    assert (known.status, known.body) == (304, b"")
