"""Each adapter under configs/ trains, has its expected size, merges and is loaded again."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from goft_cli.config import EvalConfig, MergeConfig
from goft_cli.run import pipeline
from goft_cli.run.configuration import read_config
from goft_cli.run.folder import RunFolder
from goft_cli.run.trained import open_trained
from goft_cli.system.errors import GoftError
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from tests.support import small_runs
from tests.support.architectures import without_memory
from tests.support.parameter_counts import DEBERTA, SMALL
from tests.support.recipe_cells import CHOICES, cell
from tests.support.small_runs import composed

ADAPTERS = CHOICES["adapter"]
AT_ONCE = ("goft", "qgoft", "lora", "linear", "full")
"""One adapter of each kind; only slow tests train the others."""
WITHOUT_FRACTION = {"dora", "hra", "ia3", "linear", "peft", "psoft", "road", "vera"}
WITHOUT_LORA = {
    **dict.fromkeys(("lora", "dora"), "the adapter is LoRA already"),
    **dict.fromkeys(("bitfit", "full", "linear"), "the adapter is put on no layers"),
    **dict.fromkeys(("adalora", "boft", "hra", "ia3", "oft", "road"), "PEFT cannot convert"),
}
"""Why each of these cannot become LoRA."""
NOT_TURNED_BACK = {*ADAPTERS} - {"goft", "goft-scaled", "qgoft"}
HEAD = ("pooler", "classifier")
Run = Callable[[str], RunFolder]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a function that trains an adapter for two epochs, once per adapter."""
    root = tmp_path_factory.mktemp("runs")
    folders = small_runs.write_model(root / "model"), small_runs.write_data(root / "data")

    @cache
    def trained(adapter: str) -> RunFolder:
        words = small_runs.overrides(*folders, root / adapter, f"adapter={adapter}")
        return RunFolder(pipeline.run(composed(words)))

    return trained


@pytest.mark.feature("text")
@pytest.mark.parametrize(
    "adapter",
    [name if name in AT_ONCE else pytest.param(name, marks=pytest.mark.slow) for name in ADAPTERS],
)
def test_a_run_leaves_everything_it_promises(adapter: str, run: Run) -> None:
    folder = run(adapter)
    metrics = json.loads(folder.metrics.read_text())
    assert metrics["headline"]["name"] == "matthews_correlation"
    assert set(metrics["metrics"]["validation"]) == {"matthews_correlation", "accuracy"}
    assert metrics["agreement"]["reloaded"] == 0.0
    assert metrics["agreement"]["merged"] <= metrics["agreement"]["tolerance"]
    assert metrics["peak_memory_bytes"] > 2**20
    assert metrics["trainable_parameters"] == SMALL.trained(adapter)
    assert metrics["head_parameters"] == 16 * 16 + 16 + 2 * 16 + 2
    assert (folder.path / "curves.png").read_bytes().startswith(b"\x89PNG")
    predictions = (folder.path / "predictions.validation.jsonl").read_text().splitlines()
    assert len(predictions) == 24
    assert set(json.loads(predictions[0])) == {"sentence", "label", "prediction"}
    rows = json.loads(folder.manifest.read_text())["data"]["rows"]
    assert rows == {"train": 48, "validation": 24}
    assert f"with {adapter}, seed 42" in folder.log.read_text()
    assert {path.suffix for path in folder.adapter.iterdir()} <= {".json", ".safetensors", ".md"}


# Every run checks this itself: see agreement.reloaded and agreement.merged above.
@pytest.mark.parametrize("adapter", ["adalora", "full", "linear", "qgoft"])
def test_the_run_is_opened_again_as_what_it_was(adapter: str, run: Run, tmp_path: Path) -> None:
    folder, output = run(adapter), tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(folder.path), merged=True, output=str(output)))
    scores = json.loads(folder.metrics.read_text())["metrics"]
    assert json.loads(output.read_text())["metrics"] == scores
    assert type(read_config(folder.config).adapter) is type(cell("glue/cola", adapter).adapter)


@pytest.mark.parametrize("adapter", ["linear", "bitfit", "full"])
def test_without_layers_of_its_own_an_adapter_trains_the_models(adapter: str, run: Run) -> None:
    folder = run(adapter)
    start = load_file(folder.path.parent / "model" / "model.safetensors")
    saved = load_file(folder.adapter / "adapter_model.safetensors")
    moved = {
        name
        for name, value in start.items()
        if not torch.equal(saved.get(f"base_model.model.{name}", value), value)
    }
    biases = {name for name in start if name.endswith(".bias")}
    expected = {"linear": set[str](), "bitfit": biases, "full": set(start)}[adapter]
    assert {name for name in moved ^ expected if not any(part in name for part in HEAD)} == set()


