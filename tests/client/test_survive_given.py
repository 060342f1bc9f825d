"""Who wins: what the application gives with a call, or with ``with_options``, goes before its policy."""

from typing import Any

import anthropic
import httpx2
import pytest

import sidecar
from sidecar.chaos import Chaos
from sidecar.client import install as seam
from sidecar.client.limits import converted, timeouts_of
from sidecar.model import Outcome, Phase
from sidecar.policy import Retry, Timeouts
from tests.client.survive import KINDS, Kind, policy

HANG = {"extra_headers": {"x-chaos": "hang"}}


class OldTimeout:
    """Looks like the ``Timeout`` of httpx, which need not be installed for it."""

    def __init__(self, read: float) -> None:
        self.connect, self.read, self.write, self.pool = 9.0, read, 9.0, None


OldTimeout.__module__ = "httpx._config"
OldTimeout.__qualname__ = OldTimeout.__name__ = "Timeout"

FORMS = {
    "seconds": lambda seconds: seconds,
    "httpx2": lambda seconds: httpx2.Timeout(9.0, read=seconds),
    "httpx": OldTimeout,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_timeout_given_with_the_call_replaces_the_policys(
    kind: Kind, seen: Any, chaos: Chaos, ask: Any, form: str, stream: bool
) -> None:
    patient = policy(timeouts={"total": 60.0}, retry=Retry(max_attempts=1))
    client = kind.client(seen, chaos.url, policy=patient)
    with pytest.raises(anthropic.APITimeoutError) as caught:
        (kind.read if stream else kind.create)(client, {**ask, **HANG, "timeout": FORMS[form](0.2)})
    assert not isinstance(caught.value, sidecar.DeadlineExceeded)
    seen.agree(chaos, calls=1)
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, Phase.FIRST_BYTE)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_so_does_one_given_to_with_options(kind: Kind, seen: Any, chaos: Chaos, ask: Any, form: str) -> None:
    client = kind.client(seen, chaos.url, policy=policy(timeouts={"total": 60.0}))
    once = client.with_options(timeout=FORMS[form](0.2)).with_options(max_retries=1)
    with pytest.raises(anthropic.APITimeoutError):
        kind.create(once, {**ask, **HANG})
    assert len(seen.agree(chaos, calls=1)) == 2
    assert (seen.one.outcome, seen.one.phase) == (Outcome.TIMEOUT, Phase.FIRST_BYTE)


def test_a_longer_timeout_than_the_policys_total_is_had_too(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy(timeouts={"total": 0.2})) as client:
        slow = {**ask, "extra_headers": {"x-chaos": "slow-headers;s=0.5"}}
        assert client.messages.create(**slow, timeout=30.0).stop_reason == "end_turn"


def test_a_deadline_holds_over_a_given_timeout(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy()) as client:
        with sidecar.deadline(0.2, share=1.0, floor=0.01), pytest.raises(sidecar.DeadlineExceeded):
            client.messages.create(**ask, **HANG, timeout=30.0)
        with sidecar.deadline(60.0), pytest.raises(anthropic.APITimeoutError) as caught:
            client.with_options(max_retries=0).messages.create(**ask, **HANG, timeout=0.2)
    assert not isinstance(caught.value, sidecar.DeadlineExceeded)
    assert [call.phase for call in seen.calls] == [Phase.DEADLINE, Phase.FIRST_BYTE]


@pytest.mark.parametrize(("given", "sent"), [(0, 1), (4, 5)])
def test_retries_given_to_with_options_replace_the_policys(
    seen: Any, chaos: Chaos, ask: Any, given: int, sent: int
) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy()) as client, pytest.raises(anthropic.APIStatusError):
        client.with_options(max_retries=given).messages.create(**ask, extra_headers={"x-chaos": "500"})
    assert len(seen.agree(chaos, calls=1)) == sent


def test_so_it_is_with_every_client_of_an_installed_process(installed: Any, chaos: Chaos, ask: Any) -> None:
    seam.install(telemetry=installed, policy=policy(timeouts={"total": 60.0}))
    client: Any = anthropic.Anthropic(base_url=chaos.url, api_key="k")
    with client.with_options(timeout=OldTimeout(0.2), max_retries=1) as once, pytest.raises(anthropic.APITimeoutError):
        once.messages.create(**ask, **HANG)
    assert len(installed.agree(chaos, calls=1)) == 2
    assert "_sidecar" not in once.__dict__


def test_a_client_defined_later_is_followed_too(installed: Any) -> None:
    from anthropic._base_client import SyncAPIClient

    class Later(SyncAPIClient):
        __module__ = "anthropic.lib.later"

        def __init__(self) -> None:
            """Take nothing."""

        def copy(self, **_: Any) -> "Later":
            return Later()

        def __del__(self) -> None:
            """Nothing is open."""

    made = Later().copy(timeout=3.0, max_retries=anthropic.NOT_GIVEN)
    assert made.__dict__["_sidecar_given"] == {"timeout": 3.0}
    seam.uninstall()
    assert "__init_subclass__" not in SyncAPIClient.__dict__


@pytest.mark.parametrize("kind", [anthropic.Anthropic, anthropic.AsyncAnthropic])
def test_a_copy_that_was_given_nothing_has_what_its_original_has(installed: Any, kind: Any) -> None:
    client = kind(api_key="k")
    assert vars(client.copy()).keys() == vars(client.with_options()).keys() == vars(client).keys()


def test_without_a_policy_the_sdk_decides_on_foreign_timeouts(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url) as client:
        with pytest.raises(TypeError, match="httpx"):
            client.messages.create(**ask, timeout=OldTimeout(1.0))
        with pytest.raises(TypeError, match="httpx"):
            client.with_options(timeout=OldTimeout(1.0))


def test_our_own_clients_take_foreign_timeouts(seen: Any) -> None:
    with KINDS[0].client(seen, "http://test", timeout=OldTimeout(7.0)) as client:
        assert client.timeout == httpx2.Timeout(connect=9.0, read=7.0, write=9.0, pool=None)


@pytest.mark.parametrize("untouched", [None, 3.0, httpx2.Timeout(3.0), object()])
def test_what_is_no_foreign_timeout_stays_as_it_is(untouched: Any) -> None:
    assert converted(untouched) is untouched


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        (None, Timeouts(connect=None, pool=None, write=None, first_byte=None, stall=None)),
        (0, Timeouts(connect=0.001, pool=0.001, write=0.001, first_byte=0.001, stall=0.001)),
        (httpx2.Timeout(4.0, connect=1.0), Timeouts(connect=1.0, pool=4.0, write=4.0, first_byte=4.0, stall=4.0)),
    ],
)
def test_a_timeout_is_read_as_the_sdk_means_it(given: Any, limits: Timeouts) -> None:
    assert timeouts_of(given) == limits


def test_a_timeout_nobody_understands_costs_the_policy_not_the_call(seen: Any, chaos: Chaos, ask: Any) -> None:
    with KINDS[0].client(seen, chaos.url, policy=policy()) as client:
        assert client.messages.create(**ask, timeout=(5.0, 5.0)).stop_reason
    assert [where for where, _ in seen.faults] == ["client.policy"]
    assert seen.one.outcome is Outcome.OK
