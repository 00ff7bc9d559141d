"""Run folders whose files are missing, damaged or of another run or model are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from goft_cli.run import pipeline
from goft_cli.run.trained import open_trained
from tests.support import small_runs
from tests.support.refusals import (
    Change,
    a_file,
    absent,
    cut,
    dangle,
    described,
    emptied,
    refusal,
    remove,
    substitute,
    write,
)

WEIGHTS, SETTINGS = "adapter/adapter_model.safetensors", "adapter/adapter_config.json"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of one finished run and its base model; tests only read it."""
    root = tmp_path_factory.mktemp("runs")
    model, data = (
        small_runs.write_model(root / "model"),
        small_runs.write_data(root / "data", rows=8),
    )
    pipeline.run(
        small_runs.composed(small_runs.overrides(model, data, root / "run", "trainer.max_steps=1"))
    )
    return root


def untrained(folder: Path) -> None:
    absent(folder / "adapter")
    for name in ("metrics.json", "manifest.json"):
        (folder / name).unlink()


def configuration_alone(folder: Path) -> None:
    content = (folder / "config.yaml").read_bytes()
    emptied(folder)
    (folder / "config.yaml").write_bytes(content)


def set_setting(**entries: object) -> Change:
    """Change entries of the adapter's configuration."""

    def change(folder: Path) -> None:
        settings = json.loads((folder / SETTINGS).read_text())
        (folder / SETTINGS).write_text(json.dumps({**settings, **entries}))

    return change


def misshapen(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    short = {key: value[:-1] if "goft" in key else value for key, value in tensors.items()}
    save_file({key: value.contiguous() for key, value in short.items()}, folder / WEIGHTS)


def half_of_it(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    half = list(tensors)[::2]
    save_file({key: tensors[key] for key in half}, folder / WEIGHTS)


def not_a_number(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(
        {key: torch.full_like(value, torch.nan) for key, value in tensors.items()}, folder / WEIGHTS
    )


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "adapter" / "adapter_model.bin")
    (folder / WEIGHTS).unlink()


def pickled_as_safetensors(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / WEIGHTS)


CASES: dict[str, tuple[Change, str]] = {
    "absent": (absent, "there is no such folder"),
    "a file": (a_file, "holds no run of goft train"),
    "empty": (emptied, "holds no run of goft train"),
    "unfinished": (remove("metrics.json"), "the run is not finished"),
    "killed before it trained": (untrained, "ended before its training began"),
    "a configuration alone": (configuration_alone, "holds no run of goft train"),
    "configuration absent": (remove("config.yaml"), "holds no run of goft train"),
    "configuration a dangling link": (dangle("config.yaml"), "holds no run of goft train"),
    "configuration empty": (write("config.yaml", ""), "found no configuration"),
    "configuration a list": (write("config.yaml", "- 1"), "found no configuration"),
    "configuration broken": (write("config.yaml", "a: [1"), "not readable as YAML"),
    "configuration not utf-8": (write("config.yaml", b"a: \xff"), "not readable as YAML"),
    "configuration of objects": (
        write("config.yaml", "!!python/object/apply:os.system ['touch burgled']"),
        "not readable as YAML",
    ),
    "configuration of something else": (write("config.yaml", "a: 1"), "not a configuration of"),
    "configuration without a section": (
        substitute("config.yaml", r"(?m)^adapter:", "adaptor:"),
        "adaptor",
    ),
    "a key of another version": (
        substitute("config.yaml", "  weight_decay:", "  weight_dacay:"),
        "trainer.weight_dacay",
    ),
    "a value of the wrong type": (
        substitute("config.yaml", r"logging_steps: \d+", "logging_steps: often"),
        "not a configuration of goft train",
    ),
    "a value out of range": (
        substitute("config.yaml", r"logging_steps: \d+", "logging_steps: 0"),
        "trainer.logging_steps=0 is out of range",
    ),
    "a name that climbs": (
        substitute("config.yaml", r"run_name: \w+", "run_name: ../../elsewhere"),
        "run_name='../../elsewhere' leads out of its folder",
    ),
    "manifest absent": (
        remove("manifest.json"),
        "manifest.json: no such file; copy it again",
    ),
    "manifest broken": (cut("manifest.json"), "not readable as JSON"),
    "manifest a list": (write("manifest.json", "[]"), "manifest.json"),
    "manifest without the model": (write("manifest.json", "{}"), "manifest.json"),
    "another base model": (
        substitute("manifest.json", r'"fingerprint": "\w{4}', '"fingerprint": "0000'),
        "was trained on other weights than",
    ),
    "weights absent": (remove(WEIGHTS), "incomplete, no adapter_model.safetensors"),
    "weights empty": (write(WEIGHTS, b""), "damaged"),
    "weights cut": (cut(WEIGHTS), "damaged"),
    "weights of noise": (write(WEIGHTS, b"\xff" * 64), "damaged"),
    "weights of nothing": (write(WEIGHTS, b"\x02\0\0\0\0\0\0\0{}"), "goft_rotation"),
    "weights a dangling link": (dangle(WEIGHTS), "incomplete, no adapter_model.safetensors"),
    "weights misshapen": (misshapen, "goft_rotation"),
    "weights half there": (half_of_it, "lacks tensors"),
    "weights not a number": (not_a_number, "not finite"),
    "weights pickled": (pickled, "incomplete, no adapter_model.safetensors"),
    "weights pickled under another name": (pickled_as_safetensors, "damaged"),
    "settings absent": (remove(SETTINGS), "incomplete, no adapter_config.json"),
    "settings empty": (write(SETTINGS, ""), "adapter_config.json"),
    "settings broken": (cut(SETTINGS), "adapter_config.json"),
    "settings a list": (write(SETTINGS, "[]"), "adapter_config.json"),
    "settings empty object": (write(SETTINGS, "{}"), "adapter_config.json"),
    "method unknown": (set_setting(peft_type="NONESUCH"), "NONESUCH"),
    "method a number": (set_setting(peft_type=3), "adapter_config.json"),
    "method another's": (set_setting(peft_type="LORA"), 'peft_type="LORA"'),
    "method of ours misspelt": (set_setting(method="goftt"), "goftt"),
    "targets nothing": (set_setting(target_modules=["nonesuch"]), 'target_modules=["nonesuch"]'),
    "targets a number": (set_setting(target_modules=7), "adapter_config.json"),
    "penalty a word": (set_setting(penalty_weight="much"), "penalty_weight"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_bad_run_folder_is_refused(
    case: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    change, said = CASES[case]
    folder = tmp_path / "run"
    shutil.copytree(root / "run", folder, ignore=shutil.ignore_patterns("checkpoints"))
    change(folder)
    sentence = refusal(lambda: open_trained(str(folder), base_model=None), tmp_path)
    assert said in sentence


SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]


@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(data=st.data())
def test_whatever_an_adapter_holds_it_loads_or_is_refused(
    data: st.DataObject, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("fuzzed") / "run"
    shutil.copytree(root / "run", folder, ignore=shutil.ignore_patterns("checkpoints"))
    path = folder / data.draw(st.sampled_from([WEIGHTS, SETTINGS]))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content) - 1))
    new = data.draw(st.binary(max_size=8))
    content[start : start + data.draw(st.integers(0, 8))] = new
    path.write_bytes(content)
    try:
        open_trained(str(folder), base_model=None)
    except Exception as error:
        described(error)
