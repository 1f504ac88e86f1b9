"""Telephone numbers: only where the writing leaves little doubt."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.pii.phone import Phone
from tests.pipeline.pii.finding import found


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("London +44 20 7946 0958.", "+44 20 7946 0958"),
        ("+14155550123", "+14155550123"),
        ("+1 (202) 555-0132", "+1 (202) 555-0132"),
        ("+46 (0)8 928 571 38 fax", "+46 (0)8 928 571 38"),
        ("at 212-555-0123 today", "212-555-0123"),
        ("(212) 555-0123", "(212) 555-0123"),
        ("345-899-3560x4587", "345-899-3560x4587"),
        ("1001 905-555-7258", "905-555-7258"),
        ("Tel.: 030 901820", "030 901820"),
        ("phone number: 1234567890", "1234567890"),
        ("Please call me at 0494 92 82 32", "0494 92 82 32"),
        ("Fax 8928571", "8928571"),
        ("电话：13971640927", "13971640927"),
        ("请打13971640927", "13971640927"),
        ("手机号 139-7164-0927", "139-7164-0927"),
    ],
)
def test_numbers_are_found_whole(text: str, number: str) -> None:
    assert found(Phone(), text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "1234567890",
        "123-456-7890",
        "2024-01-02 12:30:45",
        "call 2024-01-02",
        "200 300 4000",
        "3.14159265358979",
        "0.212.555.0123",
        "1 + 1234567890",
        "x+14155550123",
        "+12345678",
        "+1234567890",
        "+20240101",
        "13971640927",
        "1,234,567,890",
        "127.0.0.1",
        "212-555-0123-4567",
        "550e8400-e29b-41d4-a716-446655440000",
        "telephone in 1876",
        "recall 12345678",
        "phone 0000000000",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert found(Phone(), text) == []


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("0123456789 +-.()/x\u00a0")).map("tel ".__add__) | st.text())
def test_finds_pass_the_prefilter_in_any_text(text: str) -> None:
    for number in found(Phone(), text):
        assert sum(map(str.isdigit, number)) >= 7


@pytest.mark.timeout(10)
@pytest.mark.parametrize("unit", ["1", "1 ", "+1", "(1)", "1-", "212-555-0123 ", "tel "])
def test_a_hostile_megabyte_takes_linear_time(unit: str) -> None:
    list(Phone().find(unit * (1_000_000 // len(unit))))
