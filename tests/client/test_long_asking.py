"""How a stream is asked to be resumed: by a keyword that the SDK does not know, or by a header that is never sent."""

import asyncio
import inspect
import subprocess
import sys
import warnings
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.resources.beta.messages import AsyncMessages as AsyncBetaMessages
from anthropic.resources.beta.messages import Messages as BetaMessages
from anthropic.resources.messages import AsyncMessages, Messages

import sidecar
from sidecar import Resume
from sidecar.client.long.resume import MAX_TURNS
from sidecar.model import Outcome
from sidecar.policy import SettingsError
from tests.client.long_events import block, said, start, text
from tests.client.survive import KINDS, Kind
from tests.client.test_bedrock import answering
from tests.client.test_long_resumed import REST, text_of
from tests.client.test_platforms import EVENTS, amazon_frame
from tests.client.test_survive_openings import Answers
from tests.client.test_survive_streams import sse

HEADER = "x-sidecar-resume"
BEGUN = [start(), block(0, text()), said(0, "Un café")]
SAID = "Un café noir, s'il vous plaît."
OLD = "claude-sonnet-4-5"

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def broken() -> Answers:
    """Give an answer that breaks off, and then the rest of it."""
    return Answers(sse(*BEGUN), sse(*REST))


def client_of(answers: Answers, **more: Any) -> Any:
    return anthropic.Anthropic(api_key="k", http_client=httpx2.Client(transport=httpx2.MockTransport(answers)), **more)


@each_kind
@pytest.mark.parametrize("resume", [True, Resume(), Resume(max_turns=2, deadline=60)], ids=repr)
def test_the_keyword_is_taken_and_not_sent(kind: Kind, resume: Any, seen: Any, ask: Any) -> None:
    answers = broken()
    events = kind.read(answers.client(kind, seen, None), {**ask, "resume": resume})
    assert text_of(events) == SAID
    assert not any(HEADER in request.headers for request in answers.asked)
    assert not any(b"resume" in request.content for request in answers.asked)


@each_kind
@pytest.mark.parametrize("value", ["true", " True", '{"max_turns": 2}', Resume(max_total_tokens=99).written()])
@pytest.mark.parametrize("name", [HEADER, "X-Sidecar-Resume"])
def test_the_header_does_the_same(name: str, value: str, kind: Kind, seen: Any, ask: Any) -> None:
    answers = broken()
    events = kind.read(answers.client(kind, seen, None), {**ask, "extra_headers": {name: value, "x-mine": "1"}})
    assert text_of(events) == SAID
    assert all(HEADER not in request.headers and request.headers["x-mine"] == "1" for request in answers.asked)


@each_kind
@pytest.mark.parametrize("value", ["false", "", "perhaps", "[1]", '{"max_turns": 0}', '{"turns": 9}', anthropic.omit])
def test_a_header_that_asks_in_vain_fails_no_call(value: Any, kind: Kind, seen: Any, ask: Any) -> None:
    answers = broken()
    events = kind.read(answers.client(kind, seen, None), {**ask, "extra_headers": {HEADER: value}})
    assert (text_of(events), len(answers.asked)) == ("Un café", 1)
    assert HEADER not in answers.asked[0].headers


@each_kind
@pytest.mark.parametrize("resume", [False, None, anthropic.NOT_GIVEN])
def test_what_is_false_asks_for_nothing(resume: Any, kind: Kind, seen: Any, ask: Any) -> None:
    answers = broken()
    assert text_of(kind.read(answers.client(kind, seen, None), {**ask, "resume": resume})) == "Un café"
    assert len(answers.asked) == 1


@each_kind
def test_the_header_does_nothing_to_what_is_no_stream_of_a_message(kind: Kind, seen: Any, ask: Any) -> None:
    asked = {"extra_headers": {HEADER: "true"}}
    requests: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json={"id": "msg", "type": "message", "content": [], "input_tokens": 1})

    transport = httpx2.MockTransport(answer)
    if kind.name == "sync":
        client = kind.client(seen, "http://test", http_client=httpx2.Client(transport=transport))
        client.messages.create(**ask, **asked)
        client.messages.count_tokens(model="m", messages=ask["messages"], **asked)
        with client.messages.with_streaming_response.create(**ask, **asked, stream=True) as raw:
            raw.read()
    else:

        async def run() -> None:
            client = kind.client(seen, "http://test", http_client=httpx2.AsyncClient(transport=transport))
            await client.messages.create(**ask, **asked)
            await client.messages.count_tokens(model="m", messages=ask["messages"], **asked)
            async with client.messages.with_streaming_response.create(**ask, **asked, stream=True) as raw:
                await raw.read()

        asyncio.run(run())
    assert [HEADER in request.headers for request in requests] == [False] * 3
    assert len(seen.calls) == 3


def test_what_contradicts_it_is_refused(seen: Any, ask: Any) -> None:
    client: Any = sidecar.instrument(client_of(broken()), telemetry=seen)
    with pytest.raises(TypeError, match="give stream=True"):
        client.messages.create(**ask, resume=True)
    with pytest.raises(TypeError, match=r"True, False or a sidecar\.Resume, not str"):
        client.messages.stream(**ask, resume="yes")
    with pytest.raises(TypeError, match="raw response"):
        client.messages.with_raw_response.create(**ask, stream=True, resume=True)
    assert seen.calls == []


