"""PEFT loads GOFT adapters after `import goft_cli`, whichever of the two is imported first."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import goft_cli
from tests.conftest import Goft

OPEN = """
import os, sys
import networkx  # of torch, which takes as long as all of peft
from transformers import AutoModelForSequenceClassification, BertForSequenceClassification

ORDERS = {orders}
for imports, before in ORDERS:
    pid = os.fork()  # what is imported here is imported there alone
    if pid:
        assert os.waitpid(pid, 0)[1] == 0, imports
        continue
    assert not {{"goft_cli", "peft"}} & {{*sys.modules}}
    exec(imports)
    base = AutoModelForSequenceClassification.from_pretrained(sys.argv[1] + "/model")
    model = eval(before + "PeftModel").from_pretrained(base, sys.argv[1] + "/run/adapter")
    assert any("goft_rotation" in name for name, _ in model.named_parameters())
    os._exit(0)
"""
ORDERS = [
    ("import goft_cli; from peft import PeftModel", ""),
    ("from peft import PeftModel; import goft_cli", ""),
    ("import goft_cli, peft", "peft."),
    ("import goft_cli, peft.utils; from peft import PeftModel", ""),
]
if find_spec("trl"):
    ORDERS.append(("import goft_cli, trl; from peft import PeftModel", ""))


@pytest.mark.slow
def test_each_order_of_imports(trained: Path, goft_process: Goft) -> None:
    answer = goft_process(str(trained.parent), code=OPEN.format(orders=ORDERS))
    assert answer.code == 0, answer.err


ALONE = """
import sys, warnings
sys.modules["torch"] = None  # all that needs it fails to be imported
import goft_cli
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    import peft
assert peft.one == 1
assert "goft_cli" not in [type(hook).__module__.partition(".")[0] for hook in sys.meta_path]
print(*[one.message for one in said])
"""


def test_where_the_method_cannot_be_registered_peft_is_imported_all_the_same(
    goft_process: Goft, tmp_path: Path
) -> None:
    (tmp_path / "peft.py").write_text("one = 1\n")  # stands for a version without what GOFT needs
    answer = goft_process(code=ALONE)
    assert (answer.code, answer.err) == (0, "")
    assert "PEFT does not know GOFT adapters" in answer.out


def test_public_names_are_listed_and_no_other_is_there() -> None:
    assert set(goft_cli.__all__) <= set(dir(goft_cli))
    assert "goft_cli.tuner" in sys.modules
    with pytest.raises(AttributeError, match="GoftKonfig"):
        _ = goft_cli.GoftKonfig  # pyright: ignore[reportAttributeAccessIssue]
