"""Test the sizes that match another adapter's parameter count, by formulas and full search."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.config import (
    AdaLoraAdapterConfig,
    HraAdapterConfig,
    LoraAdapterConfig,
    OftAdapterConfig,
    TrainConfig,
)
from goft_cli.system.errors import GoftError
from goft_cli.verbs.plan.layers import Size, closest, matched_sizes
from tests.support import small_runs
from tests.support.parameter_counts import SMALL

QGOFT = SMALL.trained("qgoft")
LINEARS = SMALL.linears
# The parameters of a size on the model of tests/support/small_runs.py.
COSTS = {
    "lora": lambda r: sum(r * (inputs + outputs) for inputs, outputs in LINEARS),
    "adalora": lambda r: sum(r * (inputs + 1 + outputs) for inputs, outputs in LINEARS),
    "oft": lambda b: sum(inputs // b * (b * (b - 1) // 2) for inputs, _ in LINEARS),
    "hra": lambda r: sum(r * inputs for inputs, _ in LINEARS),
}


@given(st.lists(st.integers(1, 1000), min_size=1, unique=True), st.integers(0, 1100))
def test_the_nearest_is_found_without_trying_all(costs: list[int], budget: int) -> None:
    costs = sorted(costs)
    found = closest(range(len(costs)), budget, costs.__getitem__)
    assert abs(costs[found] - budget) == min(abs(cost - budget) for cost in costs)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = small_runs.write_model(tmp_path_factory.mktemp("model"))
    (folder / "model.safetensors").unlink()  # sizes are counted without weights
    return folder


def sizes(model: Path, *adapters: str, reference: str = "qgoft") -> dict[str, Size]:
    return matched_sizes({name: run(model, name) for name in adapters}, reference)


def run(model: Path, adapter: str, *more: str) -> TrainConfig:
    words = small_runs.overrides(model, model, model / "run", f"adapter={adapter}", *more)
    return small_runs.composed(words)


@pytest.mark.parametrize(
    ("adapter", "possible"),
    [
        ("lora", range(1, 17)),
        ("adalora", range(2, 17)),
        ("oft", [2, 4, 8, 16]),
        ("hra", range(2, 17, 2)),
    ],
)
def test_an_adapter_gets_the_size_nearest_to_the_budget(
    adapter: str, possible: Sequence[int], model: Path
) -> None:
    found = sizes(model, "qgoft", adapter)
    assert found["qgoft"] == Size(QGOFT)
    nearest = min(map(COSTS[adapter], possible), key=lambda count: abs(count - QGOFT))
    assert found[adapter].parameters == nearest


def test_an_adapter_of_fixed_size_keeps_it(model: Path) -> None:
    assert sizes(model, "qgoft", "goft")["goft"] == Size(SMALL.trained("goft"))


def test_a_size_belongs_to_the_name_of_the_run_and_not_to_that_of_the_adapter(model: Path) -> None:
    large = run(model, "lora", "adapter.r=8")
    plain = sizes(model, "qgoft", "lora")
    again = matched_sizes({"q": run(model, "qgoft"), "one": large, "lora": large}, "q")
    assert [*again] == ["q", "one", "lora"]
    assert again["q"] == plain["qgoft"]
    assert again["one"] == again["lora"]
    assert again["one"].parameters == plain["lora"].parameters
    assert again["one"].words, "it was of another size"


def test_the_head_alone_is_no_budget(model: Path) -> None:
    with pytest.raises(GoftError, match=r"reference=linear"):
        sizes(model, "goft", "linear", reference="linear")


def test_what_belongs_to_a_size_grows_with_it() -> None:
    lora = LoraAdapterConfig(r=2, lora_alpha=8)
    assert LoraAdapterConfig.growth is not None
    assert LoraAdapterConfig.growth.fields_at(3, lora) == {"r": 3, "lora_alpha": 12}
    adalora = small_runs.composed(["adapter=adalora"]).adapter
    growth = AdaLoraAdapterConfig.growth
    assert growth is not None
    for size in range(2, 40):
        fields = growth.fields_at(size, adalora)
        assert 1 <= fields["target_r"] < size, "the schedule has ranks to drop"
    assert HraAdapterConfig.growth is not None
    assert OftAdapterConfig.growth is not None
    assert list(HraAdapterConfig.growth.sizes([6, 9])) == [2, 4, 6]
    assert list(OftAdapterConfig.growth.sizes([12, 18])) == [2, 3, 6]
