"""Values of `retain=` are read or refused, and eval, report and plan use them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from goft_cli.compose.references import retain_spec
from goft_cli.config import EvalConfig, TaskConfig
from goft_cli.config.retain import RetainSpec
from goft_cli.run.record import RunRecord
from goft_cli.run.retained import find, valid
from goft_cli.system.errors import GoftError
from goft_cli.verbs.eval import evaluate
from tests.conftest import Goft
from tests.support.small_runs import copied

FORMS = [
    ("cka", "[cka]"),
    (["cka", {"probe": "glue/sst2"}], "[cka,{probe: glue/sst2}]"),
    ({"text": "a.txt", "sts": "b.csv"}, "[{text: a.txt},{sts: b.csv}]"),
    (["mmlu", "mmlu"], "[mmlu]"),
]
WRONG = [
    ("txt", r"retain=txt: there is no such measure; did you mean text\?"),
    ({"prob": "x"}, r"did you mean probe\?"),
    ("sts", r"nothing to measure it on; pass 'retain=\{sts: FILE\}'"),
    ({"cka": "x"}, "expected a measure"),
    ([], "expected a measure"),
    (3, "expected a measure"),
    ("mmul", r"there is no mmul; did you mean mmlu\?"),
    ("glue/sst2", r"not a benchmark; pass retain='\{probe: glue/sst2\}'"),
    ({"probe": "glue/sts2"}, r"did you mean glue/sst2\?"),
    ({"text": "nonesuch.txt"}, "nonesuch.txt is no file"),
    ("vicuna", "rated by a judge"),
]


@pytest.mark.parametrize(("value", "spelled"), FORMS)
def test_a_value_is_read(value: object, spelled: str) -> None:
    assert str(RetainSpec.parse(value)) == spelled


@pytest.mark.parametrize(("value", "said"), WRONG)
def test_a_wrong_value_is_refused_with_the_right_one(value: object, said: str) -> None:
    with pytest.raises(GoftError, match=said):
        retain_spec(value, TaskConfig(name="demo/acceptability", family="text_classification"))


@pytest.mark.parametrize(
    ("family", "name", "spelled"),
    [
        ("instruction", "own/x", "[text]"),
        ("chat", "own/x", "[text]"),
        ("question_answering", "demo/qa", "[cka,{probe: demo/topics}]"),
        ("text_classification", "demo/topics", "[cka,{probe: demo/acceptability}]"),
        ("image_classification", "own/x", "[cka,{probe: demo/digits}]"),
        ("image_classification", "demo/digits", "[cka]"),
    ],
)
def test_auto_takes_what_is_at_hand(family: str, name: str, spelled: str) -> None:
    task = TaskConfig(name=name, family=family)
    assert str(RetainSpec.parse("auto").settled(task)) == spelled


def test_a_benchmark_has_no_retention_beside_it() -> None:
    with pytest.raises(GoftError, match="expected a run on its own task"):
        EvalConfig(adapter="x", retain="auto", task=TaskConfig(name="mmlu/full", family="mmlu"))


@pytest.mark.slow
def test_what_was_measured_is_kept_until_the_adapter_changes(
    trained: Path, tmp_path: Path, goft: Goft
) -> None:
    ground = copied(trained, tmp_path / "copy")
    folder, record = ground.run, RunRecord(ground.run)
    evaluate(EvalConfig(adapter=str(folder.path), retain="cka"))
    (kept,) = valid(record)
    assert json.loads((folder.path / "eval.json").read_text())["retained"]["measures"] == {
        **kept.measures
    }
    spec = retain_spec("cka", record.cfg.task)
    assert find(record, spec, 1.0) == kept
    assert find(record, spec, 0.5) is None
    assert goft("report", f"runs={folder.path}", "retain=cka").code == 0  # report measures nothing
    page = (folder.path / "report" / "report.html").read_text(encoding="utf-8")
    assert "What the base model still does" in page
    assert f"{kept.forgotten:.4f}" in page
    weights = folder.adapter / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert valid(record) == []


@pytest.mark.slow
def test_the_plan_states_the_cost(goft: Goft) -> None:
    answer = goft("plan", "retain=auto")
    assert answer.code == 0, answer.err
    said = " ".join(answer.out.split())
    # 500 and 280 rows per measurement, and 35 to fit the probe; an evaluation has 1,000 rows
    assert "815 forward passes of the base model once, 780 for each measurement" in said
    assert "0.81 and 0.78 evaluations of the run" in said
