"""Recording rules, alerts and everything they need, built from one thresholds table."""

from sidecar.alerts.build import ALERT_NAMES, alert_groups
from sidecar.alerts.recording import recording_groups
from sidecar.alerts.values import Values, ValuesError, load_values
from sidecar.rules.histograms import Buckets

__all__ = ["ALERT_NAMES", "Buckets", "Values", "ValuesError", "alert_groups", "load_values", "recording_groups"]
