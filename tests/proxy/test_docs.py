"""The reference tables of `docs/proxy.md` say what the code says."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.config import Setting
from sidecar.proxy.errors import CODES
from sidecar.proxy.limits import Limits
from sidecar.proxy.settings import LISTENERS, PROXY, RULES, UPSTREAMS, build, read_values

PAGE = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()


def test_every_limit_is_documented_with_its_default() -> None:
    rows = [f"| `{field.name}` | {getattr(Limits(), field.name):.0f} |" for field in fields(Limits)]
    assert [row for row in rows if row not in PAGE] == []


def test_every_error_is_documented_with_its_status() -> None:
    assert [code for code, status in CODES.items() if f"| `{code}` | {status} |" not in PAGE] == []


def shown(default: object) -> str:
    if isinstance(default, list):
        default = default[0]
    return str(default).lower() if isinstance(default, bool) else str(default)


def test_every_setting_is_documented_with_its_variable_and_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(SIDECAR_\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    plain = {name: setting for name, setting in PROXY.items() if setting.help != "see below"}
    assert [row[:2] for row in rows] == [(name, f"SIDECAR_{name.upper()}") for name in plain]
    wrong = [
        (name, default)
        for name, _, default in rows
        if plain[name].default is not None and default != f"`{shown(plain[name].default)}`"
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("section", "settings"),
    [("[[proxy.listeners]]", LISTENERS), ("[[proxy.profiles]]", RULES), ("[proxy.upstreams.NAME]", UPSTREAMS)],
)
def test_every_part_of_a_section_is_documented(section: str, settings: Mapping[str, Setting]) -> None:
    table = PAGE.partition(f"| of `{section}` |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(settings)


def test_what_is_said_to_need_a_restart_does() -> None:
    said = PAGE.partition("the old configuration stays in force, whole. ")[2].partition(" cannot change")[0]
    assert re.findall(r"`(?:\[\[proxy\.)?(\w+)(?:\]\])?`", said) == [
        "listen",
        "listeners",
        "admin",
        "socket_mode",
        "workers",
        "log_format",
    ]


def test_the_examples_of_the_file_can_be_used(tmp_path: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        path = tmp_path / "sidecar.toml"
        path.write_text(example)
        assert set(tomllib.loads(example)) == {"proxy"}
        assert build(read_values({}, file=path, environ={}), {}).proxy.others
