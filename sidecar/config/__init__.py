"""The one loader of configuration: ``sidecar.toml``, ``SIDECAR_*``, and what code gives, checked as a whole."""

from sidecar.config.errors import ConfigError
from sidecar.config.loader import load, policy_tables
from sidecar.config.readers import Setting
from sidecar.config.settings import CLIENT

__all__ = ["CLIENT", "ConfigError", "Setting", "load", "policy_tables"]
