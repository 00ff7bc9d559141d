"""Each check of `goft doctor` finds its problem, and every failure has a remedy."""

from __future__ import annotations

import json
import shlex
import shutil
import socket
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from goft_cli.config import TrackerConfig, TrackerName, TrainConfig
from goft_cli.rotation import compiled, engines
from goft_cli.run.preflight import check_inputs
from goft_cli.system import hub
from goft_cli.system.errors import GoftError
from goft_cli.system.tables import Finding, Verdict, is_healthy
from goft_cli.verbs.doctor import inputs, machine
from tests.conftest import Goft
from tests.support import small_runs
from tests.support.recipe_cells import own_data


def fails_with(finding: Finding, *words: str) -> None:
    assert finding.verdict is Verdict.fail
    assert finding.remedy
    assert not is_healthy([finding])
    for word in words:
        assert word in f"{finding.found}; {finding.remedy}"


@cache
def configured(*words: str) -> TrainConfig:
    return small_runs.composed(["trainer.use_cpu=true", *words])


def test_a_sound_machine_and_run_have_no_failure(
    goft: Goft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "cache" / "goft-cli" / "tokens" / "key.digest.arrow"
    file.parent.mkdir(parents=True)
    file.touch()
    model, data = (
        small_runs.write_model(tmp_path / "model"),
        small_runs.write_data(tmp_path / "data"),
    )
    words = small_runs.overrides(model, data, tmp_path / "run")
    answer = goft("doctor", "--offline", "clear=tokens", *words)
    assert answer.code == 0, answer.out
    assert "model and 72 rows loaded with the network cut" in " ".join(answer.out.split())
    assert not file.exists()
    assert answer.out.rstrip().endswith("nothing would stop this run")


def test_the_adapter_is_put_on_the_model(tmp_path: Path) -> None:
    words = ("model=minilm-l6", f"model.path={small_runs.write_model(tmp_path / 'model')}")
    (sound,) = inputs.examine_adapter(configured(*words))
    assert (sound.verdict, sound.found) == (Verdict.ok, "212 parameters on 12 layers")
    (finding,) = inputs.examine_adapter(configured(*words, "model.target_modules=[query,qkv]"))
    fails_with(finding, "no layer to adapt is called qkv", "attention.self.query")
    assert inputs.examine_adapter(configured("model=minilm-l6")) == []  # the model is on the hub
    (tmp_path / "model" / "adapter_config.json").write_text("{}")
    (finding,) = inputs.examine_adapter(configured(*words))
    fails_with(finding, "found an adapter beside the model")


@pytest.mark.slow
def test_data_that_is_not_here_is_missed_with_and_without_a_network(goft: Goft) -> None:
    words = ["doctor", "task=glue/cola", "trainer.use_cpu=true"]
    for more in ([], ["offline=true"]):
        answer = goft(*words, *more)
        assert answer.code == 1
        assert "dataset nyu-mll/glue cannot be loaded" in " ".join(answer.out.split())
    assert "goft fetch task=glue/cola model=tiny-deberta-v3 output_dir=DIR" in answer.out


def test_the_advised_fetch_has_the_users_words(goft: Goft, tmp_path: Path) -> None:
    shutil.copyfile(own_data("own/classification"), tmp_path / "plain.csv")
    own = ["task=own/classification", "data=plain.csv", "model=minilm-l6"]
    advised = goft("doctor", "offline=true", *own).out.splitlines()[-1].rpartition("goft fetch ")[2]
    *words, last = shlex.split(advised)
    assert last == "output_dir=DIR"
    assert small_runs.composed(words).task.name == "own/plain"


def test_packages_are_held_against_what_is_asked_for() -> None:
    wanted = ["torch>=2", "torch<1", "not-there>=3", "neither-this>=1; extra == 'dev'"]
    assert list(machine.unfit_packages(wanted)) == ["torch<1", "not-there>=3"]
    assert machine.examine_packages().verdict is Verdict.ok


@pytest.mark.parametrize("half", ["trainer.fp16=true", "model.dtype=float16"])
def test_mdeberta_overflows_in_half_precision(half: str, tmp_path: Path) -> None:
    multilingual = configured(
        half, "model=deberta-v3-base", "model.path=microsoft/mdeberta-v3-base"
    )
    fails_with(machine.examine_half_precision(multilingual), "overflows", "trainer.fp16=false")
    config = {"model_type": "deberta-v2", "vocab_size": 251_000}
    (tmp_path / "config.json").write_text(json.dumps(config))
    local = configured(half, f"model.path={tmp_path}")
    fails_with(machine.examine_half_precision(local), "overflows")
    for words in ([half], [f"model.path={tmp_path}"]):
        assert machine.examine_half_precision(configured(*words)).verdict is Verdict.ok


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "deberta-v2", "vocab_size": null}'])
def test_a_damaged_configuration_stops_no_check_of_precision(content: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    cfg = configured("trainer.fp16=true", f"model.path={tmp_path}")
    found = machine.examine_half_precision(cfg)
    assert found.verdict is Verdict.ok  # the check of the model reports it


def test_precision_that_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    trainer = small_runs.composed(["trainer.bf16=true"]).trainer
    fails_with(machine.examine_gpu(trainer), "trainer.use_cpu=true")
    fails_with(machine.examine_gpu(configured("trainer.fp16=true").trainer), "fp16 needs one")
    assert machine.examine_gpu(configured("trainer.bf16=true").trainer).verdict is Verdict.ok
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    card = SimpleNamespace(name="Old", total_memory=2**34)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    fails_with(machine.examine_gpu(trainer), "no bf16", "trainer.bf16=false")


@pytest.fixture
def unknown_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clear the caches of compiled loops, as in a new process."""
    monkeypatch.setattr(compiled, "_healthy", [])
    compiled._loops.cache_clear()
    yield
    compiled._loops.cache_clear()


@pytest.mark.usefixtures("unknown_loops")
@pytest.mark.parametrize(
    ("engine", "compiler", "verdict", "words"),
    [
        ("quick", "", Verdict.fail, "GOFT_ENGINE=quick is unknown; choose one of auto, staged"),
        ("staged", "missing", Verdict.ok, "staged engine"),
        ("compiled", "missing", Verdict.fail, "engine compiled cannot turn vectors of 768"),
        ("auto", "missing", Verdict.note, "blocked engine, since there is no C compiler (missing)"),
        ("auto", "false", Verdict.note, "false cannot compile loops.c, exit code 1"),
    ],
)
def test_the_engine_that_the_machine_allows(
    engine: str, compiler: str, verdict: Verdict, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_forced", engine)
    monkeypatch.setenv("CC", compiler)
    finding = machine.examine_rotation(configured())
    assert finding.verdict is verdict
    assert words in f"{finding.found}; {finding.remedy}"


def test_an_adapter_that_turns_nothing_needs_no_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "choose_engine", lambda x: pytest.fail("tried"))
    assert machine.examine_rotation(configured("adapter=lora")).verdict is Verdict.ok


def test_a_tokenizer_without_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("goft_cli.config.model.is_installed", lambda _: False)
    remote = configured("model=deberta-v3-base").model
    fails_with(inputs.examine_tokenizer(remote), "pip install sentencepiece protobuf")
    assert inputs.examine_tokenizer(configured().model).verdict is Verdict.ok


def test_packed_weights_below_an_adapter_that_needs_them_plain() -> None:
    packed = configured("model.quantization=4bit", "adapter=full")
    fails_with(inputs.examine_packing(packed), "model.quantization=4bit")
    assert inputs.examine_packing(configured()).verdict is Verdict.ok


@pytest.mark.parametrize(
    "words",
    [
        "trainer.optim=galore_adamw",
        "init_adapter=nowhere",
        "task=demo/qa trainer.label_smoothing_factor=0.1",
        "task=demo/digits model=tiny-vit trainer.max_tokens_per_batch=9",
        "task.metrics=[nonsense]",
    ],
)
def test_what_train_refuses_is_a_finding(words: str) -> None:
    cfg = configured(*words.split())
    found = inputs.examine_settings(cfg)
    with pytest.raises(GoftError) as refused:
        check_inputs(cfg)
    assert refused.value.problem in [finding.found for finding in found]
    assert not is_healthy(found)


@pytest.mark.parametrize("more", [[], ["offline=true"]])
def test_settings_are_examined_with_and_without_a_network(more: list[str], goft: Goft) -> None:
    answer = goft("doctor", "trainer.use_cpu=true", "init_adapter=nowhere", *more)
    assert answer.code == 1
    assert "init_adapter=nowhere" in answer.out


def test_a_disk_too_small_for_full_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = SimpleNamespace(free=machine.MIN_FREE_BYTES + 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert machine.examine_disk(configured()).verdict is Verdict.ok
    full = machine.examine_disk(configured("adapter=full"))
    fails_with(full, "checkpoints take up to", "trainer.save_total_limit=1")
    usage.free = 0
    fails_with(machine.examine_disk(configured()), "0 MB free", "choose another disk")


def test_a_configuration_of_accelerate_that_does_not_fit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "default_config.yaml"
    monkeypatch.setattr(machine, "default_config_file", str(path))
    assert machine.examine_accelerate().verdict is Verdict.ok
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    lines = ["compute_environment: LOCAL_MACHINE", "distributed_type: MULTI_GPU"]
    path.write_text("\n".join([*lines, "num_processes: 4", "mixed_precision: 'no'"]))
    fails_with(machine.examine_accelerate(), "4 processes", "1 GPUs", "accelerate config")
    path.write_text("distributed_type: [")
    fails_with(machine.examine_accelerate(), "cannot be read", f"rm {path}")


def test_a_tracker_that_cannot_write(monkeypatch: pytest.MonkeyPatch) -> None:
    online = TrackerConfig(name=TrackerName.wandb)
    fails_with(inputs.examine_tracker(online, offline=True), "tracker.mode=offline")
    monkeypatch.setattr("goft_cli.run.preflight.wandb_key", lambda: False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    fails_with(inputs.examine_tracker(online, offline=False), "wandb login")
    assert inputs.examine_tracker(TrackerConfig(), offline=True).verdict is Verdict.ok


def test_a_hub_that_is_away_is_worth_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    assert inputs.examine_hub().verdict is Verdict.note  # the suite is in offline mode
    monkeypatch.setattr(hub, "away", lambda _: "nobody answers")
    found = inputs.examine_hub()
    assert (found.verdict, found.found) == (Verdict.note, "nobody answers")
    assert "goft fetch" in found.remedy
    monkeypatch.setattr(hub, "away", lambda _: None)
    assert inputs.examine_hub().verdict is Verdict.ok


def test_with_the_network_cut_nothing_connects_and_afterwards_it_does() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with inputs.network_cut(), pytest.raises(OSError, match="the network is cut"):
            socket.create_connection(listener.getsockname(), timeout=1)
        socket.create_connection(listener.getsockname(), timeout=1).close()
