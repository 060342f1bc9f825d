"""The reference pages are as the code is now."""

import subprocess
import sys

from scripts.reference import ROOT, cli


def test_the_reference_pages_are_what_would_be_written_now() -> None:
    # In a process of its own: a command remembers how it was first asked for help, and other tests ask too.
    checked = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_every_command_is_in_the_reference() -> None:
    page = cli()
    for command in ("sidecar", "sidecar chaos", "sidecar export alerts", "sidecar slo validate"):
        assert f"\n## {command}\n" in page