@pytest.mark.feature("strength", refused=WITHOUT_FRACTION)
@pytest.mark.parametrize(
    "adapter",
    [name if name == "full" else pytest.param(name, marks=pytest.mark.slow) for name in ADAPTERS],
)
def test_at_strength_0_a_run_is_its_base_model(adapter: str, run: Run) -> None:
    place = str(run(adapter).path)
    if adapter in WITHOUT_FRACTION:
        with pytest.raises(GoftError, match=r"strength=0: .* pass strength=1$"):
            open_trained(place, base_model=None, strength=0)
        return
    own, trained, half, none = (
        features(open_trained(place, base_model=None, strength=one).model)
        for one in (None, 1, 0.5, 0)
    )
    assert torch.equal(own, trained)
    assert not torch.equal(half, trained)
    assert not torch.equal(half, none)
    weights = AutoModel.from_pretrained(run(adapter).path.parent / "model").eval()
    assert torch.equal(features(weights), none)


@pytest.mark.slow
@pytest.mark.feature("as LoRA", refused=WITHOUT_LORA)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_at_full_rank_lora_is_the_adapter(adapter: str, run: Run, tmp_path: Path) -> None:
    cfg = MergeConfig(adapter=str(run(adapter).path), output_dir=str(tmp_path), as_lora=16)
    if adapter in WITHOUT_LORA:
        with pytest.raises(GoftError, match=f"^as_lora: {WITHOUT_LORA[adapter]}"):
            merge(cfg)
        return
    merge(cfg)
    report = json.loads((tmp_path / "merge_report.json").read_text())
    assert report["outputs"]["largest"] < 1e-6
    assert 0 < max(layer["residual"] for layer in report["layers"].values()) < 1e-5


@pytest.mark.slow
@pytest.mark.feature("undo", refused=NOT_TURNED_BACK)
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_a_merge_is_undone(adapter: str, run: Run, tmp_path: Path) -> None:
    merged = str(tmp_path / "merged")
    back = MergeConfig(
        adapter=str(run(adapter).path),
        undo=True,
        merged_dir=merged,
        output_dir=str(tmp_path / "base"),
    )
    if adapter in NOT_TURNED_BACK:
        with pytest.raises(GoftError, match=f"^undo: found the method {adapter}"):
            merge(back)
        return
    merge(MergeConfig(adapter=back.adapter, output_dir=merged, samples=0))
    merge(back)
    found, base = (
        features(AutoModel.from_pretrained(place).eval())
        for place in (tmp_path / "base", run(adapter).path.parent / "model")
    )
    torch.testing.assert_close(found, base, rtol=0, atol=1e-5)


def features(model: torch.nn.Module) -> torch.Tensor:
    """Return the last hidden states, which the head gets, of two rows of five tokens."""
    with torch.no_grad():
        found = model(input_ids=torch.arange(10).view(2, 5), output_hidden_states=True)
    return found.hidden_states[-1]


def deberta(*words: str) -> tuple[int, int]:
    """Return the numbers of parameters of the adapter and the head on DeBERTaV3-base."""
    _, counts = without_memory(composed(["task=glue/cola", "model=deberta-v3-base", *words]))
    return counts.adapter, counts.head


@pytest.mark.parametrize("adapter", ["bitfit", "full", "goft", "lora", "qgoft"])
def test_sizes_on_deberta_v3_base(adapter: str) -> None:
    assert deberta(f"adapter={adapter}") == (
        DEBERTA.trained(adapter),
        768 * 768 + 768 + 2 * 768 + 2,
    )


def test_the_formulas_give_the_papers_sizes() -> None:
    """Table 1, in millions: GOFT 0.08, qGOFT and LoRA 0.33, BitFit 0.1, full 184."""
    exact = {"goft": 82_872, "qgoft": 331_488, "lora": 331_776, "bitfit": 102_912}
    assert {adapter: DEBERTA.trained(adapter) for adapter in exact} == exact
    assert round(DEBERTA.trained("full") / 1e6) == 184


@pytest.mark.parametrize(("size", "paper"), [(4, 331_776), (8, 663_552)])
def test_the_paper_counts_whole_blocks_of_oft_and_peft_skew_ones(size: int, paper: int) -> None:
    """Table 1, in millions: 0.33 for blocks of 4, 0.66 for blocks of 8."""
    blocks = sum(inputs // size for inputs, _ in DEBERTA.linears)
    assert blocks * size * size == paper
    trained, _ = deberta("adapter=oft", f"adapter.oft_block_size={size}")
    assert trained == blocks * size * (size - 1) // 2


def test_a_models_budget_is_taken_and_an_override_wins() -> None:
    words = ["adapter=adalora", "+model.budgets.adalora={init_r: 24, target_r: 16}"]
    adapter = composed(words).adapter
    assert (vars(adapter)["init_r"], vars(adapter)["target_r"]) == (24, 16)
    adapter = composed([*words, "adapter.init_r=20"]).adapter
    assert (vars(adapter)["init_r"], vars(adapter)["target_r"]) == (20, 16)
