"""The Vicuna benchmark answers with tiny-llama; a judge rates at once or on another machine."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from goft_cli.config import JudgeConfig, TaskConfig, VicunaConfig, WithoutReference
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from goft_cli.tasks.benchmark import Scores
from goft_cli.tasks.families import build_benchmark
from goft_cli.tasks.vicuna import Vicuna
from tests.support.judge_server import JudgeServer, says

CATEGORIES = {
    "generic",
    "knowledge",
    "roleplay",
    "common-sense",
    "fermi",
    "counterfactual",
    "coding",
    "math",
    "writing",
}

Configure = Callable[..., VicunaConfig]
Evaluate = Callable[[VicunaConfig, Path], Scores]


@pytest.fixture
def configure(task_config: Callable[[str], TaskConfig]) -> Configure:
    """Return a function that reads a task's YAML and replaces fields, with their checks."""

    def make(name: str = "demo/chat", **changes: object) -> VicunaConfig:
        config = task_config(name)
        assert isinstance(config, VicunaConfig)
        return replace(config, **{"headline": "rating", "max_new_tokens": 8, **changes})

    return make


@pytest.fixture(scope="module")
def evaluate() -> Evaluate:
    """Return a function that loads a benchmark and evaluates it on tiny-llama."""
    folder = asset_dir("tiny-llama")
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def run(config: VicunaConfig, results: Path) -> Scores:
        benchmark = build_benchmark(config)
        return benchmark.evaluate(model, tokenizer, benchmark.load(), results, 12)

    return run


def judge_at(server: JudgeServer, **changes: object) -> JudgeConfig:
    """Return the configuration of the stand-in judge, with the demo's settings."""
    demo: dict[str, Any] = {"without_reference": WithoutReference.general, "backoff_seconds": 0.001}
    return replace(JudgeConfig(base_url=server.url, model="gpt-test"), **(demo | changes))


def test_the_protocol_is_fastchats(task_config: Callable[[str], TaskConfig]) -> None:
    config = task_config("vicuna")
    assert isinstance(config, VicunaConfig)
    temperatures = {name: config.temperatures.get(name, config.temperature) for name in CATEGORIES}
    assert temperatures == dict.fromkeys(CATEGORIES, 0.7) | {"math": 0.0, "coding": 0.0}
    assert (config.max_new_tokens, config.benchmark_sizes) == (1024, {"question": 80})
    assert config.judge.model == "gpt-4-turbo"


def test_the_demo_has_a_dozen_questions_of_all_categories(configure: Configure) -> None:
    data = build_benchmark(configure()).load()
    rows = data.splits["question"].to_list()
    assert len(rows) == 12
    assert {row["category"] for row in rows} == CATEGORIES
    assert data.provenance["source"] == "demo:chat"


def test_without_a_judge_there_are_answers_and_no_rating(
    configure: Configure, evaluate: Evaluate, tmp_path: Path
) -> None:
    config = configure()
    scores = evaluate(config, tmp_path)
    assert config.headline in scores.metrics
    assert scores.metrics == {"answered": sum(bool(p["answer"]) for p in scores.predictions)}
    assert len(scores.predictions) == 12
    assert {p["rating"] for p in scores.predictions} == {None}
    assert [path.name for path in tmp_path.iterdir()] == ["answers.demo-chat.jsonl"]


def test_with_a_judge_the_mean_rating_is_the_headline(
    configure: Configure, evaluate: Evaluate, judge: JudgeServer, tmp_path: Path
) -> None:
    judge.otherwise = lambda seen: says(
        "[[9]]" if "sum" in seen.user or "two plus" in seen.user else "[[6.5]]"
    )
    config = configure(judge=judge_at(judge))
    scores = evaluate(config, tmp_path)
    assert config.headline == "rating"
    assert scores.metrics["rating"] == pytest.approx((11 * 6.5 + 9) / 12)
    assert scores.metrics["rating_math"] == pytest.approx((6.5 + 9) / 2)
    assert (scores.metrics["rated"], scores.metrics["failed"]) == (12, 0)
    assert {f"rating_{name.replace('-', '_')}" for name in CATEGORIES} < scores.metrics.keys()
    assert scores.predictions[0]["judge"] == ["gpt-test", "own-single"]
    asked = {seen.user for seen in judge.seen}
    assert all(
        any(p["question"] in text and p["answer"] in text for text in asked)
        for p in scores.predictions
    )


