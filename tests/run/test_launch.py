"""Several processes train one run or are refused; the error of the first to fail is reported."""

from __future__ import annotations

import json
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from goft_cli.config import TrainConfig
from goft_cli.run import launch, pipeline
from goft_cli.run.folder import RunFolder, opened
from goft_cli.run.launch import as_error, root_cause
from goft_cli.system.errors import GoftError, RankError, Stopped
from goft_cli.training.launch_checks import check_asked, check_launch, check_nesting
from goft_cli.verbs import train
from tests.conftest import ROOT, Goft
from tests.support import small_runs
from tests.support.gloo_processes import accelerate_launch

RECIPES = sorted((ROOT / "recipes" / "accelerate").glob("*.yaml"))
# The number of processes for the first word of a file's name.
PROCESSES = {"one": 1, "two": 2, "four": 4}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_accelerate_takes_each_of_its_configurations(path: Path) -> None:
    config = load_config_from_file(str(path))
    assert isinstance(config, ClusterConfig)
    words = launch_command_parser().parse_args([f"--config_file={path}", "-m", "goft_cli"])
    arguments, _, _ = _validate_launch_command(words)
    number = PROCESSES[path.stem.split("_")[0]]
    assert config.num_processes == (8 if "nodes" in path.stem else number)
    assert config.num_machines == (number if "nodes" in path.stem else 1)
    assert arguments.use_deepspeed == ("zero" in path.stem)
    assert arguments.use_fsdp == ("fsdp" in path.stem)
    assert arguments.multi_gpu == ("ddp" in path.stem)
    if arguments.use_deepspeed:
        assert arguments.zero_stage == int(path.stem[-1])
    if arguments.use_fsdp:
        assert arguments.fsdp_version == int(path.stem[-1])


def config_of(count: int, **trainer: Any) -> TrainConfig:  # noqa: ANN401 - values of several fields
    cfg = small_runs.composed([f"launcher.num_processes={count}"])
    return replace(cfg, trainer=replace(cfg.trainer, **trainer))


def started(monkeypatch: pytest.MonkeyPatch, total: int, local: int | None = None) -> None:
    """Set the environment variables that torchrun sets."""
    monkeypatch.setenv("WORLD_SIZE", str(total))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(local or total))
    for name, value in {"RANK": "0", "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")


def test_another_number_than_was_started_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    check_launch(config_of(2))
    started(monkeypatch, 4)
    with pytest.raises(GoftError, match=r"num_processes=2.* 4"):
        check_launch(config_of(2))
    check_launch(small_runs.composed([]))


def test_too_few_gpus_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    check_launch(config_of(1))
    check_launch(config_of(4, use_cpu=True))
    with pytest.raises(GoftError, match=r"=4.* 1 .*launcher"):
        check_launch(config_of(4))
    started(monkeypatch, 2, local=1)  # one on each of two machines
    check_launch(small_runs.composed([]))


def test_a_launch_that_started_fewer_processes_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    check_launch(config_of(1))  # the parent process is no launcher
    settings = {"compute_environment": "LOCAL_MACHINE", "distributed_type": "MULTI_CPU"}
    file = tmp_path / "cpus.yaml"
    file.write_text(yaml.safe_dump({**settings, "use_cpu": True, "num_processes": 2}))
    for asking in (["--cpu", "--num_processes", "2"], ["--config_file", str(file)]):
        parent = ["python", "accelerate", "launch", *asking, "-m", "goft_cli"]
        monkeypatch.setattr("psutil.Process.cmdline", lambda _, words=parent: words)
        with pytest.raises(GoftError, match=r" 2 .* 1.*torchrun"):
            check_launch(config_of(1))
    check_asked(1)


