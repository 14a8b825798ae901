"""Whose word counts for where a request comes from."""

from ipaddress import ip_network

import pytest

from cloud.api.http.forwarded import client
from cloud.api.settings import ApiSettings, ApiSettingsError

TRUSTED = [ip_network("10.0.0.0/8"), ip_network("::1/128"), ip_network("192.0.2.7/32")]


@pytest.mark.parametrize(
    ("peer", "said", "found"),
    [
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("203.0.113.5", "198.51.100.9", "203.0.113.5"),
        ("10.0.0.1", "198.51.100.1, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.1, 198.51.100.9, 10.2.0.1", "198.51.100.9"),
        ("10.0.0.1", "10.9.9.9,10.2.0.1", "10.9.9.9"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, 192.0.2.7, x'; DROP TABLE users; --", "10.0.0.1"),
        ("10.0.0.1", "unknown, 192.0.2.7", "192.0.2.7"),
        ("::1", "2001:db8::5", "2001:db8::5"),
        ("::1", "[2001:db8::5]:4711", "2001:db8::5"),
        ("::ffff:10.0.0.1", "198.51.100.9:4711", "198.51.100.9"),
        ("10.0.0.1", "::ffff:198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1%eth0"),
        ("/run/proxy.sock", "198.51.100.9", "/run/proxy.sock"),
    ],
)
def test_the_client_is_who_asked_the_outermost_trusted_proxy(peer: str, said: str, found: str) -> None:
    assert client(peer, said, TRUSTED) == found


def test_nobody_is_trusted_unless_the_environment_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGS_TRUSTED_PROXIES", raising=False)
    assert ApiSettings.load().trusted_proxies == ()
    monkeypatch.setenv("SEGS_TRUSTED_PROXIES", "127.0.0.1, 10.0.0.0/8,::1")
    assert [str(network) for network in ApiSettings.load().trusted_proxies] == ["127.0.0.1/32", "10.0.0.0/8", "::1/128"]


@pytest.mark.parametrize("given", ["*", "proxy.example", "10.0.0.1/8", "10.0.0.1,,"])
def test_a_proxy_that_is_no_address_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("SEGS_TRUSTED_PROXIES", given)
    with pytest.raises(ApiSettingsError, match="SEGS_TRUSTED_PROXIES"):
        ApiSettings.load()
