"""The reference tables of `docs/proxy.md` say what the code says."""

from dataclasses import fields
from pathlib import Path

from sidecar.proxy.errors import CODES
from sidecar.proxy.limits import Limits

PAGE = (Path(__file__).parents[2] / "docs" / "proxy.md").read_text()


def test_every_limit_is_documented_with_its_default() -> None:
    rows = [f"| `{field.name}` | {getattr(Limits(), field.name):.0f} |" for field in fields(Limits)]
    assert [row for row in rows if row not in PAGE] == []


def test_every_error_is_documented_with_its_status() -> None:
    assert [code for code, status in CODES.items() if f"| `{code}` | {status} |" not in PAGE] == []
