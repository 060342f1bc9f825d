"""Upstream URLs and the environment's forward proxies."""

import pytest

from sidecar.proxy.origin import ForwardProxy, Origin, forward_proxy, parse_origin

URLS = {
    "https://api.anthropic.com": (Origin("https", "api.anthropic.com", 443), b"api.anthropic.com"),
    "https://gateway.test/anthropic/": (Origin("https", "gateway.test", 443, "/anthropic"), b"gateway.test"),
    "http://127.0.0.1:8787": (Origin("http", "127.0.0.1", 8787), b"127.0.0.1:8787"),
    "http://[::1]:8787": (Origin("http", "::1", 8787), b"[::1]:8787"),
    "https://bücher.test": (Origin("https", "xn--bcher-kva.test", 443), b"xn--bcher-kva.test"),
}


@pytest.mark.parametrize(("url", "expected"), URLS.items())
def test_an_upstreams_url_is_taken_apart(url: str, expected: tuple[Origin, bytes]) -> None:
    origin = parse_origin(url)
    assert (origin, origin.authority) == expected
    assert origin.tls is url.startswith("https")


@pytest.mark.parametrize(
    "url",
    [
        "api.anthropic.com",
        "ftp://api.test",
        "https://",
        "https://api.test:99999",
        "https://api.test?x=y",
        "https://api.test#x",
        "https://user:s3cret@api.test",
        "https://[::1",
    ],
)
def test_a_url_that_is_no_upstream_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="upstream") as refused:
        parse_origin(url)
    assert "s3cret" not in str(refused.value)


API = Origin("https", "api.test", 443)
PROXY = ForwardProxy("proxy.test", 3128)

ENVIRONMENTS = {
    "none": ({}, API, None),
    "upper case": ({"HTTPS_PROXY": "http://proxy.test:3128"}, API, PROXY),
    "lower case first": ({"https_proxy": "http://proxy.test:3128", "HTTPS_PROXY": "http://other:1"}, API, PROXY),
    "without a scheme": ({"https_proxy": "proxy.test:3128"}, API, PROXY),
    "without a port": ({"https_proxy": "http://proxy.test"}, API, ForwardProxy("proxy.test", 80)),
    "with a user": (
        {"https_proxy": "http://u%40x:p@proxy.test:3128"},
        API,
        ForwardProxy("proxy.test", 3128, b"Basic dUB4OnA="),
    ),
    "not for plain HTTP": ({"https_proxy": "http://proxy.test:3128"}, Origin("http", "api.test", 80), None),
    "excepted by name": ({"https_proxy": "x:1", "no_proxy": "other.test, api.test"}, API, None),
    "excepted by domain": ({"https_proxy": "x:1", "NO_PROXY": ".test"}, API, None),
    "excepted by star": ({"https_proxy": "x:1", "NO_PROXY": "*"}, API, None),
    "excepted by port": ({"https_proxy": "x:1", "NO_PROXY": "api.test:443"}, API, None),
    "excepted at another port": ({"https_proxy": "proxy.test:3128", "NO_PROXY": "api.test:8443"}, API, PROXY),
    "excepted by network": ({"https_proxy": "x:1", "NO_PROXY": "10.0.0.0/8"}, Origin("https", "10.1.2.3", 443), None),
    "another name that ends alike": ({"https_proxy": "proxy.test:3128", "NO_PROXY": "i.test"}, API, PROXY),
}


@pytest.mark.parametrize(("environ", "origin", "expected"), ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_the_environment_names_the_forward_proxy(
    environ: dict[str, str], origin: Origin, expected: ForwardProxy | None
) -> None:
    assert forward_proxy(origin, environ) == expected


@pytest.mark.parametrize(
    "url", ["https://proxy.test", "socks5://proxy.test", "http://u:s3cret@proxy.test:x", "http://"]
)
def test_a_forward_proxy_that_cannot_be_used_is_refused_without_showing_a_password(url: str) -> None:
    with pytest.raises(ValueError, match="HTTPS_PROXY") as refused:
        forward_proxy(API, {"HTTPS_PROXY": url})
    assert "s3cret" not in str(refused.value)
