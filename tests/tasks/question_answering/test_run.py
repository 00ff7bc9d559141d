"""A small model trains on data like SQuAD's, and `goft eval` and `predict` use the run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from datasets import Dataset
from transformers import PreTrainedTokenizerFast

from goft_cli.config import EvalConfig, PredictConfig
from goft_cli.models.adapters import attach_adapter
from goft_cli.models.backbone import load_backbone
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.system.errors import GoftError
from goft_cli.tasks.families import build_task
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.predict import predict
from tests.support import small_runs
from tests.support.squad_scorer import score_files

WORDS = ["task=squad/v1", "task.max_length=16", "task.doc_stride=4", "task.max_answer_length=3"]


def write_data(folder: Path, rows: int = 40) -> Path:
    """Write train.json and dev.json; a question repeats the verb of the animal it asks for."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", rows), ("dev", rows // 2)):
        paragraphs = [paragraph(f"{name}{index}", index) for index in range(count)]
        content = {"version": "1.1", "data": [{"title": "Animals", "paragraphs": paragraphs}]}
        (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def paragraph(name: str, index: int) -> dict[str, Any]:
    animals, verbs = small_runs.WORDS[2:5], small_runs.WORDS[5:8]
    pairs = [(animals[(index + i) % 3], verbs[(index * 2 + i) % 3]) for i in range(3)]
    context = " ".join(f"{animal} {verb} not well ." for animal, verb in pairs)
    animal, verb = pairs[index // 3 % 3]
    answers = [f"{animal} {verb}", f"{animal} {verb} not well"][: 1 + index % 2]
    places = [{"text": answer, "answer_start": context.index(answer)} for answer in answers]
    return {"context": context, "qas": [{"id": name, "question": f"{verb} ?", "answers": places}]}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("inputs")
    return small_runs.write_model(root / "model"), write_data(root / "data")


@pytest.fixture(scope="module")
def trained(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return start(folders, tmp_path_factory.mktemp("trained") / "run", "adapter=qgoft")


def start(folders: tuple[Path, Path], output: Path, *more: str) -> RunFolder:
    words = small_runs.overrides(*folders, output, *WORDS, "trainer.learning_rate=0.02", *more)
    return RunFolder(pipeline.run(small_runs.composed(words)))


@pytest.mark.feature("QA")
@pytest.mark.parametrize("adapter", ["goft", "qgoft", "lora", "linear"])
def test_a_run_reports_what_the_official_script_finds(
    adapter: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    run = start(folders, tmp_path / "run", f"adapter={adapter}")
    metrics = json.loads(run.metrics.read_text())
    scores = metrics["metrics"]["validation"]
    assert 0 < scores["f1"] < 100
    assert scores == score_files(folders[1] / "dev.json", run.path / "predictions.json")
    assert metrics["headline"] == {"name": "f1", "value": scores["f1"]}
    assert metrics["head_parameters"] == 2 * 16 + 2
    assert metrics["agreement"]["reloaded"] == 0.0


def test_its_rows_have_several_windows(trained: RunFolder, folders: tuple[Path, Path]) -> None:
    cfg = small_runs.composed(small_runs.overrides(*folders, trained.path, *WORDS))
    task = build_task(cfg.task)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folders[0])
    rows = task.load().splits["validation"]
    assert len(cast(Dataset, task.encode(rows, tokenizer))) == 2 * len(rows)


def test_the_files_agree(trained: RunFolder) -> None:
    lines = (trained.path / "predictions.validation.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    texts = json.loads((trained.path / "predictions.json").read_text())
    assert texts == {row["id"]: row["prediction"]["text"] for row in rows}
    best = json.loads((trained.path / "nbest_predictions.json").read_text())
    assert texts == {name: answers[0]["text"] for name, answers in best.items()}
    for row in rows:
        answers = best[row["id"]]
        assert 1 <= len(answers) <= 20
        assert all(answer["text"] in row["context"] for answer in answers)
        shares = [answer["probability"] for answer in answers]
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) == pytest.approx(1)
        assert row["prediction"]["probability"] == shares[0]


def test_predictions_on_the_same_questions_are_the_same(
    trained: RunFolder, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    source = str(folders[1] / "dev.json")
    predict(PredictConfig(adapter=str(trained.path), input=source, output=str(output)))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    texts = json.loads((trained.path / "predictions.json").read_text())
    assert {row["id"]: row["prediction"]["text"] for row in rows} == texts


def test_a_single_text_is_refused(trained: RunFolder) -> None:
    with pytest.raises(GoftError, match=r"squad/v1 .*question and context"):
        predict(PredictConfig(adapter=str(trained.path), text="Who sleeps?"))


def test_the_merged_model_scores_alike(trained: RunFolder, tmp_path: Path) -> None:
    output = tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(trained.path), merged=True, output=str(output)))
    expected = json.loads(trained.metrics.read_text())["metrics"]
    assert json.loads(output.read_text())["metrics"] == expected


@pytest.mark.parametrize("adapter", ["goft", "lora"])
def test_token_types_reach_the_model(
    adapter: str, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    words = small_runs.overrides(*folders, tmp_path / "run", *WORDS, f"adapter={adapter}")
    cfg = small_runs.composed(words)
    task = build_task(cfg.task)
    backbone = load_backbone(cfg.model, task)
    head = cfg.model.head_modules or []
    model = attach_adapter(backbone, cfg.adapter, head, task.auto_class, updates=1).eval()
    ids = torch.arange(5, 13)[None]
    with torch.no_grad():
        first, second = (
            model(input_ids=ids, token_type_ids=torch.full_like(ids, kind)).start_logits
            for kind in (0, 1)
        )
    assert not torch.equal(first, second)
