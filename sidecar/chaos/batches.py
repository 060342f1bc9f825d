"""Message batches: created, polled, cancelled, listed, and their results, kept in memory and bounded.

Keeps ids and models, never the requests' content.
"""

import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.chaos.answer import compose
from sidecar.chaos.api import Refusal, check_message
from sidecar.chaos.dice import Plan
from sidecar.wire.errors import error_body

__all__ = ["Batches"]

_MAX_BATCHES: Final = 1_000
_MAX_REQUESTS: Final = 100_000
_DAY: Final = 86_400


@dataclass(slots=True)
class _Batch:
    id: str
    created: float
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Custom id to the parts of its request an answer's shape depends on, or to the error it will have."""
    cancelled: float | None = None


class Batches:
    """The batches there are, newest last."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._batches: OrderedDict[str, _Batch] = OrderedDict()

    def clear(self) -> None:
        """Forget all of them."""
        self._batches.clear()

    def create(
        self, body: Mapping[str, Any], *, unique: str, now: float, models: Collection[str], base: str
    ) -> dict[str, Any] | Refusal:
        """Take a batch in; each of its requests is checked when its turn comes, as the API does."""
        requests = body.get("requests")
        if "requests" not in body:
            return Refusal(400, "requests: Field required")
        if not isinstance(requests, list) or not 0 < len(requests) <= _MAX_REQUESTS:
            return Refusal(400, f"requests: List should have 1 to {_MAX_REQUESTS} items")
        batch = _Batch(f"msgbatch_{unique}", now)
        for index, item in enumerate(requests):
            custom_id = item.get("custom_id") if isinstance(item, dict) else None
            if not isinstance(custom_id, str) or not 1 <= len(custom_id) <= 64:  # noqa: PLR2004  # the API's own bound
                return Refusal(400, f"requests.{index}.custom_id: String should have 1 to 64 characters")
            if custom_id in batch.items:
                return Refusal(400, f"requests.{index}.custom_id: custom_id must be unique in a batch")
            params = item.get("params")
            if not isinstance(params, dict):
                return Refusal(400, f"requests.{index}.params: Field required")
            refusal = check_message(params, models)
            batch.items[custom_id] = (
                {"model": params["model"], "max_tokens": params["max_tokens"]}
                if refusal is None
                else {"error": error_body(refusal.error_type, refusal.message)}
            )
        self._batches[batch.id] = batch
        if len(self._batches) > _MAX_BATCHES:
            self._batches.popitem(last=False)
        return self._told(batch, now, base)

    def get(self, batch_id: str, now: float, base: str) -> dict[str, Any] | Refusal:
        """Tell how far a batch has come."""
        batch = self._batches.get(batch_id)
        return _missing() if batch is None else self._told(batch, now, base)

    def listed(self, now: float, base: str) -> dict[str, Any]:
        """Tell of all batches, newest first, on one page."""
        data = [self._told(batch, now, base) for batch in reversed(self._batches.values())]
        first, last = (data[0]["id"], data[-1]["id"]) if data else (None, None)
        return {"data": data, "has_more": False, "first_id": first, "last_id": last}

    def cancel(self, batch_id: str, now: float, base: str) -> dict[str, Any] | Refusal:
        """Cancel a batch, unless it has ended."""
        batch = self._batches.get(batch_id)
        if batch is None:
            return _missing()
        if batch.cancelled is None and now < batch.created + self._seconds:
            batch.cancelled = now
        return self._told(batch, now, base)

    def delete(self, batch_id: str, now: float) -> dict[str, Any] | Refusal:
        """Delete a batch that has ended."""
        batch = self._batches.get(batch_id)
        if batch is None:
            return _missing()
        if now < self._end_of(batch):
            return Refusal(400, "A batch cannot be deleted while it is in progress: cancel it first")
        del self._batches[batch_id]
        return {"id": batch_id, "type": "message_batch_deleted"}

    def results(self, batch_id: str, now: float, plan: Plan) -> bytes | Refusal:
        """Write the results of a batch that has ended, one JSON line for each request."""
        batch = self._batches.get(batch_id)
        if batch is None:
            return _missing()
        if now < self._end_of(batch):
            return Refusal(400, "The batch has not ended yet: its results are not available")
        lines = []
        for index, (custom_id, item) in enumerate(batch.items.items()):
            result: dict[str, Any]
            if batch.cancelled is not None:
                result = {"type": "canceled"}
            elif "error" in item:
                result = {"type": "errored", "error": item["error"]}
            else:
                unique = f"{batch_id.removeprefix('msgbatch_')}_{index}"
                answer = compose(item, plan, unique=unique, prompt_tokens=plan.prompt_tokens or 10, cached=False)
                result = {"type": "succeeded", "message": answer.message}
            lines.append(json.dumps({"custom_id": custom_id, "result": result}))
        return ("\n".join(lines) + "\n").encode()

    def _end_of(self, batch: _Batch) -> float:
        return batch.created + self._seconds if batch.cancelled is None else batch.cancelled

    def _told(self, batch: _Batch, now: float, base: str) -> dict[str, Any]:
        ended = now >= self._end_of(batch)
        errored = sum("error" in item for item in batch.items.values())
        cancelled = batch.cancelled is not None
        counts = {
            "processing": 0 if ended else len(batch.items),
            "succeeded": len(batch.items) - errored if ended and not cancelled else 0,
            "errored": errored if ended and not cancelled else 0,
            "canceled": len(batch.items) if ended and cancelled else 0,
            "expired": 0,
        }
        return {
            "id": batch.id,
            "type": "message_batch",
            "processing_status": "ended" if ended else "in_progress",
            "request_counts": counts,
            "created_at": _stamp(batch.created),
            "expires_at": _stamp(batch.created + _DAY),
            "ended_at": _stamp(self._end_of(batch)) if ended else None,
            "cancel_initiated_at": _stamp(batch.cancelled) if batch.cancelled is not None else None,
            "archived_at": None,
            "results_url": f"{base}/v1/messages/batches/{batch.id}/results" if ended else None,
        }


def _missing() -> Refusal:
    return Refusal(404, "Batch not found")


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")
