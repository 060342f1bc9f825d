"""A collector of OpenTelemetry's own protocol over HTTP, in a thread, that keeps what it is sent."""

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.trace.v1.trace_pb2 import Span


class Collector:
    """What came, and where to send it."""

    def __init__(self, port: int) -> None:
        self.traces_url = f"http://127.0.0.1:{port}/v1/traces"
        self.metrics_url = f"http://127.0.0.1:{port}/v1/metrics"
        self.spans: list[Span] = []
        self.metrics: dict[str, Metric] = {}

    def take(self, path: str, body: bytes) -> bytes:
        if path == "/v1/traces":
            spans = ExportTraceServiceRequest.FromString(body)
            self.spans += [span for each in spans.resource_spans for scope in each.scope_spans for span in scope.spans]
            return bytes(ExportTraceServiceResponse().SerializeToString())
        metrics = ExportMetricsServiceRequest.FromString(body)
        for each in metrics.resource_metrics:
            for scope in each.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}
        return bytes(ExportMetricsServiceResponse().SerializeToString())


@contextmanager
def collector() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            answer = kept.take(self.path, body)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        kept = Collector(server.server_port)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()


def plain(attributes: "Iterable[KeyValue]") -> dict[str, object]:
    """Return attributes as a dict of plain values; of lists, of strings."""
    values: dict[str, object] = {}
    for each in attributes:
        kind = each.value.WhichOneof("value")
        if kind == "array_value":
            values[each.key] = [item.string_value for item in each.value.array_value.values]
        else:
            values[each.key] = getattr(each.value, kind) if kind else None
    return values
