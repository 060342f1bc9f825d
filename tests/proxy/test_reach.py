"""Whether upstreams can be reached: found out by asking, and without sending anything."""

import pytest

from sidecar.proxy import reach as reach_module
from sidecar.proxy.limits import Limits
from sidecar.proxy.origin import Origin
from sidecar.proxy.reach import Reach
from sidecar.proxy.routes import Target
from sidecar.proxy.server import Settings
from tests.proxy.kit import Upstream, answer, becomes, request, running


async def test_nothing_is_known_until_it_was_tried_and_then_one_connection_is_kept() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy:
        reach = Reach(lambda: proxy.proxy.pools)
        assert reach.problem() == "default: not yet known"
        await becomes(lambda: reach.problem() is None)
        peer = await upstream.accept()
        async with await proxy.client() as client:
            await client.send(request(b"{}"))
            await peer.message()  # it is the first that comes: nothing was sent before, and no second one is made
            await peer.send(answer(b"1"))
            await client.message()
        assert upstream.connections == 1


async def test_an_upstream_that_refuses_is_told_and_found_again_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reach_module, "NEWS_SECONDS", 0.0)
    async with Upstream() as upstream:
        port = upstream.port
        async with running(port) as proxy:
            reach = Reach(lambda: proxy.proxy.pools)
            await becomes(lambda: reach.problem() is None)
    async with running(port) as proxy:
        reach = Reach(lambda: proxy.proxy.pools)
        await becomes(lambda: str(reach.problem()).startswith("default: the upstream could not be reached"))


async def test_what_was_found_out_is_not_asked_again_at_once() -> None:
    async with running(1) as proxy:
        reach = Reach(lambda: proxy.proxy.pools)
        await becomes(lambda: "could not be reached" in str(reach.problem()))
        for _ in range(10):
            reach.problem()
        assert proxy.proxy.pool.idle


async def test_one_upstream_of_several_is_enough() -> None:
    async with Upstream() as upstream:
        others = (Target(name="other", origin=Origin("http", "127.0.0.1", upstream.port)),)
        async with running(1, others=others) as proxy:
            reach = Reach(lambda: proxy.proxy.pools)
            assert reach.problem() == "default: not yet known; other: not yet known"
            await becomes(lambda: reach.problem() is None)


async def test_what_is_known_of_an_upstream_holds_until_something_else_is() -> None:
    async with Upstream() as upstream, running(upstream.port) as proxy:
        reach = Reach(lambda: proxy.proxy.pools)
        await becomes(lambda: reach.problem() is None)
        origin = Origin("http", "127.0.0.1", upstream.port)
        proxy.proxy.apply(Settings(upstream=origin, limits=Limits(in_flight=1)))
        assert reach.problem() is None
        await becomes(lambda: upstream.connections == 2)  # the new pool's


async def test_a_connection_at_rest_is_news_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach_module, "NEWS_SECONDS", 0.0)
    async with Upstream() as upstream, running(upstream.port) as proxy:
        reach = Reach(lambda: proxy.proxy.pools)
        await becomes(lambda: reach.problem() is None)
        for _ in range(5):
            assert reach.problem() is None
        assert upstream.connections == 1
