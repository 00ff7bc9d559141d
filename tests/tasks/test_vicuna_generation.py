"""Answers have the published prompts, random numbers by question, and files that resume."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

from goft_cli import GoftConfig
from goft_cli.config import ChatTemplate, Decoding, VicunaConfig
from goft_cli.data.sources import read_demo
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import asset_dir
from goft_cli.tasks.generation import SeededChoice, draw_uniforms, samplers
from goft_cli.tasks.vicuna import answers
from goft_cli.tasks.vicuna.answers import encode, generate_answers
from goft_cli.tasks.vicuna.questions import Question, Records, answer_text
from goft_cli.tuner.strength import set_strength
from tests.support.decoders import shipped_llama

ASKED = [
    Question(row["question_id"], row["category"], *row["turns"])
    for row in read_demo("demo:chat", "question")
]
CONFIG = VicunaConfig(name="made-up", max_new_tokens=12)
NO_TOKENS = torch.LongTensor([[0]])  # the earlier tokens, which sampling does not read

Llama = tuple[Any, Any]


@pytest.fixture(scope="module")
def llama() -> Llama:
    """Return tiny-llama and its tokenizer."""
    folder = asset_dir("tiny-llama")
    return AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(
        folder
    )


@pytest.fixture
def answer(llama: Llama, tmp_path: Path) -> Callable[..., dict[int, str]]:
    """Return a function that writes answers to the demo's questions; keywords replace fields."""

    def run(name: str, *, batch_size: int = 5, **changes: object) -> dict[int, str]:
        config = replace(CONFIG, **changes)
        records = Records(tmp_path / name)
        return generate_answers(
            *llama, ASKED, config, records, model_id="tested", batch_size=batch_size
        )

    return run


def test_the_prompt_is_what_llama_factory_trains_on(llama: Llama) -> None:
    _, tokenizer = llama
    ids = encode("Say hello.", ChatTemplate.alpaca, tokenizer)
    assert tokenizer.decode(ids) == (
        "<s>Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\nSay hello.\n\n### Response:\n"
    )


def test_the_prompt_is_what_fastchat_asks(llama: Llama) -> None:
    _, tokenizer = llama
    ids = encode("Say hello.", ChatTemplate.alpaca_fastchat, tokenizer)
    text = (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction: Say hello.\n\n### Response:"
    )
    assert ids == tokenizer(text).input_ids


logits = st.lists(
    st.floats(-20, 20, width=32) | st.just(float("-inf")), min_size=2, max_size=40
).filter(lambda values: max(values) > float("-inf"))


@given(logits, st.integers(2, 200))
def test_tokens_come_as_often_as_their_probability_says(values: list[float], rows: int) -> None:
    uniforms = (torch.arange(rows).float() + 0.5)[:, None] / rows
    scores = torch.tensor(values).repeat(rows, 1)
    chosen = SeededChoice(uniforms)(NO_TOKENS, scores)
    assert ((chosen == 0).sum(dim=1) == 1).all()
    counts = (chosen == 0).sum(dim=0)
    expected = rows * torch.tensor(values).softmax(dim=0)
    # evenly spread numbers hit an interval of length p between rows * p - 1 and rows * p + 1 times
    assert ((counts - expected).abs() <= 1 + 1e-3).all()
    assert not counts[torch.tensor(values) == float("-inf")].any()


@given(st.sampled_from([0.0, 1 - 2**-24]), st.integers(2, 2000))
def test_the_extremes_of_the_numbers_choose_a_possible_token(number: float, size: int) -> None:
    scores = torch.full((1, size), float("-inf"))
    scores[0, : size // 2 + 1] = torch.linspace(-3, 3, size // 2 + 1)
    chosen = SeededChoice(torch.tensor([[number]]))(NO_TOKENS, scores)
    assert scores[chosen == 0].isfinite().all()
    assert (chosen == 0).sum() == 1


def test_every_token_takes_a_number_of_its_own() -> None:
    choice = SeededChoice(torch.tensor([[0.1, 0.9]]))
    picks = [choice(NO_TOKENS, torch.zeros(1, 2)).argmax().item() for _ in range(2)]
    assert picks == [0, 1]


def test_each_row_has_numbers_of_its_own_seed() -> None:
    together = draw_uniforms([3, 4, 3], 6)
    torch.testing.assert_close(together[1:2], draw_uniforms([4], 6), rtol=0, atol=0)
    torch.testing.assert_close(together[0], together[2], rtol=0, atol=0)
    assert not torch.equal(together[0], together[1])
    assert ((together >= 0) & (together < 1)).all()


@pytest.mark.parametrize("filters", [{"top_k": 1}, {"top_k": 0, "top_p": 1e-6}])
def test_the_models_own_filters_hold(filters: dict[str, float]) -> None:
    scores = torch.tensor([[0.0, 0.3, 0.1], [2.0, 0.0, 1.9]])
    uniforms = torch.tensor([[0.999], [0.999]])
    processors = samplers(GenerationConfig(**filters), Decoding(temperature=0.7), uniforms)
    chosen = processors(NO_TOKENS, scores)
    assert chosen.argmax(dim=1).tolist() == [1, 0]


def test_the_filter_that_transformers_sets_unasked_is_there() -> None:
    scores = torch.arange(60.0)[None] / 60
    decoding = Decoding(temperature=0.7)
    lowest = samplers(GenerationConfig(), decoding, torch.tensor([[0.0]]))
    chosen = lowest(NO_TOKENS, scores)
    assert chosen.argmax() == 60 - 50


def test_without_temperature_it_is_plain_greedy_decoding(
    answer: Callable[..., dict[int, str]], llama: Llama
) -> None:
    model, tokenizer = llama
    found = answer("a.jsonl")
    for question in ASKED:
        if question.category in {"math", "coding"}:
            ids = torch.tensor([encode(question.text, CONFIG.chat_template, tokenizer)])
            mask = torch.ones_like(ids)
            output = model.generate(ids, attention_mask=mask, do_sample=False, max_new_tokens=12)
            text = tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)
            assert found[question.question_id] == text.strip()


