"""Check MMLU's two protocols, the averages, and that a cached prefix changes no answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from goft_cli.config import ExemplarOrder, MMLUConfig, Overflow
from goft_cli.system.errors import GoftError
from goft_cli.tasks import mmlu as module
from goft_cli.tasks.benchmark import Scores
from goft_cli.tasks.families import build_benchmark, build_task
from goft_cli.tasks.mmlu.next_token import averages
from goft_cli.training.evaluation import tolerance
from tests.support.multiple_choice import SUBJECTS, config, tiny_llama, write_folder

QUESTIONS = sum(SUBJECTS.values())
# The categories, which are columns of Table 2, with the number of subjects of each.
CATEGORIES = {"stem": 18, "social_sciences": 12, "humanities": 13, "other": 14}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a folder of three subjects; some five-shot prompts exceed the model's 256 tokens."""
    return str(write_folder(tmp_path_factory.mktemp("mmlu")))


def scored(task: MMLUConfig, batch_size: int = 4) -> Scores:
    model, tokenizer = tiny_llama()
    benchmark = build_benchmark(task)
    return benchmark.evaluate(model, tokenizer, benchmark.load(), Path(), batch_size)


@pytest.mark.parametrize("name", ["mmlu/full", "mmlu/legacy"])
def test_57_subjects_in_four_categories(name: str) -> None:
    found = config(name).categories
    assert {category: len(subjects) for category, subjects in found.items()} == CATEGORIES
    subjects = [subject for listed in found.values() for subject in listed]
    assert len(set(subjects)) == len(subjects) == 57
    assert "anatomy" in found["other"]


def test_what_full_is() -> None:
    full = config("mmlu/full")
    assert full.benchmark_sizes == {"dev": 285, "test": 14042}
    assert (full.shots, full.headline) == ([0, 5], "average_5_shot")
    assert full.exemplar_order is ExemplarOrder.file
    assert (full.dataset.id, full.dataset.config) == ("cais/mmlu", "all")
    assert not full.drop_first_rows
    assert not full.pandas_cells
    assert full.strip_questions
    assert full.overflow is Overflow.cut_left


def test_what_legacy_is_and_that_each_subject_loses_a_row() -> None:
    full, legacy = config("mmlu/full"), config("mmlu/legacy")
    subjects = sum(map(len, legacy.categories.values()))
    lost = {split: size - subjects for split, size in full.benchmark_sizes.items()}
    assert legacy.benchmark_sizes == lost == {"dev": 228, "test": 13985}
    assert legacy.exemplar_order is ExemplarOrder.shuffled
    assert (legacy.shuffle_seed, legacy.shots) == (42, full.shots)
    assert legacy.drop_first_rows
    assert legacy.pandas_cells
    assert not legacy.strip_questions
    assert legacy.overflow is Overflow.drop_exemplars


@pytest.mark.parametrize("shots", [[], [-1], [5, 5]])
def test_impossible_numbers_of_exemplars(shots: list[int]) -> None:
    with pytest.raises(GoftError, match=r"task\.shots="):
        config("mmlu/full", shots=shots)


def test_it_is_not_to_train_on() -> None:
    with pytest.raises(GoftError, match=r"goft eval"):
        build_task(config("mmlu/full"))


@pytest.mark.parametrize("name", ["mmlu/full", "mmlu/legacy", "demo/choices"])
def test_the_fast_way_gives_every_answer_of_the_slow_one(name: str, folder: str) -> None:
    data_dir = None if name == "demo/choices" else folder
    fast = scored(config(name, data_dir=data_dir))
    slow = scored(config(name, data_dir=data_dir, cache_prefix=False))
    assert fast.metrics == slow.metrics
    assert len(fast.predictions) == len(slow.predictions) > 0
    # a probability changes by at most half of the change of its logits
    allowed = tolerance(torch.float32, layers=14)
    for one, other in zip(fast.predictions, slow.predictions, strict=True):
        assert one["prediction"] == other["prediction"]
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=allowed)


def test_what_comes_out(folder: str) -> None:
    task = config("mmlu/full", data_dir=folder, shots=[0, 1, 5])
    found = scored(task)
    names = ["average", "stem", "social_sciences", "other"]
    assert list(found.metrics) == [f"{name}_{shots}_shot" for shots in (0, 1, 5) for name in names]
    assert task.headline in found.metrics
    assert list(found.breakdown["1_shot"]) == [*names, *SUBJECTS]
    asked = [one for one in found.predictions if one["shots"] == 5]
    assert len(asked) == QUESTIONS
    right = [one["answer"] == one["prediction"] for one in asked]
    assert found.metrics["average_5_shot"] == sum(right) / QUESTIONS
    assert {one["exemplars"] for one in asked} == {5}
    cut = {(one["shots"], one["shortened"]) for one in found.predictions}
    assert cut >= {(0, False), (5, True)}
    assert all(sum(one["probabilities"]) == pytest.approx(1) for one in asked)


def test_shortened_prompts_are_counted(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    task = config("mmlu/full", data_dir=folder, shots=[5], overflow=Overflow.drop_exemplars)
    asked = scored(task).predictions
    assert {one["exemplars"] for one in asked} < set(range(6)), "long prompts gave some up"
    short = sum(one["shortened"] for one in asked)
    assert f"{short} of {QUESTIONS} prompts" in caplog.text
    caplog.clear()
    scored(replace(task, shots=[0]))
    assert not caplog.text


def test_more_exemplars_than_there_are_is_refused(folder: str) -> None:
    build_benchmark(config("mmlu/full", data_dir=folder, shots=[5])).load()
    with pytest.raises(GoftError, match=r"dev .*5 .*6 .*abstract_algebra.*shots=5"):
        build_benchmark(config("mmlu/full", data_dir=folder, shots=[0, 6])).load()
    # the reference implementation takes the four that its loader leaves
    build_benchmark(config("mmlu/legacy", data_dir=folder, shots=[5])).load()


def test_legacy_exemplars_are_shuffled_for_each_question(
    folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = tiny_llama()[1]
    benchmark = module.MMLU(config("mmlu/legacy", data_dir=folder))
    data = benchmark.load()
    prompts = benchmark._prompts(data, 5, tokenizer, limit=10_000)
    orders = [prompt.exemplars for asked in prompts.values() for prompt in asked]
    assert len(orders) == QUESTIONS - len(SUBJECTS)
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2, 3)}
    assert len(set(orders)) > 5
    again = benchmark._prompts(data, 5, tokenizer, limit=10_000)
    assert orders == [prompt.exemplars for asked in again.values() for prompt in asked]


def test_every_question_counts_alike() -> None:
    right, wrong = {"answer": "A", "prediction": "A"}, {"answer": "A", "prediction": "B"}
    answers = {"large": [right] * 3, "small": [wrong], "alone": [wrong, right]}
    categories = {"both": ["large", "small"], "absent": ["elsewhere"]}
    assert averages(answers, categories) == {"average": 4 / 6, "both": 3 / 4}


def test_the_headline_follows_the_numbers_of_exemplars() -> None:
    assert replace(config("mmlu/full"), shots=[2]).headline == "average_2_shot"
