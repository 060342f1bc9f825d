"""Who gets which connection, and what becomes of those nobody needs: seen from the pool itself, without sockets."""

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from sidecar.proxy.errors import Fault
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.pool import Pool
from sidecar.proxy.upstream import Upstream
from sidecar.proxy.wheel import Wheel
from tests.proxy.memory import Pipe

if TYPE_CHECKING:
    from sidecar.proxy.connect import Connector


class ByHand:
    """A connector whose connections are made, or fail, when the test says so."""

    tls = None

    def __init__(self) -> None:
        self.asked: list[tuple[Upstream, asyncio.Future[None]]] = []

    async def connect(self, protocol: Upstream) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.asked.append((protocol, future))
        await future

    def succeed(self, number: int) -> Pipe:
        protocol, future = self.asked[number]
        pipe = Pipe(asyncio.get_running_loop(), protocol)
        protocol.connection_made(pipe)
        future.set_result(None)
        return pipe

    def fail(self, number: int, error: BaseException) -> None:
        self.asked[number][1].set_exception(error)


class Asker:
    """Someone who waits for a connection."""

    def __init__(self) -> None:
        self.got: Upstream | None = None
        self.fault: Fault | None = None

    def connected(self, upstream: Upstream) -> None:
        self.got = upstream

    def not_connected(self, fault: Fault) -> None:
        self.fault = fault


class Setting:
    """A pool, its connector and three who ask."""

    def __init__(self, limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        self.connector = ByHand()
        self.wheel = Wheel(loop)
        connector: Connector = self.connector  # type: ignore[assignment]  # all the pool needs
        self.pool = Pool(loop, self.wheel, Origin("http", "up.test", 80), connector, limits)
        self.first, self.second, self.third = Asker(), Asker(), Asker()

    async def ask(self, *askers: Asker, fresh: bool = False) -> None:
        for asker in askers:
            upstream = self.pool.acquire(asker, fresh=fresh)
            if upstream is not None:
                asker.connected(upstream)
        await settle()


async def settle() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


@pytest.fixture
async def setting() -> Setting:
    return Setting(Limits(upstream_connections=2, idle_connections=2))


@pytest.fixture(autouse=True)
def _no_stray_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not caplog.records


async def test_who_waits_longest_gets_the_first_connection_that_is_free(setting: Setting) -> None:
    await setting.ask(setting.first, setting.second, setting.third)
    assert len(setting.connector.asked) == 2
    setting.connector.succeed(1)
    await settle()
    assert (setting.first.got is None, setting.second.got) == (False, None)
    assert setting.first.got is not None
    setting.pool.release(setting.first.got)
    assert setting.second.got is setting.first.got


async def test_the_connection_used_last_is_used_next(setting: Setting) -> None:
    await setting.ask(setting.first, setting.second)
    pipes = [setting.connector.succeed(0), setting.connector.succeed(1)]
    await settle()
    assert setting.first.got is not None
    assert setting.second.got is not None
    setting.pool.release(setting.first.got)
    setting.pool.release(setting.second.got)
    await setting.ask(setting.third)
    assert setting.third.got is setting.second.got
    setting.pool.close()
    assert [pipe.is_closing() for pipe in pipes] == [True, False]  # the other is in use


async def test_a_connection_being_made_for_someone_who_left_is_given_up(setting: Setting) -> None:
    await setting.ask(setting.first)
    setting.pool.forget(setting.first)
    await settle()
    assert setting.connector.asked[0][1].cancelled()
    assert setting.pool.size == 0
    setting.pool.forget(setting.first)  # again is no harm


async def test_a_connection_made_just_as_it_was_given_up_is_closed(setting: Setting) -> None:
    await setting.ask(setting.first)
    pipe = setting.connector.succeed(0)
    setting.pool.forget(setting.first)
    await settle()
    assert pipe.is_closing()
    assert setting.pool.size == 0


async def test_a_connection_that_comes_when_nobody_waits_any_more_rests(setting: Setting) -> None:
    await setting.ask(setting.first)
    setting.connector.succeed(0)
    await settle()
    await setting.ask(setting.second)
    assert setting.first.got is not None
    setting.pool.release(setting.first.got)
    assert setting.second.got is setting.first.got
    setting.connector.succeed(1)
    await settle()
    await setting.ask(setting.third)
    assert setting.third.got not in {None, setting.first.got}


async def test_a_failure_is_told_to_who_waits_longest(setting: Setting) -> None:
    await setting.ask(setting.first, setting.second)
    setting.connector.fail(1, Fault("upstream_unreachable", "no way"))
    await settle()
    assert setting.first.fault is not None
    assert setting.second.fault is None


async def test_a_failure_when_nobody_waits_is_told_to_nobody(setting: Setting) -> None:
    await setting.ask(setting.first, setting.second)
    setting.connector.succeed(0)
    await settle()
    assert setting.first.got is not None
    setting.pool.release(setting.first.got)
    setting.connector.fail(1, Fault("upstream_unreachable", "no way"))
    await settle()
    assert (setting.first.fault, setting.second.fault) == (None, None)


async def test_a_fault_of_our_own_in_connecting_does_not_leave_anyone_waiting(
    setting: Setting, caplog: pytest.LogCaptureFixture
) -> None:
    await setting.ask(setting.first)
    setting.connector.fail(0, ZeroDivisionError())
    await settle()
    assert setting.first.fault is not None
    assert setting.first.fault.code == "upstream_unreachable"
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()


async def test_a_connection_that_closes_at_once_is_a_fault(setting: Setting) -> None:
    await setting.ask(setting.first)
    setting.connector.succeed(0)
    setting.connector.asked[0][0].eof_received()
    await settle()
    assert setting.first.fault is not None
    assert setting.first.fault.code == "upstream_closed"


async def test_a_fresh_connection_is_not_one_that_rested(setting: Setting) -> None:
    await setting.ask(setting.first)
    setting.connector.succeed(0)
    await settle()
    assert setting.first.got is not None
    setting.pool.release(setting.first.got)
    await setting.ask(setting.second, fresh=True)
    assert setting.second.got is None
    setting.connector.succeed(1)
    await settle()
    assert setting.second.got not in {None, setting.first.got}


async def test_closing_refuses_those_who_wait_and_takes_nothing_back(setting: Setting) -> None:
    await setting.ask(setting.first)
    pipe = setting.connector.succeed(0)
    await settle()
    await setting.ask(setting.second, setting.third)
    setting.pool.close()
    await settle()
    assert setting.connector.asked[1][1].cancelled()
    assert setting.second.fault is not None
    assert setting.third.fault is not None
    assert setting.first.got is not None
    setting.pool.release(setting.first.got)
    assert pipe.is_closing()
    assert setting.pool.size == 0