def test_bounds_are_checked_where_they_are_made_and_show_no_prompt() -> None:
    with pytest.raises(SettingsError) as refused:
        Resume(max_turns=0, max_total_tokens=0, deadline=-1, prompt=" ")
    assert [name for name, _ in refused.value.faults] == ["max_turns", "max_total_tokens", "deadline", "prompt"]
    mine = Resume(prompt="CANARY", max_turns=7, deadline=1.5)
    assert "CANARY" not in repr(mine)
    assert Resume.read(mine.written()) == mine
    assert (Resume().max_turns, Resume.read("true"), Resume.read(None)) == (MAX_TURNS, Resume(), None)


def test_a_client_that_nobody_observes_refuses_it_as_ever(seen: Any, ask: Any) -> None:
    sidecar.instrument(client_of(broken()), telemetry=seen)
    answers = broken()
    stranger = client_of(answers)
    with pytest.raises(TypeError, match="unexpected keyword argument 'resume'"):
        stranger.messages.stream(**ask, resume=True)
    with pytest.raises(TypeError, match="unexpected keyword argument 'resume'"):
        stranger.messages.create(**ask, stream=True, resume=True)
    list(stranger.messages.create(**ask, stream=True, extra_headers={HEADER: "true"}))
    assert [request.headers[HEADER] for request in answers.asked] == ["true"]


def test_installing_and_taking_it_back(installed: Any, ask: Any) -> None:
    answers = broken()
    client = client_of(answers)
    assert text_of(list(client.with_options(timeout=9).messages.create(**ask, stream=True, resume=True))) == SAID
    sidecar.uninstall()
    with pytest.raises(TypeError, match="unexpected keyword argument 'resume'"):
        client.messages.stream(**ask, resume=True)
    assert inspect.getsourcefile(Messages.stream) == sys.modules[Messages.__module__].__file__


@pytest.mark.parametrize("when", ["before", "after"])
def test_it_is_there_whenever_the_sdk_is_imported(when: str) -> None:
    first, second = (
        ("sidecar.install()", "import anthropic") if when == "before" else ("import anthropic", "sidecar.install()")
    )
    code = (
        f"import sidecar\n{first}\n{second}\nimport anthropic\n"
        "from anthropic.lib.bedrock._beta_messages import Messages\n"
        "for client in (anthropic.Anthropic(api_key='k'), anthropic.AsyncAnthropic(api_key='k'),\n"
        "               anthropic.AnthropicBedrock(api_key='k', aws_region='r')):\n"
        "    for messages in (client.messages, client.beta.messages):\n"
        "        for ask in (messages.create, messages.stream):\n"
        "            try: ask(resume=1)\n"
        "            except TypeError as error: print('sidecar.Resume' in str(error))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["True"] * 12, "")


@pytest.mark.parametrize("messages", [Messages, AsyncMessages, BetaMessages, AsyncBetaMessages])
@pytest.mark.parametrize("name", ["create", "stream"])
def test_the_methods_are_as_they_were_to_those_who_look_at_them(messages: Any, name: str, installed: Any) -> None:
    method = getattr(messages, name)
    assert "resume" not in inspect.signature(method).parameters
    assert (method.__name__, method.__module__) == (name, messages.__module__)
    assert inspect.iscoroutinefunction(inspect.unwrap(method)) is (name == "create" and "Async" in messages.__name__)


def test_the_sdk_s_own_warnings_name_the_line_they_named(seen: Any, ask: Any) -> None:
    """Such as of a model that is to be retired, which nobody sees that is said of a library."""

    def warned(client: Any) -> list[tuple[str, int]]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", DeprecationWarning)
            client.messages.create(**{**ask, "model": OLD}, stream=True).close()
            client.messages.stream(**{**ask, "model": OLD})
            client.beta.messages.create(**{**ask, "model": OLD}, stream=True).close()
        return [(each.filename, each.lineno) for each in caught]

    bare, observed = client_of(broken()), sidecar.instrument(client_of(broken()), telemetry=seen)
    lines = [warned(client) for client in (bare, observed)]
    assert lines[0] == lines[1]
    assert [file for file, _ in lines[0]] == [__file__] * 3


@pytest.mark.parametrize("api", ["messages", "beta"])
def test_bedrock_resumes_too(api: str, seen: Any, ask: Any) -> None:
    """Also where a frame is damaged, of which the SDK raises botocore's own error."""
    frames = [amazon_frame(event) for event in EVENTS]
    answers = answering([*frames[:3], frames[3][:-1] + b"x"], frames)
    http = httpx2.Client(transport=httpx2.MockTransport(answers))
    with anthropic.AnthropicBedrock(api_key="k", aws_region="r", http_client=http) as client:
        sidecar.instrument(client, telemetry=seen)
        messages: Any = client.messages if api == "messages" else client.beta.messages
        events = list(messages.create(**ask, stream=True, resume=True))
    assert text_of(events).startswith("Hi")
    assert [event.type for event in events].count("message_stop") == 1
    assert [call.outcome for call in seen.calls] == [Outcome.SERVER_ERROR, Outcome.OK]
    assert [request.url.path for request in answers.asked] == [f"/model/{ask['model']}/invoke-with-response-stream"] * 2