def test_answers_from_one_machine_are_judged_on_another(
    configure: Configure,
    evaluate: Evaluate,
    judge: JudgeServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = evaluate(configure(), tmp_path / "here")
    for carried in ("resumed", "named"):
        monkeypatch.setattr("goft_cli.tasks.vicuna.answers.generate", None)
        answers = tmp_path / "here" / "answers.demo-chat.jsonl"
        changes = {}
        if carried == "named":
            changes["answers"] = str(answers)
        else:
            (tmp_path / carried).mkdir()
            (tmp_path / carried / answers.name).write_bytes(answers.read_bytes())
        scores = evaluate(configure(judge=judge_at(judge), **changes), tmp_path / carried)
        assert scores.metrics["rating"] == 7
        assert [p["answer"] for p in scores.predictions] == [p["answer"] for p in first.predictions]


def test_another_run_is_won_or_lost_against(
    configure: Configure, evaluate: Evaluate, judge: JudgeServer, tmp_path: Path
) -> None:
    evaluate(configure(judge=judge_at(judge)), tmp_path / "theirs")
    judge.replies.extend([says("[[9]]")] * 3 + [says("[[5]]")] * 2 + [says("No.")])
    ours = configure(
        judge=judge_at(judge), seed=1, temperatures={}, against=str(tmp_path / "theirs")
    )
    metrics = evaluate(ours, tmp_path / "ours").metrics
    assert (metrics["win"], metrics["tie"], metrics["lose"]) == (3, 6, 2)
    assert (metrics["rated"], metrics["failed"]) == (11, 1)


def test_own_wording_is_named(
    configure: Configure, judge: JudgeServer, caplog: pytest.LogCaptureFixture
) -> None:
    data = build_benchmark(configure(judge=judge_at(judge))).load()
    assert data.provenance["judge"] == {
        "base_url": judge.url,
        "model": "gpt-test",
        "prompts": "own",
        "prompt_names": ["own-single", "own-single-reference"],
    }
    assert "goft's own prompts, so ratings cannot be compared with published ones" in caplog.text


def write_questions(folder: Path, *rows: dict[str, Any]) -> Path:
    """Write FastChat's question.jsonl."""
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "question.jsonl").write_text(text, encoding="utf-8")
    return folder


QUESTION = {"question_id": 1, "category": "math", "turns": ["What is 2 + 2?"]}


def test_fastchats_file_is_read(configure: Configure, tmp_path: Path) -> None:
    write_questions(tmp_path, QUESTION, {"question_id": 2, "category": "x", "turns": ["Ä?"]})
    data = Vicuna(configure("vicuna", data_dir=str(tmp_path))).load()
    assert data.splits["question"].to_list()[1] == {
        "question_id": 2,
        "category": "x",
        "turns": ["Ä?"],
    }
    assert list(data.provenance["sha256"]) == ["question.jsonl"]


def test_the_questions_are_the_users(configure: Configure) -> None:
    with pytest.raises(GoftError, match=r"task vicuna: .*DIR"):
        Vicuna(configure("vicuna")).load()


def test_no_questions(configure: Configure, tmp_path: Path) -> None:
    rows = Dataset.from_list([QUESTION]).select([])
    rows.to_parquet(str(tmp_path / "question.parquet"))
    with pytest.raises(GoftError, match=r"question\.parquet: no questions"):
        Vicuna(configure("vicuna", data_dir=str(tmp_path))).load()


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"question_id": "1"}, r"line 2: found question_id '1' and category 'math'; expected"),
        ({"question_id": True}, r"line 2: found question_id True"),
        ({"category": 3}, r"line 2: .*category 3"),
        ({"question_id": 1}, r"line 2: question_id 1 is that of .*line 1 too"),
        ({"turns": "What?"}, r"line 2: turns is 'What\?'; expected a list of one text"),
        ({"turns": [1]}, r"line 2: turns is \[1\]; expected"),
        ({"turns": ["One?", "Two?"]}, r"line 2: found 2 turns .*no second turn"),
        ({"turns": []}, r"line 2: found 0 turns"),
        ({"turns": [" "]}, r"line 2: found 1 turns or an empty one"),
    ],
)
def test_a_strange_question_is_named(
    changes: dict[str, Any], complaint: str, configure: Configure, tmp_path: Path
) -> None:
    write_questions(tmp_path, QUESTION, {**QUESTION, "question_id": 2, **changes})
    with pytest.raises(GoftError, match=rf"question.jsonl, {complaint}"):
        Vicuna(configure("vicuna", data_dir=str(tmp_path))).load()