@pytest.mark.feature("sharded", refused={"adalora"})
@pytest.mark.parametrize(
    ("engine", "words", "sentence"),
    [
        ("FSDP", [], "its first version is not supported; write fsdp_version: 2"),
        ("FSDP2", ["trainer.use_cpu=true"], "FSDP: without a GPU it falls back to DDP"),
        ("FSDP2", ["trainer.optim=sgd"], "torch cannot resume SGD"),
        ("DeepSpeed", [], "each process would train alone; pass trainer.use_cpu=true"),
        (
            "DeepSpeed",
            ["trainer.use_cpu=true", "model.quantization=4bit"],
            "quantized weights cannot",
        ),
        (
            "DeepSpeed",
            ["trainer.use_cpu=true", "adapter=adalora"],
            "adalora needs unsharded gradients",
        ),
    ],
)
def test_what_an_engine_cannot_share_out_is_refused_before_hours_are_spent(
    engine: str, words: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "sgd" in "".join(words))
    monkeypatch.setenv(f"ACCELERATE_USE_{engine.rstrip('2').upper()}", "true")
    monkeypatch.setenv("FSDP_VERSION", "2" if engine.endswith("2") else "1")
    with pytest.raises(GoftError, match=f"accelerate launch asks for .*{sentence}"):
        check_launch(small_runs.composed(words))


def test_an_engine_that_can_is_let_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    check_launch(config_of(1, use_cpu=True))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "false")
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_launch(config_of(1))


