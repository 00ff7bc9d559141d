"""`goft_cli.train`, `predict` and `load` match the commands and leave the process unchanged."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from peft import PeftModel
from tqdm import TMonitor

import goft_cli
from goft_cli.config import TrainConfig
from goft_cli.run import summary
from goft_cli.run.folder import RunFolder
from goft_cli.run.record import RunRecord
from goft_cli.system.errors import Stopped
from goft_cli.training.trainer import PenaltyTrainer
from goft_cli.verbs import train as verb
from tests.conftest import Goft
from tests.support import small_runs

PLACES = {"model.path": "model", "task.data_dir": "data"}
SAME = ("headline", "metrics", "train_loss", "trainable_parameters")
ROWS = [{"sentence": "the dog runs ."}, {"sentence": "the cat not sings ."}]


@pytest.fixture
def ground(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a model and data; its name needs quotes on a command line."""
    root = tmp_path / "it's a, folder=1"
    small_runs.write_model(root / "model")
    small_runs.write_data(root / "data")
    monkeypatch.chdir(tmp_path)
    return root


def words(ground: Path, **more: object) -> dict[str, Any]:
    given = {
        "task": "glue/cola",
        "model": "minilm-l6",
        "model__path": ground / "model",
        "task__data_dir": str(ground / "data"),
        "adapter": "qgoft",
        "trainer__learning_rate": 0.02,
        "trainer__max_steps": 4,
        "trainer__warmup_steps": 0,
        "trainer__use_cpu": True,
    }
    return given | more


def surroundings() -> dict[str, Any]:
    """Return global state that a call could change: folder, signals, loggers, threads and more."""
    ours, theirs = logging.getLogger("goft_cli"), logging.getLogger("transformers")
    bars = transformers.logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    return {
        "argv": list(sys.argv),
        "folder": Path.cwd(),
        "environment": {one for one in os.environ if one.startswith(("HYDRA", "GOMP", "WANDB"))},
        "signals": [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)],
        "logger": (ours.level, ours.propagate, list(ours.handlers), list(theirs.handlers)),
        "root": list(logging.getLogger().handlers),
        "bars": bars,
        "hydra": (GlobalHydra.instance().hydra, HydraConfig.instance().cfg),
        "frozen": gc.get_freeze_count(),
        "quiet": summary.screen.quiet,
        "threads": {one for one in threading.enumerate() if not isinstance(one, TMonitor)},
    }


@pytest.fixture
def same_program() -> Iterator[None]:
    """Check that the global state after the test is the same as before."""
    gc.unfreeze()
    before = surroundings()
    yield
    found = surroundings()
    for key, value in before.items():
        assert found[key] == value, key


@pytest.mark.usefixtures("same_program")
def test_a_finished_run_is_returned_at_once_and_shown(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = goft_cli.train(**words(ground))
    assert made.folder.path.parts[:2] == ("outputs", "glue")
    monkeypatch.setattr(verb, "run_here", lambda *_: pytest.fail("it is finished"))
    assert goft_cli.train(**words(ground)).folder == made.folder
    html = made._repr_html_()
    assert html.count("<table>") == html.count("data:image/png;base64,") == 1
    assert f"{made.score:.4f}" in html
    assert made.headline in html


def test_it_trains_what_the_command_trains(ground: Path, goft: Goft) -> None:
    made = goft_cli.train(**words(ground))
    typed = [
        "task=glue/cola model=minilm-l6 adapter=qgoft trainer.learning_rate=0.02",
        "trainer.max_steps=4 trainer.warmup_steps=0 trainer.use_cpu=true output_dir=typed",
    ]
    places = [f'{key}="{ground / name}"' for key, name in PLACES.items()]
    answer = goft("train", *" ".join(typed).split(), *places)
    assert answer.code == 0, answer.err
    records = made, RunRecord(RunFolder(Path("typed")))
    by_python, by_command = ({key: one.metrics[key] for key in SAME} for one in records)
    assert by_python == by_command


@pytest.mark.usefixtures("same_program")
def test_other_words_in_the_same_process(ground: Path) -> None:
    first = goft_cli.train(**words(ground, trainer__bf16=True))
    second = goft_cli.train(**words(ground, adapter="lora", seed=3))
    assert first.cfg.trainer.bf16
    assert (second.adapter, second.seed, second.cfg.trainer.bf16) == ("lora", 3, False)
    assert first.folder.path != second.folder.path


@pytest.mark.slow
@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_a_script_may_have_switched_gradients_off(ground: Path, off: Callable[[], Any]) -> None:
    plain = goft_cli.train(**words(ground))
    with off():
        assert goft_cli.train(**words(ground, overwrite=True)).score == plain.score
        assert not torch.is_grad_enabled()


def test_a_second_training_in_the_process_is_refused(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    def second() -> None:
        with pytest.raises(goft_cli.GoftError) as caught:
            goft_cli.train(**words(ground, seed=4))
        said.append(str(caught.value))

    def trained_beside(cfg: TrainConfig) -> None:
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    monkeypatch.setattr(verb, "train", trained_beside)
    goft_cli.train(**words(ground))
    assert "share its random numbers" in said[0]


@pytest.mark.usefixtures("same_program")
def test_what_ends_it_leaves_a_checkpoint_and_the_same_call_goes_on(
    ground: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = PenaltyTrainer.training_step

    def interrupted(self: PenaltyTrainer, *given: Any, **more: Any) -> torch.Tensor:  # noqa: ANN401
        if self.state.global_step == 2:
            signal.raise_signal(signal.SIGINT)
        return step(self, *given, **more)

    monkeypatch.setattr(PenaltyTrainer, "training_step", interrupted)
    with pytest.raises(Stopped, match=r"saved at update 3 of 4"):
        goft_cli.train(**words(ground))
    monkeypatch.undo()
    monkeypatch.chdir(ground.parent)
    resumed = goft_cli.train(**words(ground))
    whole = goft_cli.train(**words(ground, run_name="whole"))
    assert resumed.metrics["train_loss"] == whole.metrics["train_loss"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"task": "glue/kola"}, r"task=glue/kola: there is no such task; did you mean"),
        ({"trainer__lerning_rate": 1}, r"did you mean trainer\.learning_rate\?"),
        ({"trainer": {"max_steps": 1}}, r"trainer: expected one choice.*trainer__max_steps=VALUE"),
        ({"trainer__max_steps": "many"}, r"trainer\.max_steps=many: expected"),
        ({"trainer__max_steps": object()}, r"trainer__max_steps: found a object; expected a text"),
        ({"seed": -1}, r"seed"),
        ({"task__data_dir": "no, such"}, r"no, such"),
        ({"--cfg": "job"}, r"--cfg: there is no such key"),
        ({"hydra__run__dir": "x"}, r"goft has a folder of its own"),
        ({"adapter": ["goft", "lora"]}, r"adapter: expected one choice.*call train once for each"),
    ],
)
def test_a_mistake_is_the_commands_sentence(ground: Path, more: dict[str, Any], said: str) -> None:
    with pytest.raises(goft_cli.GoftError, match=said):
        goft_cli.train(**words(ground, **more))
    assert not Path("outputs").exists()


