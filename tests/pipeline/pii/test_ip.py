"""IP addresses: public ones, and no version, section or slice."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pii.ip import Ip
from tests.pipeline.pii.finding import found


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("from 86.121.97.248 port 22", "86.121.97.248"),
        ("http://86.121.97.248:8080/", "86.121.97.248"),
        ("86.121.97.248/24", "86.121.97.248"),
        ("It was 86.121.97.248.", "86.121.97.248"),
        ("地址86.121.97.248已封", "86.121.97.248"),
        ("host 2a00:1450:4001:81b::200e up", "2a00:1450:4001:81b::200e"),
        ("[2a00:1450:4001:81b::200e]:443", "2a00:1450:4001:81b::200e"),
        ("6e40:4041:c617:e898:c11:40d2:c669:2eb4", "6e40:4041:c617:e898:c11:40d2:c669:2eb4"),
    ],
)
def test_public_addresses_are_found(text: str, address: str) -> None:
    assert found(Ip(), text) == [address]


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "0.0.0.0", "10.20.30.40", "192.168.178.40", "203.0.113.99", "255.255.255.255", "::1", "fe80::1:2:3"],
)
def test_special_addresses_are_left_alone(text: str) -> None:
    assert found(Ip(), text) == []


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3.4",
        "section 9.15.10.0",
        "version 4.10.0.84",
        "v1.8.0.202",
        "opencv-4.10.0.84",
        "package>=4.10.0.84",
        "package == 4.10.0.84",
        "Chrome/91.0.4472.124",
        "1.3.6.1.4.1.311",
        "086.121.97.248",
        "86.121.97.256",
        "86.121.97",
        "86.121.97.248-rc1",
    ],
)
def test_versions_and_sections_are_left_alone(text: str) -> None:
    assert found(Ip(), text) == []


@pytest.mark.parametrize(
    "text", ["x[1::2]", "a::b", "std::vector", "12:30:45", "aa:bb:cc:dd:ee:ff", "dead::beef", "{::}", "2001:470::"]
)
def test_slices_times_and_scopes_are_left_alone(text: str) -> None:
    assert found(Ip(), text) == []


def test_special_addresses_count_on_demand() -> None:
    everything = Ip(public_only=False)
    assert found(everything, "192.168.178.40 and fe80::1:2:3") == ["192.168.178.40", "fe80::1:2:3"]
    assert found(everything, "x[1::2]") == []


@settings(deadline=None)
@given(st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_what_is_found_is_a_public_address(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    for text in found(Ip(), f"from {address} on"):
        assert ipaddress.ip_address(text) == address
        assert address.is_global


@settings(deadline=None)
@given(st.ip_addresses(v=6))
def test_public_version_6_addresses_are_found_however_they_are_written(address: ipaddress.IPv6Address) -> None:
    if address.is_global:
        assert found(Ip(), f"({address.exploded})") == [address.exploded]


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789abf.:/ v")) | st.text())
def test_finds_pass_the_prefilter_in_any_text(text: str) -> None:
    for address in found(Ip(public_only=False), text):
        ipaddress.ip_address(address)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["1.", "1:", "a:", ":", "86.121.97.248 ", "1"])
def test_a_hostile_megabyte_takes_linear_time(unit: str) -> None:
    list(Ip().find(unit * (1_000_000 // len(unit))))
