"""The one admin server: a small, read-only HTTP server for metrics, health and whatever pages are mounted on it.

It knows HTTP and the telemetry's page; not who runs it.
"""

from sidecar.admin.http import Handler, Request, Response
from sidecar.admin.lag import watch_event_loop
from sidecar.admin.listen import Address, AdminError, parse_address
from sidecar.admin.routes import Readiness, open_console, standard_routes
from sidecar.admin.server import AdminServer

__all__ = [
    "Address",
    "AdminError",
    "AdminServer",
    "Handler",
    "Readiness",
    "Request",
    "Response",
    "open_console",
    "parse_address",
    "standard_routes",
    "watch_event_loop",
]
