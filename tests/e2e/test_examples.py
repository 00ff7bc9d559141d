"""The scripts of docs/examples train GOFT; one is skipped if its package is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.conftest import ROOT, Goft

EXAMPLES = ROOT / "docs" / "examples"
TURNED = """
def turned(model):
    found = [one for name, one in model.named_parameters() if "goft_rotation" in name]
    return bool(found) and all(bool(one.abs().sum()) for one in found)
"""
CHECKS = {
    "trainer": """
assert turned(names["opened"]) is False  # merged, so that no rotation is left
from transformers import AutoModelForSequenceClassification
merged = AutoModelForSequenceClassification.from_pretrained(sys.argv[1] + "/merged").eval()
batch = names["tokenizer"]("The dog sleeps .", return_tensors="pt")
with torch.no_grad():
    trained = names["trainer"].model.cpu().eval()
    assert turned(trained)
    torch.testing.assert_close(merged(**batch).logits, trained(**batch).logits)
""",
    "trl_sft": """
trained, opened = names["trainer"].model.cpu().eval(), names["model"].eval()
assert turned(trained) and turned(opened)
with torch.no_grad():
    logits = [one(**names["asked"]).logits for one in (trained, opened)]
torch.testing.assert_close(*logits)
""",
    "sentence_transformer": """
assert turned(names["model"]) and turned(names["opened"])
found = [names[name].encode(["The dog sleeps ."]) for name in ("model", "opened")]
assert abs(found[0] - found[1]).max() < 1e-6
plain = names["SentenceTransformer"](names["name"]).encode(["The dog sleeps ."])
assert abs(found[0] - plain).max() > 1e-4
""",
}
PACKAGES = {"trl_sft": "trl", "sentence_transformer": "sentence_transformers"}


def test_each_example_has_a_check() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == CHECKS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_an_example_runs(name: str, goft_process: Goft) -> None:
    if name in PACKAGES and find_spec(PACKAGES[name]) is None:
        pytest.skip(f"{PACKAGES[name]} is not installed")
    program = (
        f"import runpy, sys, torch\nnames = runpy.run_path({str(EXAMPLES / name)!r} + '.py')\n"
    )
    answer = goft_process("results", code=program + TURNED + CHECKS[name])
    assert answer.code == 0, answer.err
