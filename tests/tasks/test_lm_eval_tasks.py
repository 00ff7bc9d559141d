"""`benchmark=lm_eval` writes lm-eval's own numbers, and refuses mistakes before a model loads."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from goft_cli.config.benchmarks import LmEvalConfig
from goft_cli.run import pipeline, preflight
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from goft_cli.tasks.benchmark import flat_results
from goft_cli.verbs import eval as verb
from tests.conftest import Goft
from tests.support.decoders import sentences_run

installed = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
PAIRS = [("dog", "sleeps"), ("cat", "runs"), ("bird", "sings"), ("cow", "eats"), ("horse", "jumps")]
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
fewshot_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
target_delimiter: ""
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
metadata: {{version: 1.0}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with two tasks of five questions each."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "my tasks"
    place.mkdir()
    rows = [
        {"question": f"The {one} and the {two} :", "choices": [" a dog", " .", f" {verb}"]}
        for (one, verb), (two, _) in zip(PAIRS, PAIRS[1:] + PAIRS[:1], strict=True)
    ]
    for name, answer in {"first_made_up": 0, "second_made_up": 1}.items():
        data = place / f"{name}.jsonl"
        data.write_text("".join(json.dumps(row | {"answer": answer}) + "\n" for row in rows))
        (place / f"{name}.yaml").write_text(TASK.format(name=name, data=f'"{data}"'))
    return place


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that loads a model."""
    monkeypatch.setattr(verb, "open_model", lambda *_: pytest.fail("a model was loaded"))


def theirs(file: Path, **words: Any) -> dict[str, Any]:  # noqa: ANN401 - lm-eval's own
    """Return lm-eval's own results for the tiny model."""
    folder, models = str(asset_dir("tiny-llama")), import_module("lm_eval.models.huggingface")
    found = import_module("lm_eval").simple_evaluate(
        model=models.HFLM(pretrained=folder, dtype="float32", device="cpu", batch_size=2),
        tasks=[str(file)],
        **words,
    )
    return found["results"][file.stem]


def scores(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text(encoding="utf-8"))


@installed
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # warnings of lm-eval
def test_its_numbers_are_its_own(goft: Goft, folder: Path, tmp_path: Path) -> None:
    file = folder / "first_made_up.yaml"
    words = ["num_fewshot=1", "limit=4", "batch_size=2", "output=found.json"]
    answer = goft("eval", "benchmark=lm_eval", f"tasks=['{file}']", "model=tiny-llama", *words)
    assert answer.code == 0, answer.err
    found = scores(tmp_path / "found.json")
    own = theirs(file, num_fewshot=1, limit=4)
    name = "lm_eval/first_made_up"
    assert (found["task"], found["harness"]) == (name, "lm_eval")
    assert found["metrics"] == {name: {"first_made_up_acc": own["acc,none"]}}
    assert found["breakdown"][name]["standard error"] == {
        "first_made_up_acc": own["acc_stderr,none"]
    }
    recorded = found["data"]["tasks"]["first_made_up"]
    assert (recorded["questions"], recorded["file"]) == (5, str(file))
    lines = (tmp_path / "predictions.found.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == [0, 1, 2, 3]
    assert "first made up acc" in answer.out


@installed
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_training_ends_with_it_and_eval_finds_the_same(
    goft: Goft, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ",".join(f"'{file}'" for file in sorted(folder.glob("*.yaml")))
    words = ["benchmark=lm_eval", f"benchmark.tasks=[{files}]"]
    run = pipeline.run(sentences_run(monkeypatch, tmp_path / "run", *words))
    name = "lm_eval/first_made_up+second_made_up"
    before = scores(run / "metrics.json")["metrics"][name]
    assert set(before) == {"first_made_up_acc", "second_made_up_acc"}
    assert scores(run / "manifest.json")["benchmark"]["source"].startswith("lm_eval 0.")
    answer = goft("eval", "benchmark=lm_eval", f"tasks=[{files}]", f"adapter={run}")
    assert answer.code == 0, answer.err
    assert scores(run / f"eval.{name.replace('/', '-')}.json")["metrics"][name] == before


@installed
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("no_model")
def test_what_it_cannot_ask_is_refused_before_a_model_is_loaded(goft: Goft, folder: Path) -> None:
    file = folder / "first_made_up.yaml"
    (folder / "broken.yaml").write_text("task: [a\n")
    gone = folder / "gone.yaml"
    gone.write_text(file.read_text().replace("first_made_up", "gone"))
    unsafe = folder / "unsafe.yaml"
    unsafe.write_text(file.read_text() + "unsafe_code: true\n")
    for word, said in {
        "tasks=helaswag": "no task helaswag; did you mean hellaswag",
        "tasks=nowhere.yaml": "nowhere.yaml: no such file",
        f"tasks='{folder / 'broken.yaml'}'": "broken.yaml cannot be read",
        f"tasks='{gone}'": "gone.yaml cannot be read",
        f"tasks='{unsafe}'": "would run programs that the model writes",
        "tasks=hellaswag": "hellaswag cannot be read",  # there is no network
        "tasks=hellaswag include_path=nowhere": "include_path=nowhere: no such folder",
    }.items():
        key, _, rest = word.partition(" include")
        more = [f"include{rest}"] if rest else []
        answer = goft("eval", "benchmark=lm_eval", key, *more, "model=tiny-llama")
        assert (answer.code, said in answer.err) == (2, True), answer.err
    assert not Path("outputs").exists()


def test_words_that_are_short_for_its_keys(goft: Goft) -> None:
    words = "benchmark=lm_eval tasks=[arc_easy,./a.yaml] num_fewshot=5 limit=0.1 adapter=x"
    printed = goft("eval", *words.split(), "--cfg", "job")
    assert printed.code == 0, printed.err
    for line in ("- arc_easy", "- ./a.yaml", "num_fewshot: 5", "limit: 0.1"):
        assert line in printed.out
    printed = goft("train", *words.replace("adapter=x", "adapter=lora").split(), "--cfg", "job")
    assert printed.code == 0, printed.err
    assert "- arc_easy" in printed.out


def test_scores_of_other_tasks_have_another_name() -> None:
    one, other = (LmEvalConfig(tasks=tasks) for tasks in (["arc_easy"], ["./x/my task.yaml"]))
    assert (one.name, other.name) == ("lm_eval/arc_easy", "lm_eval/my_task")
    listed = [f"task_{number}" for number in range(30)]
    many = [LmEvalConfig(tasks=[*listed, last]) for last in ("x", "y")]
    assert many[0].name != many[1].name
    assert all(len(one.name) < 100 for one in many)
    assert LmEvalConfig(tasks=["arc_easy"], name=one.name).name == one.name


def test_the_package_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda _: None)
    with pytest.raises(GoftError, match=r"goft-cli\[lm-eval\]"):
        preflight.check_dataset(LmEvalConfig(tasks=["arc_easy"]), "benchmark")
    with pytest.raises(GoftError, match="found no tasks; pass tasks="):
        preflight.check_dataset(LmEvalConfig(), "task")


def test_a_filter_is_part_of_the_name_and_words_are_no_numbers() -> None:
    found = {
        "gsm8k": {"alias": "gsm8k", "exact_match,strict": 0.5, "exact_match_stderr,strict": 0.1},
        "arc": {"acc,none": 0.25, "acc_stderr,none": "N/A", "sample_len": 3},
    }
    assert flat_results(found) == {"gsm8k_exact_match_strict": 0.5, "arc_acc": 0.25}
    assert flat_results(found, errors=True) == {"gsm8k_exact_match_strict": 0.1}
