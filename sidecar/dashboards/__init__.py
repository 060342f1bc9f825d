"""The Grafana dashboards as they are shipped, and the forms in which Grafana takes them. It draws nothing itself."""

from sidecar.dashboards.export import Form, Settings, bundle, shipped, write

__all__ = ["Form", "Settings", "bundle", "shipped", "write"]
