"""Sets the stage: the fake API, both sidecars, the applications, and where they are installed the real servers.

Everything is a process of its own that ends with the demo, and writes only into the demo's own folder.
"""

import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from sidecar.demo import grafana
from sidecar.demo.own import OWN, export
from sidecar.demo.process import Process
from sidecar.demo.programs import MissingProgramError, find
from sidecar.demo.servers import Server, alertmanager, free_port, prometheus
from sidecar.demo.settings import delivering, scraping
from sidecar.demo.webhook import Webhook, webhook

__all__ = ["Stage", "set_up", "values_of"]

_PATIENCE: Final = 60.0
_LONGEST: Final = 100
"""Bytes of a socket's path that every system takes."""
DATA: Final = files("sidecar.demo") / "data"
_SDK: Final = "@anthropic-ai/sdk@^1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is running, and where."""

    home: Path
    api: str
    collector: str
    """``host:port`` of the pages of the sidecar behind the socket."""
    proxy: str
    """What to put into ANTHROPIC_BASE_URL."""
    proxy_admin: str
    """``host:port`` of the proxy's pages."""
    receiver: Webhook
    prometheus: Server | None
    alertmanager: Server | None
    grafana: str | None
    """Its address, where one is installed."""

    @property
    def pages(self) -> tuple[str, str]:
        """The addresses that have numbers."""
        return self.collector, self.proxy_admin

    @property
    def links(self) -> dict[str, str]:
        """Pages to open, by what they are."""
        found = {
            "console (Python clients)": f"http://{self.collector}/",
            "console (proxy)": f"http://{self.proxy_admin}/",
            "metrics": f"http://{self.collector}/metrics",
        }
        if self.prometheus is not None:
            found["Prometheus, alerts"] = f"{self.prometheus.url}/alerts"
        if self.alertmanager is not None:
            found["Alertmanager"] = self.alertmanager.url
        if self.grafana is not None:
            found["Grafana"] = f"{self.grafana}{grafana.DASHBOARDS}"
        return found


@contextmanager
def set_up(home: Path, say: Callable[[str], None]) -> Iterator[Stage]:
    """Start everything; the applications begin to call at last, when everybody is watching."""
    with ExitStack() as stack:
        receiver = stack.enter_context(webhook())
        _, (api,) = _sidecar(
            stack,
            home,
            "chaos",
            "--scenario",
            _data(home, "story.toml"),
            "--listen",
            "127.0.0.1:0",
            announced=r"listening on (http://\S+)",
        )
        socket = _socket(stack, home)
        _, (collector,) = _sidecar(
            stack,
            home,
            "collect",
            "--socket",
            str(socket),
            "--admin",
            "127.0.0.1:0",
            announced=r"metrics at http://(127\.0\.0\.1:\d+)/",
        )
        _, (proxy, admin) = _sidecar(
            stack,
            home,
            "proxy",
            "--upstream",
            api,
            "--listen",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            announced=r"ANTHROPIC_BASE_URL=(http://\S+)[\s\S]*http://(127\.0\.0\.1:\d+)/metrics",
        )
        say("the fake API, a proxy and a collector are running")
        watching = _watching(stack, home, {"collector": collector, "proxy": admin}, receiver, say)
        for kind in ("sync", "async"):
            environment = {"ANTHROPIC_BASE_URL": api, "SIDECAR_SOCKET": str(socket)}
            _start(stack, home, f"fleet-{kind}", [sys.executable, "-m", "sidecar.demo.fleet", kind], environment)
        say("two Python applications call, instrumented with one line and a policy")
        _typescript(stack, home, proxy, say)
        yield Stage(
            home=home,
            api=api,
            collector=collector,
            proxy=proxy,
            proxy_admin=admin,
            receiver=receiver,
            prometheus=watching and watching[0],
            alertmanager=watching and watching[1],
            grafana=watching and _grafana(stack, home, watching[0]),
        )


def _socket(stack: ExitStack, home: Path) -> Path:
    """Choose where the socket is: in a short folder of its own where the temporary folder's path is a long one."""
    path = home / "records.sock"
    if len(os.fsencode(path)) <= _LONGEST:
        return path
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-", dir="/tmp"))
    return Path(folder, "s")


