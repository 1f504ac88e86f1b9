"""E-mail addresses: found where people write them, not in code."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pii.email import Email
from tests.pipeline.pii.finding import found


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("Write to jane.doe@mail.uni-bonn.de.", "jane.doe@mail.uni-bonn.de"),
        ("Jane Doe <jane+list@acme.co.uk>", "jane+list@acme.co.uk"),
        ("mailto:jane_doe@acme.com?subject=x", "jane_doe@acme.com"),
        ("email='jane@acme.com'", "jane@acme.com"),
        ("user=jane@acme.com&x=1", "jane@acme.com"),
        ("请联系jane@acme.cn谢谢", "jane@acme.cn"),
        ("- -jane@acme.com", "jane@acme.com"),
        ("José: josé@correo.es", "josé@correo.es"),
        ("jane@bücher.xn--p1ai", "jane@bücher.xn--p1ai"),
        ("Ask jane@acme.com...", "jane@acme.com"),
    ],
)
def test_addresses_are_found_whole(text: str, address: str) -> None:
    assert found(Email(), text) == [address]


@pytest.mark.parametrize(
    "text",
    [
        "foo@decorator",
        "@pytest.mark.parametrize",
        "y = x@w.dot(c)",
        "a@b.T",
        "logo@2x.png",
        "npm install react@18.2.0",
        "react@latest.js",
        "git@github.com:owner/name.git",
        "user@localhost",
        "user@example.com",
        "me@mail.example.org",
        "root@host.local",
        "a..b@acme.com",
        "dot.@acme.com",
        "@acme.com",
        "x@-acme.com",
        f"{'a' * 65}@acme.com",
        "jane@acme.com@evil",
        "name @ acme.com",
    ],
)
def test_code_and_impossible_addresses_are_left_alone(text: str) -> None:
    assert found(Email(), text) == []


def test_reserved_hosts_count_on_demand() -> None:
    assert found(Email(reserved_hosts=True), "user@example.com") == ["user@example.com"]


def test_each_of_several_addresses_is_found() -> None:
    assert found(Email(), "a1@acme.com,b2@acme.com; c3@acme.com") == ["a1@acme.com", "b2@acme.com", "c3@acme.com"]


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab.@-_%+ 1é中\n(")) | st.text())
def test_finds_pass_the_prefilter_in_any_text(text: str) -> None:
    assert all("@" in address for address in found(Email(), text))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["a", "a@", "a.", "a@b.", ".a", "@a.com"])
def test_a_hostile_megabyte_takes_linear_time(unit: str) -> None:
    list(Email().find(unit * (1_000_000 // len(unit))))