def test_a_file_of_something_else_is_refused(configure: Configure, tmp_path: Path) -> None:
    write_questions(tmp_path, {"question_id": 1, "text": "What?"})
    with pytest.raises(GoftError, match=r"category, turns.*'question_id', 'text'"):
        Vicuna(configure("vicuna", data_dir=str(tmp_path))).load()


def test_what_the_judge_will_need_is_checked_before_the_model_is_loaded(
    configure: Configure, judge: JudgeServer, tmp_path: Path
) -> None:
    def load(**changes: object) -> None:
        fields = {"without_reference": WithoutReference.refuse, **changes}
        against = fields.pop("against", None)
        data_dir = str(write_questions(tmp_path, QUESTION))
        jury = judge_at(judge, **fields)
        Vicuna(configure("vicuna", data_dir=data_dir, judge=jury, against=against)).load()

    with pytest.raises(GoftError, match=r"question 1 \(math\).*reference"):
        load()
    with pytest.raises(GoftError, match=r"nowhere.jsonl: cannot be read"):
        load(prompts=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(GoftError, match=r"nowhere.jsonl: cannot be read"):
        load(without_reference=WithoutReference.skip, against=str(tmp_path / "nowhere.jsonl"))
    assert judge.seen == []


def test_a_file_of_answers_must_answer_every_question(configure: Configure, tmp_path: Path) -> None:
    row = {"question_id": 9, "choices": [{"index": 0, "turns": ["4"]}]}
    (tmp_path / "answers.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    config = configure(answers=str(tmp_path / "answers.jsonl"))
    with pytest.raises(GoftError, match=r"11 of 12.* 1 "):
        build_benchmark(config).load()


@pytest.mark.parametrize(
    "url",
    [
        "api.example.com/v1",
        "ftp://example.com/v1",
        "https:///v1",
        "http://exa mple.com/v1",
        "http://example.com:port/v1",
        "http://[::1/v1",
        "https://user:hunter2@example.com/v1",
        "https://example.com/v1?api-key=hunter2",
    ],
)
def test_an_address_that_is_none_is_refused_unseen(url: str) -> None:
    with pytest.raises(GoftError, match=r"task.judge.base_url: expected a plain address") as caught:
        JudgeConfig(base_url=url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: JudgeConfig(concurrency=0), r"task.judge.concurrency=0 .*at least 1"),
        (lambda: JudgeConfig(retries=-1), r"task.judge.retries=-1 .*at least 0"),
        (lambda: JudgeConfig(backoff_seconds=-1.0), r"task.judge.backoff_seconds=-1.0"),
        (lambda: JudgeConfig(timeout_seconds=0.0), r"task.judge.timeout_seconds=0.0 .*above 0"),
        (lambda: JudgeConfig(api_key_variable="sk-123"), r"api_key_variable is not the name"),
        (lambda: VicunaConfig(temperature=-1.0), r"task.temperature=-1.0"),
        (lambda: VicunaConfig(temperatures={"math": -0.5}), r"task.temperatures.math=-0.5"),
        (lambda: VicunaConfig(max_new_tokens=0), r"task.max_new_tokens=0"),
        (lambda: VicunaConfig(eval_splits=["a", "b"]), r"task.eval_splits=\['a', 'b'\] .*one file"),
        (lambda: VicunaConfig(against="there"), r"against=there compares ratings.*no judge"),
    ],
)
def test_values_out_of_range_are_refused(make: Callable[[], object], complaint: str) -> None:
    with pytest.raises(GoftError, match=complaint):
        make()
