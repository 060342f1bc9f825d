"""docs/client.md names every setting, and its configuration can be used."""

import re
from pathlib import Path

from sidecar.client.policies import configured
from sidecar.config import CLIENT, load
from sidecar.model import Profile

DOCS = (Path(__file__).parents[2] / "docs" / "client.md").read_text()


def test_every_setting_is_documented_with_its_variable() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(SIDECAR_\w+)` \|", DOCS, re.MULTILINE))
    assert rows == {name: f"SIDECAR_{name.upper()}" for name in CLIENT}


def test_the_configuration_it_shows_can_be_used(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    file = tmp_path / "sidecar.toml"
    file.write_text(example)
    assert load("client", CLIENT, file=file, environ={})["policies"] is True
    found = configured(file)
    assert found[Profile.REALTIME].timeouts.first_byte == 8
    assert found[Profile.REALTIME].retry.max_attempts == 2
