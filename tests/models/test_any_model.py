"""`model=auto` configures a model from its folder; the documented table of families is right."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import torch._dynamo
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import load_file
from transformers import AlbertConfig, AlbertForMaskedLM, BertForSequenceClassification

from goft_cli.compose.own_model import own_model
from goft_cli.compose.recomposition import model_words
from goft_cli.config import Dtype
from goft_cli.config.model import real_name
from goft_cli.data.model_files import FETCHED
from goft_cli.models.backbone import load_backbone
from goft_cli.run import pipeline
from goft_cli.system.errors import GoftError
from tests.conftest import ROOT
from tests.support import small_runs
from tests.support.model_table import NO_HEAD, TASKS, WORKS, layers, outcome
from tests.support.small_families import FAMILIES, write_family
from tests.support.small_runs import Head, composed

TABLE = (ROOT / "docs/model-families.md").read_text(encoding="utf-8")
ROWS = {
    cells[0]: cells[1:]
    for line in TABLE.splitlines()
    if line.startswith("| ") and (cells := line.strip("| ").split(" | "))[0] in FAMILIES
}
REFUSALS = dict(line.split(". ", 1) for line in TABLE.splitlines() if line[:1].isdigit())
CELLS = [(family, kind) for family in FAMILIES for kind in TASKS]
QUICK = [("GPT-2", "text classification"), ("SigLIP vision tower", "image classification")]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_runs.write_model(tmp_path_factory.mktemp("any") / "my-bert")


def stated(family: str, kind: str) -> str:
    """Return the outcome that the table states for a family and a kind of task."""
    said = ROWS[family][2 + [*TASKS].index(kind)]
    return REFUSALS.get(said, said)


def follow(family: str, kind: str, folder: Path) -> None:
    """Check one cell of the table against the result."""
    assert outcome(family, TASKS[kind], folder) == stated(family, kind)


def test_the_table_has_each_family_and_kind_of_task() -> None:
    assert ROWS.keys() == FAMILIES.keys()
    assert all(len(cells) == 2 + len(TASKS) for cells in ROWS.values())
    assert {WORKS, NO_HEAD} < {stated(family, kind) for family, kind in CELLS}


@pytest.mark.parametrize(("family", "kind"), QUICK)
def test_a_cell_of_the_table(family: str, kind: str, tmp_path: Path) -> None:
    follow(family, kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), [cell for cell in CELLS if cell not in QUICK])
def test_each_other_cell_of_the_table(family: str, kind: str, tmp_path: Path) -> None:
    follow(family, kind, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_the_table_names_the_layers(family: str, tmp_path: Path) -> None:
    kinds = [kind for kind in TASKS if stated(family, kind) == WORKS]
    found = layers(family, TASKS[kinds[0]], tmp_path / "model") if kinds else []
    assert ", ".join(f"`{name}`" for name in found) == ROWS[family][1].strip()


def test_what_the_folder_says_is_composed(bert: Path, tmp_path: Path) -> None:
    known = composed(["model=auto", f"model.path={bert}"])
    family = composed(["model=bert-base"]).model
    assert known.output_dir == "outputs/demo/acceptability/my-bert/goft/test"
    assert (known.model.architecture, known.model.dtype) == ("bert", Dtype.float32)
    assert known.model.target_modules == family.target_modules
    assert known.model.head_modules == family.head_modules
    assert real_name(known.model) == "my-bert"
    assert model_words(known.model) == ["model=auto", f"model.path={bert}"]
    other = write_family("Phi-3", tmp_path / "my phi")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "dtype": "bfloat16"}))
    found = composed(["model=auto", f"model.path='{other}'"]).model
    assert composed(model_words(found)).model == found
    assert (found.name, found.architecture) == ("my_phi", "phi3")
    assert (found.target_modules, found.head_modules) == ("all-linear", None)
    assert found.dtype is Dtype.bfloat16


def settings(**given: str | None) -> DictConfig:
    """Return the section of the model that the resolver `own_model` gets."""
    return OmegaConf.create({"path": "???", "revision": None, **given})


def test_a_name_is_that_of_the_folder(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bert)
    for path in (
        ".",
        "../my-bert/",
        str(bert),
        "someone/my-bert",
        "/h/models--me--my-bert/snapshots/8",
    ):
        assert own_model("name", _parent_=settings(path=path)) == "my-bert"
    fetched = shutil.copytree(bert, tmp_path / "model")
    (fetched / FETCHED).write_text('{"source": "someone/theirs", "revision": null}')
    assert own_model("name", _parent_=settings(path=str(fetched))) == "theirs"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"model=auto: no model is named; add model.path=DIR"),
        ("{}", r"has no key model_type"),
        ("{", r"is no JSON object"),
        ("[]", r"is no JSON object"),
    ],
)
def test_a_folder_that_does_not_say_what_it_is(
    content: str | None, sentence: str, tmp_path: Path
) -> None:
    words = ["model=auto"]
    if content is not None:
        (tmp_path / "config.json").write_text(content)
        words.append(f"model.path={tmp_path}")
    with pytest.raises(GoftError, match=sentence):
        composed(words)


def test_weights_in_another_format_alone_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model-Q4_K_M.gguf").write_bytes(b"GGUF")
    with pytest.raises(GoftError, match=r"found model-Q4_K_M\.gguf but no config\.json"):
        composed(["model=auto", f"model.path={tmp_path}"])


def test_a_pooler_that_was_not_published_is_trained_if_it_is_named(tmp_path: Path) -> None:
    """Check it for a family without a YAML here; the error names the key to pass."""
    folder = write_family("ELECTRA", tmp_path / "albert")
    AlbertForMaskedLM(AlbertConfig(**FAMILIES["ELECTRA"].sizes)).save_pretrained(folder)
    words = ["model=auto", f"model.path={folder}"]
    with pytest.raises(GoftError, match=r"pass model.head_modules=\[classifier,pooler\]"):
        load_backbone(composed(words).model, Head())
    assert load_backbone(composed([*words, "model.head_modules=[classifier,pooler]"]).model, Head())


def test_a_text_without_its_end_is_refused_where_the_model_looks_for_it(
    bert: Path, tmp_path: Path
) -> None:
    folder = write_family("T5", tmp_path / "t5")
    shutil.copy(bert / "tokenizer.json", folder)
    with pytest.raises(GoftError, match="T5ForSequenceClassification needs an end token"):
        load_backbone(composed(["model=auto", f"model.path={folder}"]).model, Head())


def test_attention_is_computed_as_asked(bert: Path) -> None:
    words = ["model=auto", f"model.path={bert}"]
    ids = {"input_ids": torch.arange(5, 11)[None]}
    found = {}
    for way in ("eager", "sdpa"):
        cfg = composed([*words, f"model.attn_implementation={way}"]).model
        model = load_backbone(cfg, Head()).model.eval()
        assert model.config._attn_implementation == way
        assert isinstance(model, BertForSequenceClassification)
        with torch.no_grad():
            found[way] = model(**ids).logits
    torch.testing.assert_close(found["eager"], found["sdpa"])
    with pytest.raises(GoftError, match=r"model.attn_implementation=egaer: .*eager"):
        load_backbone(composed([*words, "model.attn_implementation=egaer"]).model, Head())


def test_an_adapter_beside_the_model_is_refused(bert: Path, tmp_path: Path) -> None:
    """Transformers would load it, and the new adapter would train on top of it."""
    folder = shutil.copytree(bert, tmp_path / "both")
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(GoftError, match=r"both: found an adapter beside the model .*; pass"):
        load_backbone(composed(["model=auto", f"model.path={folder}"]).model, Head())


@pytest.mark.parametrize(
    ("stored", "words", "remedy"),
    [
        ({"load_in_4bit": True}, [], r"\(4bit\); pass model.quantization=4bit"),
        ({"load_in_4bit": True}, ["model.quantization=8bit"], "pass model.quantization=4bit"),
        ({"quant_method": "gptq", "bits": 4}, [], r"\(gptq\); pass a folder whose"),
    ],
)
def test_weights_stored_quantized_need_the_same_setting(
    stored: dict[str, object], words: list[str], remedy: str, bert: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(bert, tmp_path / "stored")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": stored}))
    cfg = composed(["model=auto", f"model.path={folder}", *words])
    with pytest.raises(GoftError, match=f"its weights are stored quantized .*{remedy}"):
        load_backbone(cfg.model, Head())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.feature("compiled")
@pytest.mark.parametrize("adapter", ["goft", "qgoft"])
def test_a_compiled_run_agrees_with_itself(
    adapter: str, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run Dynamo's graphs without Inductor, whose compilation takes a minute."""
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, *args: object, **options: object) -> object:
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", keep)
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "no")  # Trainer sets it and does not reset it
    monkeypatch.setenv("ACCELERATE_DYNAMO_MODE", "default")
    data = small_runs.write_data(tmp_path / "data")
    words = small_runs.overrides(bert, data, tmp_path / "run", "trainer.max_steps=1")
    more = [f"adapter={adapter}", "trainer.torch_compile=true"]
    run = pipeline.run(composed([*words, *more]))
    torch._dynamo.reset()
    assert graphs
    names = load_file(run / "adapter" / "adapter_model.safetensors")
    assert not [name for name in names if "_orig_mod" in name]
