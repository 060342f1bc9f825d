"""Write the dashboards, or, with ``--check``, say which are not what the code makes."""

import argparse
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from dashboards.src.page import PAGES, Page, assemble

FOLDER: Final = Path(__file__).parents[2] / "sidecar" / "dashboards" / "data"
"""Part of the package, which needs them without the library that draws them; ``sidecar export`` does the rest."""


def rendered() -> dict[str, str]:
    """Return file name -> text of every dashboard."""
    found = {}
    for uid in PAGES:
        module = import_module(f"dashboards.src.{uid.removeprefix('claude-').replace('-', '_')}")
        page: Page = module.PAGE
        found[f"{uid}.json"] = _text(assemble(page))
    return found


def _text(board: dict[str, Any]) -> str:
    return json.dumps(board, ensure_ascii=False, separators=(",", ":")) + "\n"


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m dashboards.src", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is not current")
    check = parser.parse_args().check
    texts = rendered()
    stale = [name for name, text in texts.items() if _current(FOLDER / name) != text]
    left = sorted(path.name for path in FOLDER.glob("*.json") if path.name not in texts)
    if check and (stale or left):
        sys.exit(f"dashboards: not current: {', '.join(stale + left)}; run `make dashboards` and commit the result")
    if not check:
        for name in stale:
            (FOLDER / name).write_text(texts[name], encoding="utf-8")
        for name in left:
            (FOLDER / name).unlink()
    print(f"dashboards: {len(texts)} are current")  # noqa: T201  # a command's report


def _current(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    main()
