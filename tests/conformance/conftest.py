"""Collects the comparisons; GANEDIT_CONFORMANCE_TABLE=path writes them as a Markdown table."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conformance_cases import Case, Comparison

Check = Callable[[Case, str, torch.Tensor], None]


@pytest.fixture(scope="session")
def comparisons() -> Iterator[dict[tuple[str, str], Comparison]]:
    found: dict[tuple[str, str], Comparison] = {}
    yield found
    target = os.environ.get("GANEDIT_CONFORMANCE_TABLE")
    if target:
        Path(target).write_text(_table(found))


@pytest.fixture
def check(comparisons: dict[tuple[str, str], Comparison]) -> Check:
    """Compare one output with its stored numbers and note how far it is."""

    def compare(case: Case, output: str, got: torch.Tensor) -> None:
        comparison = case.compare(output, got)
        comparisons[case.name, output] = comparison
        assert comparison.ok, f"{case.name} {output}: {comparison}"

    return compare


def _table(found: dict[tuple[str, str], Comparison]) -> str:
    lines = [
        "| case | output | measure | largest difference | tolerance |",
        "| --- | --- | --- | ---: | ---: |",
    ]
    measures = {"max_abs": "largest absolute difference", "rel_l2": "relative L2 error"}
    for (case, output), c in found.items():
        lines.append(
            f"| `{case}` | `{output}` | {measures[c.judge]} | {c.difference:.1e} | {c.limit:.1e} |"
        )
    return "\n".join(lines) + "\n"
