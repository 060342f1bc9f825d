"""The reference pages are as the code is now."""

from pathlib import Path

import pytest

from scripts.reference import MADE, ROOT, cli


@pytest.mark.parametrize("page", MADE, ids=lambda path: path.name)
def test_a_reference_page_is_what_would_be_written_now(page: Path) -> None:
    assert page.read_text() == MADE[page](), f"{page.relative_to(ROOT)} is out of date: run `make reference`"


def test_every_command_is_in_the_reference() -> None:
    page = cli()
    for command in ("sidecar", "sidecar chaos", "sidecar export alerts", "sidecar slo validate"):
        assert f"\n## {command}\n" in page