def test_a_full_disk_is_a_mistake_too(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "curves.png")

    monkeypatch.setattr(summary, "plot_curves", full)
    with pytest.raises(goft_cli.GoftError, match="the disk is full"):
        goft_cli.train(**words(ground))


def test_a_fault_of_the_program_stays_one(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "plot_curves", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        goft_cli.train(**words(ground))


def test_rows_are_predicted_as_the_command_does(trained: Path, tmp_path: Path, goft: Goft) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    assert goft("predict", f"adapter={trained}", f"input={file}", "output=out.jsonl").code == 0
    expected = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    texts = [row["sentence"] for row in ROWS]
    for rows in (ROWS, file, texts, pd.DataFrame(ROWS), datasets.Dataset.from_list(ROWS)):
        assert goft_cli.predict(trained, rows) == expected
    assert goft_cli.predict(RunRecord(RunFolder(trained)), ROWS) == expected


def test_other_columns_and_empty_rows_are_kept_as_the_command_does(
    trained: Path, tmp_path: Path, goft: Goft
) -> None:
    day = pd.Timestamp("2026-01-02")
    rows = [{"id": np.int64(7), "day": day, "marks": np.arange(2), **ROWS[0]}]
    rows += [{**rows[0], "id": np.int64(8), "sentence": ""}]
    plain = [{**row, "id": int(row["id"]), "day": str(day), "marks": [0, 1]} for row in rows]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in plain))
    answer = goft("predict", f"adapter={trained}", "input=rows.jsonl", "output=out.jsonl")
    assert answer.code == 0, answer.err
    expected = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["prediction"] is None for line in expected] == [False, True]
    for given in (rows, plain, pd.DataFrame(rows), datasets.Dataset.from_list(plain)):
        assert goft_cli.predict(trained, given) == expected
    assert goft_cli.predict(trained, ["", ROWS[0]["sentence"]])[0]["prediction"] is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"sentense": "a"}], "column sentence is missing"),
        ([], "no rows|empty"),
        ([1, 2], "neither texts nor mappings"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_rows_that_cannot_be_read_are_refused(trained: Path, rows: Any, said: str) -> None:  # noqa: ANN401
    with pytest.raises(goft_cli.GoftError, match=said):
        goft_cli.predict(trained, rows)


def test_a_run_is_loaded_adapted_or_merged(trained: Path) -> None:
    adapted, merged = goft_cli.load(trained), goft_cli.load(trained, merged=True)
    assert isinstance(adapted.model, PeftModel)
    assert isinstance(merged.model, transformers.BertForSequenceClassification)
    outputs = []
    for model, processor in (adapted, merged):
        assert not model.training
        with torch.no_grad():
            outputs.append(model(**processor(ROWS[0]["sentence"], return_tensors="pt")).logits)
    torch.testing.assert_close(*outputs)
    with pytest.raises(goft_cli.GoftError, match="holds no run of goft train"):
        goft_cli.load(trained.parent / "model")
