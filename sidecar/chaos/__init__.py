"""A fake Claude API that misbehaves on command: `sidecar chaos`, and `chaos_server()` for tests."""

from sidecar.chaos.faults import FaultError
from sidecar.chaos.handle import AsyncChaos, Chaos, chaos_server
from sidecar.chaos.scenario import Scenario
from sidecar.chaos.scenario_file import ScenarioError, builtin_names, load_scenario, parse_scenario
from sidecar.chaos.server import ListenError
from sidecar.chaos.truth import Attempt, End

__all__ = [
    "AsyncChaos",
    "Attempt",
    "Chaos",
    "End",
    "FaultError",
    "ListenError",
    "Scenario",
    "ScenarioError",
    "builtin_names",
    "chaos_server",
    "load_scenario",
    "parse_scenario",
]
