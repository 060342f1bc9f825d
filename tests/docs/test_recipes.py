"""The recipes of docs/recipes.md are run as a reader would run them: each in a folder and a process of its own."""

import asyncio
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from sidecar.chaos import Chaos, chaos_server

PAGE: Final = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
FILES: Final = {
    heading: dict(re.findall(r"```\w+\n# (\S+)\n(.*?)```", text, re.DOTALL))
    for heading, _, text in (section.partition("\n") for section in PAGE.split("\n## ")[1:])
}
TOOLS: Final = Path(sys.executable).parent
PATIENCE: Final = 30.0


@pytest.fixture
def chaos() -> Iterator[Chaos]:
    with chaos_server() as running:
        yield running


@pytest.fixture
def short() -> Iterator[str]:
    """Give a path for a socket: it must be short, wherever the tests' own folders are."""
    with tempfile.TemporaryDirectory(prefix="sidecar-", dir="/tmp") as folder:
        yield f"{folder}/s"


def environment(chaos: Chaos, **more: str) -> dict[str, str]:
    return {**os.environ, "ANTHROPIC_BASE_URL": chaos.url, "ANTHROPIC_API_KEY": "k", **more}


def place(recipe: str, folder: Path) -> Path:
    for name, text in FILES[recipe].items():
        (folder / name).write_text(text)
    return folder


def run(code: str, folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def started(*command: str, folder: Path, env: dict[str, str]) -> Iterator[None]:
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([TOOLS / command[0], *command[1:]], cwd=folder, env=env, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE)


def eventually(wanted: str, url: str) -> None:
    """Read a page until it has a line that begins so."""
    page, end = "", time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:  # noqa: S310  # an address of ours
                page = answer.read().decode()
        except OSError:
            page = ""
        if any(line.startswith(wanted) for line in page.splitlines()):
            return
        time.sleep(0.05)
    raise AssertionError(f"{url} has no line {wanted!r}:\n{page}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def test_fastapi_answers_and_shows_its_metrics(chaos: Chaos, tmp_path: Path) -> None:
    asking = """
import asyncio, app

async def get(path, query=b""):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": path, "raw_path": path.encode(), "root_path": "", "query_string": query, "headers": [],
             "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2)}
    await app.app(scope, receive, send)
    assert sent[0]["status"] == 200, sent
    return b"".join(message.get("body", b"") for message in sent).decode()

async def main():
    assert len(await get("/ask", b"question=Hello")) > 2
    print(await get("/metrics/"))

asyncio.run(main())
"""
    page = run(asking, place("FastAPI", tmp_path), environment(chaos))
    assert re.search(r'^claude_calls_total\{.*profile="interactive".*outcome="ok".*\} 1(\.0)?$', page, re.MULTILINE)


def test_gunicorn_workers_are_one_target(chaos: Chaos, tmp_path: Path, short: str) -> None:
    place("gunicorn", tmp_path)
    env = environment(chaos, SIDECAR_SOCKET=short)
    admin, port = free_port(), free_port()
    with (
        started("sidecar", "collect", "--admin", f"127.0.0.1:{admin}", folder=tmp_path, env=env),
        started(
            "gunicorn", "--workers=2", "--preload", f"--bind=127.0.0.1:{port}", "app:app", folder=tmp_path, env=env
        ),
    ):
        eventually("sidecar_build_info", f"http://127.0.0.1:{admin}/metrics")
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as answer:
                    assert len(answer.read()) > 2
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                time.sleep(0.05)
        eventually('claude_calls_total{endpoint="messages"', f"http://127.0.0.1:{admin}/metrics")


def test_a_celery_task_is_counted_as_background(chaos: Chaos, tmp_path: Path, short: str) -> None:
    asking = """
import sidecar, tasks
assert len(tasks.summarize.apply(("a text",)).get()) > 2
print(sidecar.default_telemetry().value("claude_calls_total", profile="background", outcome="ok"))
"""
    assert run(asking, place("Celery", tmp_path), environment(chaos, SIDECAR_SOCKET=short)) == "1\n"


def test_a_lambda_has_sent_its_metrics_when_it_returns(chaos: Chaos, tmp_path: Path) -> None:
    received: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"(?i)content-length: (\d+)", head)[1])  # type: ignore[index]  # or the test fails
        received.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            env = environment(
                chaos,
                OTEL_EXPORTER_OTLP_ENDPOINT=url,
                OTEL_EXPORTER_OTLP_COMPRESSION="none",
                OTEL_METRICS_EXEMPLAR_FILTER="always_off",
            )
            asking = "import os, handler; print(handler.handler({'question': 'x'}, None)); os._exit(0)"
            await asyncio.to_thread(run, asking, place("AWS Lambda", tmp_path), env)

    asyncio.run(main())
    assert any(b"gen_ai.client.operation.duration" in body for body in received)


def test_langchain_is_seen(chaos: Chaos, tmp_path: Path) -> None:
    asking = """
import chain, sidecar
print(sidecar.default_telemetry().value("claude_calls_total", profile="agentic", outcome="ok"))
"""
    assert run(asking, place("LangChain", tmp_path), environment(chaos)).endswith("\n1\n")


def test_the_kubernetes_resources_fit_together() -> None:
    resources: list[Any] = list(yaml.safe_load_all(FILES["Kubernetes"]["deployment.yaml"]))
    deployment, monitor = resources
    app, sidecar = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = sidecar["ports"]
    assert sidecar["args"][sidecar["args"].index("--admin") + 1] == f"0.0.0.0:{port['containerPort']}"
    assert {probe["httpGet"]["port"] for probe in (sidecar["readinessProbe"], sidecar["livenessProbe"])} == {
        port["name"]
    }
    assert app["env"][0]["value"] == "http://127.0.0.1:8788"
    assert monitor["spec"]["podMetricsEndpoints"][0]["port"] == port["name"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == monitor["spec"]["selector"]["matchLabels"] == labels
