"""The server's own pages under `/chaos`: its state, the ground truth, starting over, and faults for what comes next."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final, Protocol
from urllib.parse import parse_qs

from sidecar.chaos.api import Refusal
from sidecar.chaos.faults import FAULTS, FaultError, parse_sequence
from sidecar.chaos.forced import Forced
from sidecar.chaos.http import Request
from sidecar.chaos.reply import Reply, json_reply, refused
from sidecar.chaos.scenario import Moment, Scenario
from sidecar.chaos.truth import Truth

__all__ = ["Owner", "own_page"]

_MAX_QUERY: Final = 100
_METHODS: Final = {"/chaos": "GET", "/chaos/truth": "GET", "/chaos/reset": "POST", "/chaos/next": "POST"}


class Owner(Protocol):
    """What the pages show and change."""

    scenario: Scenario
    seed: int
    truth: Truth
    forced: Forced
    moment: Callable[[], Moment]

    def reset(self) -> None:
        """Start over."""
        ...


def own_page(owner: Owner, request: Request) -> Reply:
    """Answer one request for a page."""
    method = _METHODS.get(request.path)
    if method is None:
        return refused(Refusal(404, f"Not found: this server's own pages are {', '.join(_METHODS)}"))
    if ("GET" if request.method == "HEAD" else request.method) != method:
        return refused(Refusal(405, f"Method Not Allowed: {request.path} takes {method}", (("allow", method),)))
    if request.path == "/chaos":
        return json_reply(_state(owner))
    if request.path == "/chaos/truth":
        return _truth(owner, request.query)
    if request.path == "/chaos/next":
        return _next(owner, request.body)
    owner.reset()
    return json_reply({"reset": True})


def _state(owner: Owner) -> dict[str, Any]:
    moment = owner.moment()
    return {
        "scenario": owner.scenario.name,
        "seed": owner.seed,
        "phase": moment.phase.name,
        "progress": round(moment.progress, 4),
        "counts": owner.truth.counts(),
        "faults": {name: row.help for name, row in FAULTS.items()},
    }


def _truth(owner: Owner, query: str) -> Reply:
    numbers: dict[str, int] = {}
    for key, values in parse_qs(query[:_MAX_QUERY], keep_blank_values=True).items():
        text = values[-1]
        if key not in {"since", "limit"} or not (text.isascii() and text.isdigit()):
            return refused(Refusal(400, "The query can only be since=SEQUENCE and limit=COUNT, whole numbers"))
        numbers[key] = int(text)
    attempts = owner.truth.attempts(since=numbers.get("since", 0), limit=numbers.get("limit"))
    return json_reply({"counts": owner.truth.counts(), "attempts": [asdict(attempt) for attempt in attempts]})


def _next(owner: Owner, body: bytes) -> Reply:
    try:
        faults = parse_sequence(body.decode("utf-8", "replace").strip())
    except FaultError as error:
        return refused(Refusal(400, str(error)))
    owner.forced.enqueue(faults)
    return json_reply({"queued": [fault.text for fault in faults]})
