"""Service level objectives as code: `load` a file, `validate` what it means, `generate` rules, `explain` them."""

from sidecar.slo.explain import explain
from sidecar.slo.generate import Links, generate
from sidecar.slo.load import errors, load
from sidecar.slo.spec import Calls, Events, Kind, Notice, Ratio, Slo
from sidecar.slo.validate import validate

__all__ = [
    "Calls",
    "Events",
    "Kind",
    "Links",
    "Notice",
    "Ratio",
    "Slo",
    "errors",
    "explain",
    "generate",
    "load",
    "validate",
]
