"""The prompts of `mmlu/full` are lm_eval's, also for questions with unusual white space."""

from __future__ import annotations

from pathlib import Path

import pytest

from goft_cli.tasks.families import build_benchmark
from goft_cli.tasks.mmlu import MMLU
from tests.support.multiple_choice import STRANGE, Row, config, tiny_llama, write_rows

SUBJECT = "high_school_us_history"


def lm_eval_prompt(shown: list[Row], asked: Row) -> str:
    """Return what lm_eval 0.4.13 renders from tasks/mmlu/default and its first_n sampler."""
    text = (
        "The following are multiple choice questions (with answers) about high school us history."
        "\n\n"
    )
    for question, first, second, third, fourth, answer in [*shown, asked]:
        text += question.strip() + f"\nA. {first}\nB. {second}\nC. {third}\nD. {fourth}\nAnswer:"
        text += f" {answer}\n\n"
    return text.removesuffix(f" {asked[-1]}\n\n")


@pytest.fixture
def benchmark(tmp_path: Path) -> MMLU:
    """Return a benchmark of one subject, whose exemplars and questions are STRANGE."""
    write_rows(tmp_path / "dev" / f"{SUBJECT}_dev.csv", STRANGE)
    write_rows(tmp_path / "test" / f"{SUBJECT}_test.csv", STRANGE)
    found = build_benchmark(config("mmlu/full", data_dir=str(tmp_path)))
    assert isinstance(found, MMLU)
    return found


@pytest.mark.parametrize("limit", [10_000, 100])
@pytest.mark.parametrize("shots", [0, 1, 5])
def test_every_prompt_is_lm_evals(shots: int, limit: int, benchmark: MMLU) -> None:
    tokenizer = tiny_llama()[1]
    prompts = benchmark._prompts(benchmark.load(), shots, tokenizer, limit)[SUBJECT]
    assert len(prompts) == len(STRANGE)
    for prompt, asked in zip(prompts, STRANGE, strict=True):
        text = lm_eval_prompt(STRANGE[:shots], asked)
        # a prompt that is too long loses its beginning, also the tokenizer's first token
        assert prompt.ids.tolist() == tokenizer(text)["input_ids"][-limit:]


def test_legacy_strips_nothing(benchmark: MMLU) -> None:
    data_dir = benchmark.config.data_dir
    legacy = build_benchmark(config("mmlu/legacy", data_dir=data_dir, pandas_cells=False)).load()
    assert legacy.splits["test"]["question"] == [question for question, *_ in STRANGE[1:]]
