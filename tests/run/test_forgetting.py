"""Each measure of forgetting agrees with an independent computation of it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from _pytest.mark import ParameterSet
from torch.nn.functional import cross_entropy, kl_div
from transformers import AutoModel

from goft_cli.compose.references import retain_spec
from goft_cli.config.retain import RetainSpec
from goft_cli.models.backbone import load_backbone
from goft_cli.run.forgetting import Retention, prepare, validation_rows
from goft_cli.run.forgetting.features import (
    Rows,
    Similarity,
    base_only,
    pooled,
)
from goft_cli.run.forgetting.text import PROSE
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from goft_cli.tuner import set_strength
from tests.support.decoders import shipped_llama
from tests.support.small_families import write_family
from tests.support.untrained import moved, untrained

FEW = "task.max_eval_samples=40"
LANGUAGE = ["task=demo/instructions", "model=tiny-llama"]


def slow(*values: str) -> list[ParameterSet]:
    return [pytest.param(value, marks=pytest.mark.slow) for value in values]


@cache
def run_of(adapter: str) -> TrainedRun:
    """Return the shipped encoder with an adapter whose parameters have random noise added."""
    return moved(untrained(f"adapter={adapter}", FEW))


def test_a_base_whose_features_are_equal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rows, "features", lambda *_: torch.full((31, 4), 0.1))
    with pytest.raises(GoftError, match=r"31 rows of validation are all equal.*another measure"):
        Similarity("validation", validation_rows(run_of("goft"), 16))


def measured(run: TrainedRun, value: object) -> tuple[Retention, dict[str, float]]:
    prepared = prepare(
        run, spec_of(run) if value == "auto" else retain_spec(value, run.cfg.task), 16
    )
    return prepared, prepared.measure()


@cache
def composed_once() -> RetainSpec:
    return retain_spec("auto", run_of("goft").cfg.task)


def spec_of(run: TrainedRun) -> RetainSpec:
    """Return the measures of `auto`; those for demo/acceptability are composed only once."""
    of_text = run.cfg.task.name == "demo/acceptability"
    return composed_once() if of_text else retain_spec("auto", run.cfg.task)


def test_features_are_means_over_the_tokens_of_each_row_alone() -> None:
    run = run_of("goft")
    rows = validation_rows(run, 16)
    with base_only(run.model):
        found = rows.features("")
    plain = AutoModel.from_pretrained(asset_dir("tiny-deberta-v3")).eval()
    for place in (0, 17, 39):
        ids = torch.tensor([rows.inputs[place]["input_ids"]])
        with torch.no_grad():
            expected = plain(input_ids=ids).last_hidden_state[0].mean(dim=0)
        torch.testing.assert_close(found[place], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("adapter", ["goft", "bitfit", *slow("qgoft", "lora", "full", "linear")])
def test_the_base_is_the_model_before_it_was_adapted(adapter: str) -> None:
    run = run_of(adapter)
    rows = validation_rows(run, 16)
    batch = next(rows.batches(""))
    before = pooled(run, batch)
    with base_only(run.model):
        base = pooled(run, batch)
    plain = load_backbone(run.cfg.model, run.task)
    model = AutoModel.from_pretrained(asset_dir("tiny-deberta-v3")).eval()
    assert plain.fingerprint == run.backbone.fingerprint
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    torch.testing.assert_close(base, (hidden * mask).sum(1) / mask.sum(1), atol=1e-5, rtol=1e-5)
    assert torch.equal(pooled(run, batch), before)
    assert torch.equal(before, base) == (adapter == "linear")


@pytest.mark.parametrize("adapter", ["goft", *slow("lora")])
def test_an_adapter_at_its_start_has_forgotten_nothing(adapter: str, tmp_path: Path) -> None:
    prepared, found = measured(untrained(f"adapter={adapter}", FEW), "auto")
    assert found["validation/cka"] == pytest.approx(1, abs=1e-12)
    assert found["validation/cosine"] == pytest.approx(1, abs=1e-12)
    assert prepared.forgotten(found) == 0
    file = tmp_path / "text.txt"
    file.write_text("The old king has a small red hat.", encoding="utf-8")
    prepared, found = measured(untrained(f"adapter={adapter}", *LANGUAGE), {"text": str(file)})
    assert found["text/kl"] == prepared.forgotten(found) == 0
    assert found["text/perplexity"] == prepared.base["text/perplexity"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "task"),
    [
        ("OPT", "demo/instructions"),
        ("T5", "demo/acceptability"),
        ("Swin", "demo/digits"),
        ("SigLIP", "demo/digits"),
    ],
)
def test_features_are_found_where_families_hide_them(
    family: str, task: str, tmp_path: Path
) -> None:
    words = ["model=auto", f"model.path={write_family(family, tmp_path)}", f"task={task}"]
    run = untrained(*words, "task.max_eval_samples=12", "trainer.learning_rate=0.01")
    prepared, found = measured(run, "cka")
    assert found == {name: pytest.approx(1, abs=1e-9) for name in found}
    moved(run)
    assert prepared.measure()["validation/cka"] < 1 - 1e-6


def test_an_adapter_that_moved_has_forgotten_something_until_its_strength_is_nothing() -> None:
    run = run_of("goft")
    prepared, found = measured(run, "auto")
    assert found["validation/cka"] < 0.99
    assert prepared.forgotten(found) > 0.1
    set_strength(run.model, 0)
    assert prepared.forgotten(prepared.measure()) == 0
    set_strength(run.model, 1)
    assert prepared.measure() == found


def test_perplexity_and_divergence_are_those_of_all_logits(tmp_path: Path) -> None:
    run = moved(untrained("adapter=goft", *LANGUAGE))
    file = tmp_path / "text.txt"
    file.write_text(PROSE.read_text(encoding="utf-8")[:700], encoding="utf-8")
    prepared, found = measured(run, {"text": str(file)})
    model, tokenizer = shipped_llama()
    start = tokenizer("a")["input_ids"][:1]
    ids = tokenizer(file.read_text(encoding="utf-8"), add_special_tokens=False)["input_ids"]
    assert start == [tokenizer.bos_token_id]
    size = tokenizer.model_max_length - 1
    assert len(ids) > size  # the text takes more than one window
    losses, divergences = [], []
    for at in range(0, len(ids), size):
        window = torch.tensor([start + ids[at : at + size]])
        with torch.no_grad():
            base, own = (
                one(input_ids=window).logits[0, :-1].double() for one in (model, run.model)
            )
        losses += [cross_entropy(one, window[0, 1:], reduction="none") for one in (base, own)]
        logs = own.log_softmax(-1), base.log_softmax(-1)
        divergences.append(kl_div(*logs, log_target=True, reduction="none").sum(dim=-1))
    perplexities = [float(torch.cat(losses[side::2]).mean().exp()) for side in (0, 1)]
    assert prepared.base["text/perplexity"] == pytest.approx(perplexities[0], rel=1e-4)
    assert found["text/perplexity"] == pytest.approx(perplexities[1], rel=1e-4)
    assert found["text/kl"] == pytest.approx(float(torch.cat(divergences).mean()), rel=1e-4)
    assert prepared.forgotten(found) == found["text/kl"] > 0


def test_pairs_of_texts_have_a_value_of_the_base(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    rows = ["the cat sleeps,a cat is sleeping,4.5", "the dog runs,two kings,0", "a,b,2"]
    file.write_text("\n".join(["sentence1,sentence2,score", *rows]), encoding="utf-8")
    prepared, found = measured(run_of("goft"), {"sts": str(file)})
    assert found.keys() == prepared.base.keys() == {"sts/spearman"}


@pytest.mark.slow
def test_a_benchmark_is_asked_before_and_after() -> None:
    prepared, found = measured(moved(untrained("adapter=lora", *LANGUAGE)), "demo-choices")
    assert found.keys() == prepared.base.keys() > {"demo/choices/average_0_shot"}
    assert found != prepared.base


def test_what_does_not_fit_the_model_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "pairs.csv"
    file.write_text("text,score\na,1\nb,2\n", encoding="utf-8")
    run = run_of("goft")
    for value, said in [
        ("text", "does not generate text"),
        ({"sts": str(file)}, "two columns of text"),
        ({"probe": "demo/digits"}, "does not read"),
        ({"probe": "demo/qa"}, "one answer from a whole input"),
        ("demo-choices", "needs an AutoModelForCausalLM"),
    ]:
        with pytest.raises(GoftError, match=said):
            prepare(run, retain_spec(value, run.cfg.task), 16)
    with pytest.raises(GoftError, match="nothing that comes with goft fits"):
        RetainSpec.parse("probe").settled(untrained(*LANGUAGE).cfg.task)