@pytest.mark.parametrize("flag", ["-m", "--multirun"])
def test_a_sweep_inside_a_launch_is_explained(
    flag: str, goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_nesting(["train", flag])
    started(monkeypatch, 2)
    answer = goft("train", flag, "seed=1,2")
    assert answer.code == 2
    assert "goft train -m ... launcher.num_processes=2" in answer.err
    check_nesting(["train", "seed=1"])


def failure(folder: Path, code: int, **word: object) -> ProcessFailure:
    """Return torchrun's record of a process that ended."""
    file = folder / f"{time.monotonic_ns()}.json"
    if word:
        file.write_text(json.dumps(word))
    return ProcessFailure(local_rank=0, pid=1, exitcode=code, error_file=str(file))


def test_the_first_to_fail_is_named(tmp_path: Path) -> None:
    lost = {"message": "Connection closed by peer", "timestamp": 7, "time": 7.6}
    own = {"message": "out of memory", "timestamp": 7, "time": 7.5}
    both = {0: failure(tmp_path, 1, **lost), 1: failure(tmp_path, 1, **own)}
    assert root_cause(both)[0] == 1
    assert str(as_error(both[1], 1, 2)) == "process 1 of 2: out of memory"
    killed = {0: failure(tmp_path, 1, **lost), 1: failure(tmp_path, -signal.SIGKILL)}
    assert root_cause(killed)[0] == 1
    error = as_error(killed[1], 1, 2)
    assert str(error) == "process 1 of 2 was ended by SIGKILL; the same command resumes"


def test_what_a_process_says_is_said_as_if_it_were_alone(tmp_path: Path) -> None:
    word = {"message": "seed=x is no number", "timestamp": 1, "time": 1.0}
    error = as_error(failure(tmp_path, 2, **word), 0, 2)
    assert isinstance(error, RankError)
    assert (str(error), error.code) == ("seed=x is no number", 2)
    stopped = as_error(failure(tmp_path, 143, **word), 1, 2)
    assert isinstance(stopped, Stopped)
    assert (str(stopped), stopped.code) == ("seed=x is no number", 143)
    mute = as_error(failure(tmp_path, 3), 1, 2)
    assert str(mute) == "process 1 of 2 ended with exit code 3 without an error"


@pytest.mark.parametrize("ignored", [True, False])
def test_processes_that_nohup_started_outlive_their_terminal(
    ignored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(arguments: Any) -> None:  # noqa: ANN401 - argparse's
        asked.extend(getattr(arguments, "signals_to_handle", "SIGHUP").split(","))

    monkeypatch.setattr(launch, "launch_command", note)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        launch.launch(config_of(2, use_cpu=True), tmp_path / "config.yaml", train.__name__)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ("SIGHUP" in asked) is not ignored


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return words for a run without dropout, with an odd number of validation rows."""
    root = tmp_path_factory.mktemp("inputs")
    model, data = small_runs.write_model(root / "model"), small_runs.write_data(root / "data")
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config.json").write_text(json.dumps(config))
    rows = (data / "dev.tsv").read_text().splitlines()
    (data / "dev.tsv").write_text("\n".join(rows[:-1]) + "\n")
    more = ["adapter=qgoft", "task.classifier_dropout=0.0", "trainer.optim=sgd"]
    return [*small_runs.overrides(model, data, root / "run", *more), "trainer.learning_rate=0.5"]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def alone(words: list[str]) -> RunFolder:
    cfg = small_runs.composed([*words, "trainer.per_device_train_batch_size=8"])
    return RunFolder(pipeline.run(replace(cfg, output_dir=f"{cfg.output_dir}-alone")))


def assert_same_run(one: RunFolder, two: RunFolder) -> None:
    """Compare the run folder of several processes with that of one process."""
    expected, found = (json.loads(run.metrics.read_text()) for run in (one, two))
    assert found["metrics"] == expected["metrics"]
    assert found["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-5)
    assert found["best_checkpoint_step"] == expected["best_checkpoint_step"]
    name = "predictions.validation.jsonl"
    lines = [(run.path / name).read_text().splitlines() for run in (one, two)]
    assert len(lines[0]) == len(lines[1]) == 23
    assert two.log.read_text().count("recipe: ") == 1, "one log, and each sentence in it once"
    # Each update adds a rounding error, because gradients are summed in another order.
    tolerance = 64 * 12 * torch.finfo(torch.float32).eps
    theirs = load_file(two.adapter / "adapter_model.safetensors")
    for key, tensor in load_file(one.adapter / "adapter_model.safetensors").items():
        torch.testing.assert_close(theirs[key], tensor, rtol=tolerance, atol=tolerance)


def eval_losses(run: RunFolder) -> list[float]:
    logged = json.loads(run.history.read_text())["logged"]
    return [line["eval_loss"] for line in logged if "eval_loss" in line]


@pytest.mark.slow
def test_two_processes_make_one_run_with_the_same_numbers(
    words: list[str], alone: RunFolder
) -> None:
    sizes = ["trainer.per_device_train_batch_size=4", "trainer.per_device_eval_batch_size=1"]
    shared = small_runs.composed([*words, *sizes, "launcher.num_processes=2"])
    with opened(shared) as run:
        launch.launch(shared, run.config, train.__name__)
    assert_same_run(alone, run)
    assert eval_losses(run) == pytest.approx(eval_losses(alone), rel=1e-5)  # of 23 rows, not 24
    assert names(alone.path) == names(run.path)


@pytest.mark.slow
def test_a_users_own_launch_makes_one_run_with_one_tracker(
    words: list[str], alone: RunFolder, tmp_path: Path
) -> None:
    started = ["--num_processes=2", "-m", "goft_cli", "train", *words]
    own = [f"output_dir={tmp_path}", "tracker=tensorboard"]
    own += ["trainer.per_device_train_batch_size=4", "trainer.logging_steps=1"]
    accelerate_launch(ROOT / "recipes" / "accelerate" / "four_rtx3090_ddp.yaml", *started, *own)
    run = RunFolder(tmp_path)
    assert_same_run(alone, run)
    assert names(run.path) == sorted([*names(alone.path), "tensorboard"])
    assert len([path for path in (run.path / "tensorboard").rglob("*") if path.is_file()]) == 1


@pytest.mark.slow
def test_the_error_of_a_process_is_the_commands(
    words: list[str], goft: Goft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    bad = ["adapter.target_modules=[qeury]", "launcher.num_processes=2", "overwrite=true"]
    answer = goft("train", *words, *bad)
    assert answer.code == 2
    assert answer.err.count("adapter.target_modules") == 1
    assert answer.err.splitlines()[-1].startswith("goft: adapter.target_modules=['qeury']: ")
