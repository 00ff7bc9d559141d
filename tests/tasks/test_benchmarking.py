"""A benchmark is scored after a training, and by `goft eval` on a run or a plain model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from goft_cli.config import BenchmarkConfig, EvalConfig, TrainConfig
from goft_cli.run import pipeline
from goft_cli.run.configuration import read_config
from goft_cli.system.errors import USAGE_ERROR, GoftError
from goft_cli.verbs.eval import evaluate
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.decoders import sentences_run, shipped_llama
from tests.support.multiple_choice import SUBJECTS, config, write_folder, write_rows

NOTICE = "not the benchmark: mmlu/full test has 17 rows, the published split has 14042"
QUESTIONS = sum(SUBJECTS.values())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the questions of three subjects."""
    return write_folder(tmp_path_factory.mktemp("mmlu"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Any:  # noqa: ANN401
    """Yield the run folder of a causal model that was trained and then scored on the benchmark."""
    output = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        words = ["benchmark=mmlu", f"benchmark.data_dir={folder}", "benchmark.shots=[0,2]"]
        run = pipeline.run(sentences_run(patch, output, *words))
        yield run


def content(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_training_ends_with_the_scores_of_its_benchmark(trained: Path, folder: Path) -> None:
    metrics = content(trained / "metrics.json")
    assert set(metrics["metrics"]) == {"validation", "mmlu/full"}
    assert {"average_0_shot", "average_2_shot", "stem_2_shot"} <= metrics["metrics"][
        "mmlu/full"
    ].keys()
    assert set(metrics["breakdown"]["mmlu/full"]["2_shot"]) >= SUBJECTS.keys()
    lines = (trained / "predictions.mmlu-full.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2 * QUESTIONS
    recorded = content(trained / "manifest.json")["benchmark"]
    assert recorded["name"] == "mmlu/full"
    assert recorded["rows"] == {"dev": 15, "test": QUESTIONS}
    assert recorded["is_the_benchmark"] is False
    assert recorded["source"] == str(folder)


def test_the_run_knows_its_benchmark_again(trained: Path) -> None:
    benchmark = read_config(trained / "config.yaml").benchmark
    assert isinstance(benchmark, BenchmarkConfig)
    assert (benchmark.name, benchmark.headline) == ("mmlu/full", "average_2_shot")


def test_a_finished_run_shows_the_benchmark_again(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from goft_cli.run import summary
    from goft_cli.run.folder import RunFolder

    summary.show_finished(RunFolder(trained))
    shown = capsys.readouterr().out
    assert "mmlu/full average_2_shot" in shown
    assert NOTICE in " ".join(shown.split())


@pytest.mark.parametrize("merged", [False, True])
def test_eval_finds_what_the_training_found(
    merged: bool, trained: Path, folder: Path, tmp_path: Path
) -> None:
    output = tmp_path / "eval.json"
    task = config("mmlu/full")
    evaluate(
        EvalConfig(
            adapter=str(trained),
            task=task,
            data_dir=str(folder),
            shots=[0, 2],
            merged=merged,
            output=str(output),
        )
    )
    found, before = content(output), content(trained / "metrics.json")
    assert found["metrics"]["mmlu/full"] == before["metrics"]["mmlu/full"]
    assert found["merged"] is merged
    assert found["settings"]["shots"] == [0, 2]
    assert found["settings"]["header"] == task.header
    assert (tmp_path / f"predictions.{output.stem}.jsonl").is_file()


def test_eval_scores_a_plain_model_from_the_command_line(goft: Goft, folder: Path) -> None:
    answer = goft("eval", "task=mmlu/full", "model=tiny-llama", f"data_dir={folder}", "shots=1")
    assert (answer.code, answer.out.count("1 shot")) == (0, 1)
    for word in ("average", "social sciences", "abstract algebra"):
        assert word in answer.out
    assert "test has 17 rows, the published split has 14042" in " ".join(answer.out.split())
    found = content(Path("outputs/mmlu/full/tiny-llama/eval.mmlu-full.json"))
    assert (found["model"], found["adapter"], found["harness"]) == ("tiny-llama", None, "own")
    assert next(iter(found["metrics"]["mmlu/full"])) == "average_1_shot"


def test_eval_keeps_the_predictions_of_the_training(trained: Path, folder: Path) -> None:
    kept = trained / "predictions.mmlu-full.jsonl"
    before = kept.read_bytes()
    evaluate(EvalConfig(adapter=str(trained), task=config("mmlu/full"), data_dir=str(folder)))
    assert kept.read_bytes() == before
    assert (trained / "predictions.eval.mmlu-full.jsonl").is_file()


def test_two_models_of_one_name_do_not_share_a_file(goft: Goft, tmp_path: Path) -> None:
    words = ("eval", "task=demo/choices", "shots=[0]", "model=tiny-llama", "model.path=other")
    model, tokenizer = shipped_llama()
    tokenizer.save_pretrained(tmp_path / "other")
    model.save_pretrained(tmp_path / "other")
    assert [goft(*words).code, goft(*words).code] == [0, 0]
    next(model.parameters()).data[0, 0] += 1
    model.save_pretrained(tmp_path / "other")
    answer = goft(*words)
    assert answer.code == USAGE_ERROR
    assert "output=FILE" in answer.err
    assert goft(*words, "output=mine.json").code == 0


def test_the_demo_needs_no_network(goft: Goft) -> None:
    answer = goft("eval", "task=demo/choices", "model=tiny-llama", "shots=[0]")
    assert answer.code == 0
    (scores,) = content(Path("outputs/demo/choices/tiny-llama/eval.demo-choices.json"))[
        "metrics"
    ].values()
    assert set(scores) == {f"{name}_0_shot" for name in ("average", "numbers", "words", "context")}


def test_options_of_a_benchmark(goft: Goft, folder: Path) -> None:
    printed = goft("eval", "task=mmlu/legacy", "model=tiny-llama", "task.shots=[3]", "--cfg", "job")
    composed = yaml.safe_load(printed.out)
    assert (composed["adapter"], composed["task"]["shots"]) == (None, [3])
    assert composed["task"]["name"] == "mmlu/legacy"
    assert composed["model"]["path"] == "asset:tiny-llama"


def test_a_benchmark_wants_a_model_that_generates_text(tmp_path: Path, folder: Path) -> None:
    words = ["benchmark=mmlu", f"benchmark.data_dir={folder}", f"output_dir={tmp_path / 'run'}"]
    with pytest.raises(GoftError, match=r"mmlu/full .*AutoModelForCausalLM"):
        pipeline.run(small_runs.composed(words))


def test_questions_are_read_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad" / "test").mkdir(parents=True)
    words = ["benchmark=mmlu", f"benchmark.data_dir={tmp_path / 'bad'}"]
    cfg: TrainConfig = sentences_run(monkeypatch, tmp_path / "run", *words)
    with pytest.raises(GoftError, match=r"no questions in dev"):
        pipeline.run(cfg)
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
    ("name", "more"), [("mmlu/full", ["benchmark.overflow=drop_exemplars"]), ("demo/chat", [])]
)
def test_questions_fit_the_model_before_the_training(
    name: str, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "long", {"anatomy": 1})
    write_rows(folder / "test" / "anatomy_test.csv", [["why " * 300, *"1234", "A"]])
    question = {"question_id": 1, "category": "generic", "turns": ["why " * 300]}
    (folder / "question.jsonl").write_text(json.dumps(question), encoding="utf-8")
    words = [f"+task@benchmark={name}", f"benchmark.data_dir={folder}", *more]
    cfg = sentences_run(monkeypatch, tmp_path / "run", *words)
    with pytest.raises(GoftError, match=r"the model (takes|has) 256"):
        pipeline.run(cfg)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_task_that_trains_is_no_benchmark(tmp_path: Path) -> None:
    task = small_runs.composed(["task=glue/cola"]).task
    model = small_runs.composed(["model=tiny-llama"]).model
    with pytest.raises(GoftError, match=r"glue/cola .*task=mmlu/full"):
        evaluate(EvalConfig(task=task, model=model))
    vicuna = small_runs.composed(["benchmark=vicuna"]).benchmark
    with pytest.raises(GoftError, match=r"shots=3: .*vicuna"):
        evaluate(EvalConfig(task=vicuna, model=model, shots=3))
    for shots in ("many", True, [0, 1.5]):
        with pytest.raises(GoftError, match=r"shots=.*: .*shots=5"):
            evaluate(EvalConfig(task=config("mmlu/full"), model=model, shots=shots))
