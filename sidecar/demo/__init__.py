"""Real servers for trying the whole thing on one machine: `sidecar demo`, and the tests from end to end.

Prometheus and Alertmanager are found on PATH, listen on loopback, and end with the process that started them.
"""

from sidecar.demo.process import Process, ProcessError
from sidecar.demo.programs import MissingProgramError, find
from sidecar.demo.servers import Server, alertmanager, prometheus
from sidecar.demo.settings import delivering, scraping
from sidecar.demo.webhook import Notice, Webhook, webhook

__all__ = [
    "MissingProgramError",
    "Notice",
    "Process",
    "ProcessError",
    "Server",
    "Webhook",
    "alertmanager",
    "delivering",
    "find",
    "prometheus",
    "scraping",
    "webhook",
]
