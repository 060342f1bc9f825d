"""The API's endpoints: who answers a path, and with what. Knows no faults, timing or bytes on the wire."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.chaos.answer import Answer, compose
from sidecar.chaos.api import MODELS, Refusal, check_count, check_headers, check_message, model_info, read_body
from sidecar.chaos.batches import Batches
from sidecar.chaos.dice import Plan
from sidecar.chaos.http import Request
from sidecar.chaos.reply import Reply, json_reply, refused
from sidecar.chaos.scenario import Scenario
from sidecar.chaos.truth import Attempt

__all__ = ["Endpoints"]

_BYTES_A_TOKEN: Final = 4
_MAX_MODEL: Final = 100

_Answerer = Callable[[Request, Plan, Attempt], Reply | Answer | Refusal]


class Endpoints:
    """Answers requests as the API would on a good day; the batches it was given are all its state."""

    def __init__(self, scenario: Scenario, wall: Callable[[], float]) -> None:
        self.batches = Batches(scenario.batch_seconds)
        self._models = (*MODELS, *scenario.models)
        self._known = frozenset(self._models)
        self._wall = wall

    def answer(self, request: Request, plan: Plan, attempt: Attempt) -> Reply | Answer:
        """Answer, noting in the attempt what the request turned out to be. An Answer is to be streamed."""
        parts = request.path.strip("/").split("/")
        if parts[0] != "v1":
            return refused(Refusal(404, "Not found"))
        refusal = check_headers(request.headers)
        if refusal is not None:
            return refused(refusal)
        allowed, answerer = self._resource(parts[1:])
        if answerer is None:
            return refused(Refusal(404, "Not found"))
        if ("GET" if request.method == "HEAD" else request.method) not in allowed:
            return refused(Refusal(405, "Method Not Allowed", (("allow", ", ".join(allowed)),)))
        reply = answerer(request, plan, attempt)
        return refused(reply) if isinstance(reply, Refusal) else reply

    def _resource(self, parts: list[str]) -> tuple[tuple[str, ...], _Answerer | None]:
        """Tell the methods a path allows, and who answers them."""
        match parts:
            case ["messages"]:
                return ("POST",), self._messages
            case ["messages", "count_tokens"]:
                return ("POST",), self._count_tokens
            case ["models"] | ["models", _]:
                return ("GET",), self._list_models
            case ["messages", "batches", *rest]:
                return self._batch_resource(rest)
        return (), None

    def _batch_resource(self, rest: list[str]) -> tuple[tuple[str, ...], _Answerer | None]:
        match rest:
            case []:
                return ("GET", "POST"), self._batch_collection
            case [_]:
                return ("GET", "DELETE"), self._batch_item
            case [_, "results"]:
                return ("GET",), self._batch_results
            case [_, "cancel"]:
                return ("POST",), self._batch_cancel
        return (), None

    def _messages(self, request: Request, plan: Plan, attempt: Attempt) -> Reply | Answer | Refusal:
        body = read_body(request.body)
        if isinstance(body, Refusal):
            return body
        attempt.model = _named_model(body)
        attempt.stream = body.get("stream") is True
        refusal = check_message(body, self._known)
        if refusal is not None:
            return refusal
        answer = compose(
            body,
            plan,
            unique=_unique(attempt),
            prompt_tokens=_prompt_tokens(request, plan),
            cached=b'"cache_control"' in request.body,
        )
        attempt.input_tokens = answer.usage.prompt
        attempt.output_tokens = answer.usage.output
        attempt.stop_reason = answer.stop_reason
        if attempt.stream:
            return answer
        seconds = answer.usage.output / plan.tokens_per_second
        return Reply(json.dumps(answer.message).encode(), share=1.0, seconds=seconds)

    def _count_tokens(self, request: Request, plan: Plan, attempt: Attempt) -> Reply | Refusal:
        body = read_body(request.body)
        if isinstance(body, Refusal):
            return body
        attempt.model = _named_model(body)
        return check_count(body, self._known) or json_reply({"input_tokens": _prompt_tokens(request, plan)})

    def _list_models(self, request: Request, _plan: Plan, _attempt: Attempt) -> Reply | Refusal:
        _, _, model = request.path.strip("/").removeprefix("v1/").partition("/")
        if model:
            return (
                json_reply(model_info(model)) if model in self._known else Refusal(404, f"model: {model[:_MAX_MODEL]}")
            )
        data = [model_info(name) for name in self._models]
        first, last = self._models[0], self._models[-1]
        return json_reply({"data": data, "has_more": False, "first_id": first, "last_id": last})

    def _batch_collection(self, request: Request, _plan: Plan, attempt: Attempt) -> Reply | Refusal:
        now, base = self._wall(), _base_of(request)
        if request.method != "POST":
            return json_reply(self.batches.listed(now, base))
        body = read_body(request.body)
        if isinstance(body, Refusal):
            return body
        return json_reply(self.batches.create(body, unique=_unique(attempt), now=now, models=self._known, base=base))

    def _batch_item(self, request: Request, _plan: Plan, _attempt: Attempt) -> Reply | Refusal:
        batch_id = request.path.strip("/").split("/")[3]
        if request.method == "DELETE":
            return json_reply(self.batches.delete(batch_id, self._wall()))
        return json_reply(self.batches.get(batch_id, self._wall(), _base_of(request)))

    def _batch_results(self, request: Request, plan: Plan, _attempt: Attempt) -> Reply | Refusal:
        lines = self.batches.results(request.path.strip("/").split("/")[3], self._wall(), plan)
        return lines if isinstance(lines, Refusal) else Reply(lines, content_type="application/x-jsonl")

    def _batch_cancel(self, request: Request, _plan: Plan, _attempt: Attempt) -> Reply | Refusal:
        batch_id = request.path.strip("/").split("/")[3]
        return json_reply(self.batches.cancel(batch_id, self._wall(), _base_of(request)))


def _unique(attempt: Attempt) -> str:
    return attempt.request_id.removeprefix("req_")


def _prompt_tokens(request: Request, plan: Plan) -> int:
    return plan.prompt_tokens or max(1, len(request.body) // _BYTES_A_TOKEN)


def _named_model(body: Mapping[str, Any]) -> str:
    model = body.get("model")
    return model[:_MAX_MODEL] if isinstance(model, str) else ""


def _base_of(request: Request) -> str:
    return f"http://{request.headers.get('host', 'localhost')}"
