"""The page of all benchmarks says what was compared, on which machine, and what came of it."""

from __future__ import annotations

from bench.__main__ import BENCHES, page
from bench.harness import Claim


def test_the_page_tells_each_comparison_with_its_figures_and_goals() -> None:
    results = {}
    for name in BENCHES:
        claim = Claim(name)
        claim.figure("speed_up", [1.0, 2.0, 3.0])
        claim.goal("speed_up", at_least=1.5)
        results[name] = claim.result()
    written = page(results)
    assert all(f"## {name}\n" in written for name in BENCHES)
    assert "| speed up | 2 | 1 to 3 | at least 1.5: met |" in written
    assert "    python -m bench.engine [--data PATH]" in written
    assert "Machine: " in written
