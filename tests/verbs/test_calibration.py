"""`goft plan calibrate=true` measures models of few blocks and extrapolates to all blocks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from goft_cli.tasks.families import build_task
from goft_cli.verbs.plan import calibration
from goft_cli.verbs.plan.batches import stand_in_batch
from goft_cli.verbs.plan.calibration import Measured
from goft_cli.verbs.plan.layers import attached
from goft_cli.verbs.plan.memory import LATE_BYTES, Memory
from goft_cli.verbs.plan.steps import Batches
from tests.support import small_runs
from tests.verbs.conftest import words

SIZES = st.integers(0, 2**40)


@pytest.mark.parametrize(
    ("depth", "word", "expected"),
    [
        (2, "adapter=qgoft", [None]),
        (12, "adapter=qgoft", [1, 6]),
        (12, "adapter=lora", [1, 6]),
        (12, "adapter.target_modules='.*layer.[01]..*query'", [None]),
        (12, "adapter.target_modules=[layer.11.attention.self.query]", [None]),
    ],
)
def test_a_deep_model_is_counted_up_from_few_blocks(
    depth: int,
    word: str,
    expected: list[int | None],
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Check that a model whose blocks are not alike is measured as a whole."""
    shutil.copytree(place / "model", tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    deep = json.loads(config.read_text()) | {"num_hidden_layers": depth}
    config.write_text(json.dumps(deep))
    measured: list[int | None] = []

    def of_blocks(blocks: int) -> Measured:
        return Measured(
            0.5 + 0.25 * blocks, 0.125 * blocks, 1000 + 64 * blocks, 900 + 32 * blocks, 70
        )

    def stand_in(cfg: object, batches: object, device: str, blocks: int | None = None) -> Measured:
        measured.append(blocks)
        return of_blocks(blocks or depth)

    monkeypatch.setattr(calibration, "measure_apart", stand_in)
    cfg = small_runs.composed(words(place, word, f"model.path={tmp_path / 'model'}"))
    assert calibration.calibrate(cfg, Batches({}, {}), "cpu", depth) == of_blocks(depth)
    assert measured == expected


@given(
    parts=st.builds(Memory, *[SIZES] * 9),
    grown=SIZES,
    kept=SIZES,
    more=st.one_of(st.just(0), SIZES),
)
def test_a_measured_growth_replaces_what_updates_were_foreseen_to_take(
    parts: Memory, grown: int, kept: int, more: int
) -> None:
    kept = min(kept, grown)
    found = parts.corrected(grown, kept, kept + more)
    states = parts.gradients + parts.optimizer
    assert found.updating == max(0, grown - states)
    assert found.activations <= parts.activations
    if parts.process and kept >= states + LATE_BYTES:
        most = max(grown, kept + more + parts.rebuilt)
        assert found.peak == parts.process + parts.weights + most
        assert found.evaluates == (more > 0 and kept + more + parts.rebuilt > grown)


def test_an_evaluation_of_more_rows_adds_to_the_growth(place: Path) -> None:
    """The evaluation's activations are larger than the update's."""
    cfg = small_runs.composed(words(place))
    model = attached(cfg, cfg.adapter).get_base_model()
    one, many = (stand_in_batch(build_task(cfg.task), model, rows) for rows in (1, 512))
    found = calibration.measure_apart(cfg, Batches(one, many), "cpu")
    assert found.grown >= found.kept > 0
    assert found.kept + found.scored > found.grown


@pytest.mark.slow
def test_memory_that_this_process_has_freed_does_not_hide_the_growth(
    place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Blocks smaller than malloc's mmap threshold stay in the heap when they are freed."""
    cfg = small_runs.composed(words(place, "trainer.per_device_train_batch_size=64"))
    task = build_task(cfg.task)
    batch = stand_in_batch(task, attached(cfg, cfg.adapter), 64)
    first = calibration.measure_apart(cfg, Batches(batch, batch), "cpu")
    assert capfd.readouterr() == ("", "")
    assert first.grown > 0
    held = [torch.ones(2**15) for _ in range(2000)]
    last = torch.ones(1)  # so that the heap does not shrink from its end
    assert sum(one.nbytes for one in held) > first.grown
    del held
    again = calibration.measure_apart(cfg, Batches(batch, batch), "cpu")
    assert again.grown == pytest.approx(first.grown, rel=0.1, abs=2**21)
    assert last.numel() == 1