def _watching(
    stack: ExitStack, home: Path, targets: Mapping[str, str], receiver: Webhook, say: Callable[[str], None]
) -> tuple[Server, Server] | None:
    """Start Prometheus with the bundled rules, and Alertmanager with the bundled routes, where they are installed."""
    try:
        for program in ("prometheus", "alertmanager"):
            find(program)
    except MissingProgramError as missing:
        what, debian, *_ = str(missing).splitlines()
        say(f"no alerts, only the console: {what} {' '.join(debian.split())}")
        return None
    export("alerts", home, "--values", str(values_of(home)))
    example = (home / "alertmanager" / "alertmanager.example.yaml").read_text(encoding="utf-8")
    alerts = stack.enter_context(alertmanager(home, delivering(example, receiver.url)))
    config = scraping(
        {job: [target] for job, target in targets.items()},
        rules=sorted((home / "rules").iterdir()),
        alertmanager=alerts.address,
    )
    server = stack.enter_context(prometheus(home, config))
    say("Prometheus evaluates the bundled rules, Alertmanager sends to a webhook here")
    return server, alerts


def _grafana(stack: ExitStack, home: Path, source: Server) -> str | None:
    """Start the Grafana that is installed, if one is; it needs seconds, and nobody waits for it."""
    command = grafana.program()
    if command is None:
        return None
    port = free_port()
    provisioning = grafana.provision(home / "dashboards", prometheus=source.url)
    _start(stack, home, "grafana", command, grafana.environment(home, provisioning, port))
    return f"http://127.0.0.1:{port}"


def _typescript(stack: ExitStack, home: Path, proxy: str, say: Callable[[str], None]) -> None:
    """Let an application in TypeScript's SDK call through the proxy; its SDK comes from npm meanwhile."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        say("no node or npm here: nobody calls through the proxy but you")
        return
    folder = home / "typescript"
    folder.mkdir()
    (folder / "client.mjs").write_text((DATA / "client.mjs").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "package.json").write_text('{"private": true}', encoding="utf-8")
    # In one shell, so that the demo does not wait: a slow registry only lets this application come later.
    script = '"$1" install --no-audit --no-fund --loglevel=error "$2" && exec "$3" client.mjs'
    command = ["/bin/sh", "-c", f'cd "$4" && {script}', "sh", npm, _SDK, node, str(folder)]
    # npm and node leave caches in the temporary folder, and npm takes its time to end: it is not worth waiting for.
    environment = {"ANTHROPIC_BASE_URL": proxy, "TMPDIR": str(folder)}
    stack.callback(_start(stack, home, "typescript", command, environment).kill)
    say("an application in TypeScript will call through the proxy, once npm has brought its SDK")


def _sidecar(
    stack: ExitStack, home: Path, command: str, *arguments: str, announced: str
) -> tuple[Process, tuple[str, ...]]:
    """Start one of our own commands, and read from its first lines where it listens."""
    process = _start(stack, home, command, [*OWN, command, *arguments], {})
    pattern = re.compile(announced)

    def said() -> re.Match[str] | None:
        return pattern.search(process.log.read_text(encoding="utf-8"))

    process.wait_until(lambda: said() is not None, _PATIENCE)
    found = said()
    assert found is not None  # noqa: S101  # it was just there
    return process, found.groups()


def _start(
    stack: ExitStack, home: Path, name: str, command: Sequence[str | Path], environment: Mapping[str, str]
) -> Process:
    # What the user's own environment says of sidecars and API keys is not for these.
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SIDECAR_", "ANTHROPIC_"))}
    return stack.enter_context(Process(command, home / f"{name}.log", {**inherited, **environment}))


def values_of(home: Path) -> Path:
    """Give the thresholds of the demo's alerts as a file."""
    return Path(_data(home, "values.yaml"))


def _data(home: Path, name: str) -> str:
    """Put a file of the package where other programs can read it."""
    path = home / name
    path.write_text((DATA / name).read_text(encoding="utf-8"), encoding="utf-8")
    return str(path)