@pytest.mark.parametrize("batch_size", [1, 12])
def test_the_batch_size_does_not_matter(
    batch_size: int, answer: Callable[..., dict[int, str]]
) -> None:
    assert answer("one.jsonl", batch_size=batch_size) == answer("two.jsonl", batch_size=5)


def test_the_seed_matters_where_there_is_a_temperature(
    answer: Callable[..., dict[int, str]],
) -> None:
    one, other = answer("one.jsonl"), answer("other.jsonl", seed=1)
    same = {
        question.category
        for question in ASKED
        if one[question.question_id] == other[question.question_id]
    }
    assert {"math", "coding"} <= same
    assert len(same) < len({question.category for question in ASKED})


def test_the_file_is_fastchats(answer: Callable[..., dict[int, str]], tmp_path: Path) -> None:
    found = answer("answers.jsonl")
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["question_id"]: answer_text(row) for row in rows} == found
    assert {row["model_id"] for row in rows} == {"tested"}
    assert len({row["answer_id"] for row in rows}) == len(ASKED)


def test_answers_at_another_strength_are_not_taken(tmp_path: Path) -> None:
    model, tokenizer = shipped_llama()
    adapted: Any = get_peft_model(model, GoftConfig(target_modules=["q_proj"], init_weights=False))
    records = Records(tmp_path / "answers.jsonl")
    for strength, count in ((1.0, 1), (0.5, 2), (1.0, 2)):
        set_strength(adapted, strength)
        options = {"model_id": "tested", "batch_size": 5}
        generate_answers(adapted.eval(), tokenizer, ASKED[:1], CONFIG, records, **options)
        assert len(list(records.read())) == count


def test_an_interrupted_run_ends_with_the_same_bytes(
    answer: Callable[..., dict[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = answer("whole.jsonl")
    done = answers.generate
    calls = []

    def interrupted(*arguments: Any) -> dict[str, str]:  # noqa: ANN401
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return done(*arguments)

    monkeypatch.setattr(answers, "generate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        answer("parts.jsonl")
    path = tmp_path / "parts.jsonl"
    content = path.read_bytes()
    path.write_bytes(content[:-10])  # killed while writing
    assert answer("parts.jsonl") == whole
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert len(calls) == 3 + 2  # the batch whose last line was cut, and the interrupted one


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"chat_template": ChatTemplate.alpaca_fastchat},
        {"max_new_tokens": 13},
        {"top_p": 0.5},
        {"stop": ["\n"]},
    ],
    ids=str,
)
def test_other_settings_reuse_no_answer(
    changes: dict[str, object], answer: Callable[..., dict[int, str]], tmp_path: Path
) -> None:
    answer("answers.jsonl")
    answer("answers.jsonl", **changes)
    assert (tmp_path / "answers.jsonl").read_text(encoding="utf-8").count("\n") == 2 * len(ASKED)


def test_other_weights_reuse_no_answer(
    answer: Callable[..., dict[int, str]], llama: Llama, tmp_path: Path
) -> None:
    answer("answers.jsonl")
    weight = llama[0].model.norm.weight
    with torch.no_grad():
        weight.mul_(1.5)
        answer("answers.jsonl")
        weight.div_(1.5)
    assert (tmp_path / "answers.jsonl").read_text(encoding="utf-8").count("\n") == 2 * len(ASKED)


@pytest.mark.parametrize("method", ["goft", "qgoft"])
def test_an_adapter_answers_and_is_another_model(
    method: Literal["goft", "qgoft"], llama: Llama, tmp_path: Path
) -> None:
    model, tokenizer = llama
    config = GoftConfig(method=method, target_modules=["q_proj"], task_type="CAUSAL_LM")
    adapted = get_peft_model(deepcopy(model), config).eval()  # untrained, it changes nothing
    records = Records(tmp_path / "answers.jsonl")
    plain, turned = (
        generate_answers(one, tokenizer, ASKED, CONFIG, records, model_id="tested", batch_size=12)
        for one in (model, cast("PreTrainedModel", adapted))
    )
    assert plain == turned
    assert len(records.read()) == 2 * len(ASKED)


def test_a_prompt_that_leaves_no_room_is_refused(answer: Callable[..., dict[int, str]]) -> None:
    with pytest.raises(GoftError, match=r"256 .*=1024.*tokens=1\d\d"):
        answer("answers.jsonl", max_new_tokens=1024)
