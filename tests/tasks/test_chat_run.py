"""A tiny-llama run on chats is scored again, answers a file, chats and is merged."""

from __future__ import annotations

import io
import json
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from goft_cli.config import EvalConfig, MergeConfig, PredictConfig, TerminalConfig
from goft_cli.run import pipeline
from goft_cli.run.folder import RunFolder
from goft_cli.run.trained import open_trained
from goft_cli.system.errors import GoftError, Stopped
from goft_cli.verbs.chat import Talk, chat
from goft_cli.verbs.eval import evaluate
from goft_cli.verbs.merge import merge
from goft_cli.verbs.predict import predict
from tests.support import small_runs
from tests.support.chats import LLAMA2, template
from tests.tasks.test_instruction_run import QUESTION

SHORT = 8


def talk_of(number: int) -> list[dict[str, str]]:
    """Return a chat of one to three exchanges."""
    turns = []
    for index in range(1 + number % 3):
        turns += [{"role": "user", "content": f"What is {number} plus {index}?"}]
        turns += [{"role": "assistant", "content": f"It is {number + index}."}]
    return turns


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run trained with a template in a file, which is deleted afterwards."""
    root = tmp_path_factory.mktemp("chats")
    data, file = root / "talks.jsonl", root / "own.jinja"
    endless = [{"role": "user", "content": "la " * 300}, {"role": "assistant", "content": "x"}]
    rows = [{"messages": talk_of(number)} for number in range(30)] + [{"messages": endless}] * 2
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    file.write_text(template(LLAMA2, says=False), encoding="utf-8")
    words = [
        "task=own/chat",
        "model=tiny-llama",
        f"task.data_dir={data}",
        f"task.template={file}",
        "task.max_length=120",
        "task.packing=true",
        f"output_dir={root / 'run'}",
        "adapter=qgoft",
        "trainer.per_device_train_batch_size=2",
        "trainer.learning_rate=0.05",
        "trainer.num_train_epochs=1",
        "trainer.use_cpu=true",
    ]
    run = RunFolder(pipeline.run(small_runs.composed(words)))
    file.unlink()
    return run


def test_what_was_done_is_said(trained: RunFolder) -> None:
    log = " ".join(trained.log.read_text().split())
    assert "talks.jsonl: chats in the form of messages" in log
    assert "chats have more than 120 tokens and are left out; task.overlong=cut_oldest" in log
    assert "examples packed into" in log
    assert "% of it padding; unpacked it would have" in log


def test_the_scores_are_of_whole_chats(trained: RunFolder, tmp_path: Path) -> None:
    metrics = json.loads(trained.metrics.read_text())
    scores = metrics["metrics"]["validation"]
    assert set(scores) == {"loss", "perplexity"}
    assert metrics["headline"] == {"name": "loss", "value": scores["loss"]}
    assert metrics["agreement"]["reloaded"] == 0.0
    output = tmp_path / "eval.json"
    evaluate(EvalConfig(adapter=str(trained.path), output=str(output)))
    assert json.loads(output.read_text())["metrics"]["validation"] == pytest.approx(scores)


def test_the_template_is_kept_with_the_adapter(trained: RunFolder, tmp_path: Path) -> None:
    written = template(LLAMA2, says=False)
    assert trained.template.read_text() == written
    merge(MergeConfig(adapter=str(trained.path), output_dir=str(tmp_path / "merged")))
    assert AutoTokenizer.from_pretrained(tmp_path / "merged").chat_template == written


def test_predict_answers_as_the_merged_model_does(trained: RunFolder, tmp_path: Path) -> None:
    source, output = tmp_path / "new.jsonl", tmp_path / "out.jsonl"
    rows = [{"prompt": QUESTION}, {"prompt": talk_of(2)[:3]}]
    source.write_text("\n".join(map(json.dumps, rows)))
    words = {"input": str(source), "output": str(output), "max_new_tokens": SHORT}
    predict(PredictConfig(adapter=str(trained.path), **words))
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    merge(MergeConfig(adapter=str(trained.path), output_dir=str(tmp_path / "merged")))
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "merged")
    ids = tokenizer.apply_chat_template(
        talk_of(2)[:3], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    new = model.generate(ids, max_new_tokens=SHORT, do_sample=False)[0, ids.shape[1] :]
    assert lines[1]["prediction"]["output"] == tokenizer.decode(new, skip_special_tokens=True)


def test_a_chat_remembers_until_it_is_reset(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = open_trained(str(trained.path), base_model=None)
    task: Any = run.task
    cfg = TerminalConfig(adapter=str(trained.path), max_new_tokens=SHORT, stop=["\n"])
    talk = Talk(run, cfg)
    answers = [talk.answer(QUESTION), talk.answer("And?\nNow?")]
    assert [turn["role"] for turn in talk.turns] == ["user", "assistant"] * 2
    rows = task.read_turn(talk.turns[:2], "And?\nNow?")
    options = {"batch_size": 1, "decoding": cfg}
    assert task.answer(run.model, rows, run.backbone.processor, **options) == [
        {"output": answers[1]}
    ]
    monkeypatch.setattr(
        sys, "stdin", io.StringIO(f"{QUESTION}\nAnd?\\\nNow?\n\n/reset\n{QUESTION}\n/quit\n?")
    )
    chat(cfg)
    assert capsys.readouterr().out.splitlines() == [*answers, answers[0]]


def test_what_is_drawn_follows_the_seed_and_the_answers_number(trained: RunFolder) -> None:
    run = open_trained(str(trained.path), base_model=None)

    def draw(seed: int) -> list[str]:
        words = {"temperature": 5.0, "seed": seed, "max_new_tokens": SHORT}
        talk = Talk(run, TerminalConfig(adapter="x", **words))
        first = talk.answer(QUESTION)
        talk.reset()
        return [first, talk.answer(QUESTION)]

    first, second = draw(1)
    assert first != second
    assert draw(1) == [first, second] != draw(2)


def test_a_chat_that_fills_the_context_is_said(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("long " * 300))
    with pytest.raises(GoftError, match=r"its prompt has .* tokens and the model takes 256"):
        chat(TerminalConfig(adapter=str(trained.path)))


def test_a_piped_line_that_is_not_utf_8_is_refused(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("caf\udce9\n"))
    with pytest.raises(GoftError, match="UTF-8"):
        chat(TerminalConfig(adapter=str(trained.path)))


@pytest.mark.parametrize("precision", [{"bf16": True}, {"fp16": True}, {"tf32": True}])
def test_a_run_in_the_precision_of_a_gpu_is_used_without_one(
    trained: RunFolder, precision: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (torch.cuda, torch.accelerator):
        monkeypatch.setattr(kind, "is_available", lambda: False)
    run = open_trained(str(trained.path), base_model=None)
    run = replace(run, cfg=replace(run.cfg, trainer=replace(run.cfg.trainer, **precision)))
    assert run.arguments(1).device.type == "cpu"


def test_ctrl_c_ends_a_chat_at_a_terminal(
    trained: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(prompt: str) -> str:
        raise Stopped(number)

    monkeypatch.setattr("builtins.input", stopped)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    cfg, number = TerminalConfig(adapter=str(trained.path)), signal.SIGINT
    chat(cfg)
    number = signal.SIGTERM
    with pytest.raises(Stopped):
        chat(cfg)
