"""The proxies that are measured, each set up as one would put it in front of the API.

Keep-alive on both sides, no buffering of answers, no access log.
"""

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.proxy.processes import PROXY_CORE, Child, child

_START_SECONDS: Final = 60.0

Command = Callable[[int, int, Path], tuple[str, ...] | None]
"""Given its port, the upstream's and a folder for its files, how a proxy is started; None where it is not here."""


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that answers."""

    name: str
    port: int
    process: Child
    start_seconds: float


def _debian() -> Path:
    return Path(os.environ.get("BENCH_DEBIAN_ROOT", "/"))


def _nginx(port: int, upstream: int, folder: Path) -> tuple[str, ...] | None:
    program = shutil.which("nginx") or shutil.which(str(_debian() / "usr/sbin/nginx"))
    if program is None:
        return None
    places = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""
        daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/log;
        worker_rlimit_nofile 16384;
        events {{ worker_connections 16000; }}
        http {{
          access_log off; {places}
          upstream api {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000; }}
          server {{
            listen 127.0.0.1:{port} backlog=4096; keepalive_requests 1000000;
            location / {{
              proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection "";
              proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 900s;
            }}
          }}
        }}""")
    return program, "-p", str(folder), "-e", f"{folder}/log", "-c", f"{folder}/nginx.conf"


def _haproxy(port: int, upstream: int, folder: Path) -> tuple[str, ...] | None:
    program = shutil.which("haproxy") or shutil.which(str(_debian() / "usr/sbin/haproxy"))
    if program is None:
        return None
    (folder / "haproxy.cfg").write_text(f"""
global
  nbthread 1
  maxconn 8000
defaults
  mode http
  timeout connect 10s
  timeout client 900s
  timeout server 900s
  http-reuse always
  option http-no-delay
listen api
  bind 127.0.0.1:{port} backlog 4096
  server api 127.0.0.1:{upstream} pool-max-conn 256
""")
    return program, "-f", str(folder / "haproxy.cfg"), "-db"


def _envoy(port: int, upstream: int, folder: Path) -> tuple[str, ...] | None:
    found = sorted(Path(os.environ.get("BENCH_ENVOY", "/nowhere")).glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        return None
    (folder / "envoy.yaml").write_text(f"""
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: api
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: api
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: api, timeout: 0s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: api
    type: STATIC
    circuit_breakers: {{thresholds: [{{max_connections: 8192, max_requests: 8192, max_pending_requests: 8192}}]}}
    load_assignment:
      cluster_name: api
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {upstream}}}}}}}
""")
    options = ("--concurrency", "1", "--log-level", "error", "--use-dynamic-base-id")
    return str(found[-1]), "-c", str(folder / "envoy.yaml"), *options


def _litellm(port: int, upstream: int, folder: Path) -> tuple[str, ...] | None:
    program = Path(os.environ.get("BENCH_LITELLM", "/nowhere")) / "bin" / "litellm"
    if not program.exists():
        return None
    (folder / "litellm.yaml").write_text(f"""
model_list:
- model_name: claude-sonnet-5-5
  litellm_params:
    model: anthropic/claude-sonnet-5-5
    api_base: http://127.0.0.1:{upstream}
    api_key: none
litellm_settings: {{telemetry: false}}
general_settings: {{dangerously_permit_weak_or_unset_master_key: true}}
""")
    return str(program), "--config", str(folder / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)


def _sidecar(*, ca_file: Path | None = None) -> Command:
    def command(port: int, upstream: int, folder: Path) -> tuple[str, ...]:
        scheme, host = ("http", "127.0.0.1") if ca_file is None else ("https", "localhost")
        lines = [
            f'upstream = "{scheme}://{host}:{upstream}"',
            f'listen = ["127.0.0.1:{port}"]',
            'admin = "127.0.0.1:0"',
        ]
        if ca_file is not None:
            lines.append(f'ca_file = "{ca_file}"')
        (folder / "sidecar.toml").write_text("\n".join(["[proxy]", *lines, ""]))
        program = Path(sys.executable).with_name("sidecar")
        return str(program), "proxy", "--config", str(folder / "sidecar.toml")

    return command


def _relay(port: int, upstream: int, folder: Path) -> tuple[str, ...]:  # noqa: ARG001  # it has no files
    return sys.executable, "-m", "benchmarks.proxy.relay", str(port), str(upstream)


PROXIES: Final[dict[str, Command]] = {
    "nginx": _nginx,
    "haproxy": _haproxy,
    "envoy": _envoy,
    "relay": _relay,
    "sidecar": _sidecar(),
    "litellm": _litellm,
}


def sidecar_over_tls(ca_file: Path) -> Command:
    """Start ours towards an upstream that speaks TLS."""
    return _sidecar(ca_file=ca_file)


def _is_unpacked(arguments: tuple[str, ...]) -> bool:
    """Whether a program was unpacked from the distribution rather than installed."""
    return _debian() != Path("/") and arguments[0].startswith(str(_debian()))


@contextmanager
def running(name: str, command: Command, upstream: int, folder: Path) -> Iterator[Running | None]:
    """Run a proxy; None where it is not to be had here."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    folder.mkdir(parents=True, exist_ok=True)
    arguments = command(port, upstream, folder)
    if arguments is None:
        yield None
        return
    unpacked = {"LD_LIBRARY_PATH": f"{_debian()}/usr/lib/{os.uname().machine}-linux-gnu"}
    begun = time.monotonic()
    environ = unpacked if _is_unpacked(arguments) else None
    with child(*arguments, core=PROXY_CORE, environ=environ, log=folder / "output") as process:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.ended or time.monotonic() - begun > _START_SECONDS:
                    said = (folder / "output").read_text()[-2000:]
                    raise SystemExit(f"{name} does not listen:\n{said}") from None
                time.sleep(0.005)
        yield Running(name, port, process, time.monotonic() - begun)
