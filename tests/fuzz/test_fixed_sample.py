"""A fixed sample of the mutations; ``make fuzz`` runs many more."""

import importlib.util
import warnings
from pathlib import Path

import pytest

from tests.fuzz.execution import finding
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import TARGETS

EXECUTIONS = 60
FIRST_SEED = 1_000_000


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_of_valid_samples_are_read_or_refused_by_one_line(
    name: str, tmp_path: Path
) -> None:
    target = TARGETS[name]
    if target.package and importlib.util.find_spec(target.package) is None:
        pytest.skip(f"{target.package} is not installed")
    valid = target.samples(tmp_path)
    # The JPEG 2000 sample has no place on the ground, of which rasterio warns.
    with warnings.catch_warnings(action="ignore"):
        for content in valid:
            target.run(content, tmp_path)
    for seed in range(FIRST_SEED, FIRST_SEED + EXECUTIONS):
        problem = finding(target, mutated(valid, seed), tmp_path)
        assert problem is None, f"make fuzz FUZZ_ARGS='{name} --first {seed} --executions 1'"


def test_a_seed_makes_the_same_mutation_again(tmp_path: Path) -> None:
    valid = TARGETS["item"].samples(tmp_path)
    assert [mutated(valid, seed) for seed in range(50)] == [mutated(valid, s) for s in range(50)]
