"""overwrite=true removes the files that a run wrote and keeps all other files in its folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from goft_cli.config import TrainConfig
from goft_cli.run.configuration import read_config
from goft_cli.run.folder import RunFolder, open_run, opened
from goft_cli.system.errors import GoftError
from goft_cli.system.files import ALWAYS, RECORD, REPLACED, clear, note, remove, write_json
from tests.conftest import ROOT
from tests.support.refusals import snapshot

NAMES = ("predictions.validation.jsonl", "eval.mmlu-full.json", "merged")
"""Files that only some runs write."""
OTHERS = {
    "notes.txt": "mine",
    "predictions.mine.jsonl": "mine",
    "evaluation.json": "{}",
    "child/config.yaml": "a: 1",
    "child/adapter/adapter_model.safetensors": "mine",
    "merge/README.md": "mine",
}


def fill(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


def finished(cfg: TrainConfig) -> RunFolder:
    run = open_run(cfg)
    note(run.path, *NAMES)
    for name in (*ALWAYS, *NAMES):
        path = run.path / name
        if path.suffix:
            path.write_text("{}")
        else:
            fill(path, {"deep/file": "x"})
    return run


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("seed", [42, 7])
def test_overwrite_removes_what_the_run_wrote_and_nothing_else(cfg: TrainConfig, seed: int) -> None:
    run = finished(cfg)
    fill(run.path, OTHERS)
    wanted = replace(cfg, seed=seed, overwrite=True)
    assert not open_run(wanted).finished
    assert read_config(run.config) == wanted
    remove(run.path / REPLACED)
    kept = {name.split("/")[0] for name in OTHERS}
    assert names(run.path) == {"config.yaml", RECORD} | kept
    assert all((run.path / name).read_text() == content for name, content in OTHERS.items())


def test_a_start_that_fails_before_its_training_puts_the_replaced_run_back(
    cfg: TrainConfig,
) -> None:
    before = snapshot(finished(cfg).path)
    other = replace(cfg, seed=7, overwrite=True)

    def start(*, begins: bool) -> RunFolder:
        with opened(other) as run:
            assert not run.finished
            write_json(run.log, {})
            if not begins:
                raise GoftError("no such option")
            write_json(run.manifest, {})
            run.settle()
        return run

    with pytest.raises(GoftError, match="no such option"):
        start(begins=False)
    assert snapshot(Path(cfg.output_dir)) == before
    run = start(begins=True)
    assert not run.finished
    assert not (run.path / REPLACED).exists()


@pytest.mark.parametrize("moves", range(4))
def test_a_start_that_was_killed_loses_nothing(
    cfg: TrainConfig, moves: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(cfg)
    before = snapshot(run.path)
    rename, done = Path.rename, iter(range(moves))

    def killed(path: Path, target: Path) -> Path:
        if next(done, None) is None:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        open_run(replace(cfg, seed=7, overwrite=True))
    monkeypatch.undo()
    with pytest.raises(GoftError, match="holds a run"), opened(replace(cfg, seed=7)):
        pass
    run.lock.unlink()
    assert snapshot(run.path) == before


def test_another_runs_folder_inside_stays(cfg: TrainConfig) -> None:
    run = finished(cfg)
    child = finished(replace(cfg, output_dir=str(run.path / "child")))
    before = snapshot(child.path)
    open_run(replace(cfg, overwrite=True))
    assert snapshot(child.path) == before


def test_a_run_that_never_trained_gives_way_and_leaves_the_rest(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    fill(run.path, {"notes.txt": "mine", "run.log": "said"})
    assert read_config(open_run(replace(cfg, seed=7)).config).seed == 7
    assert names(run.path) == {"config.yaml", RECORD, "notes.txt"}


def test_a_record_that_names_other_places_removes_nothing_there(
    cfg: TrainConfig, tmp_path: Path
) -> None:
    run = open_run(cfg)
    fill(tmp_path, {"thesis.tex": "mine"})
    (run.path / "linked").symlink_to(tmp_path)
    (run.path / RECORD).write_text("../../thesis.tex\n..\n.\n\n/\nlinked\n")
    clear(run.path)
    assert (tmp_path / "thesis.tex").read_text() == "mine"
    assert names(run.path) == {"config.yaml", RECORD}


def test_a_run_of_the_first_version_has_no_record_and_is_known_by_its_files(
    tmp_path: Path,
) -> None:
    shutil.copytree(ROOT / "tests" / "fixtures" / "runs" / "lora", tmp_path / "run")
    run = RunFolder(tmp_path / "run")
    fill(run.path, {"merged/merge_report.json": "{}", "merged/model": "x", "eval.x.json": "{}"})
    fill(run.path, {"lora-experiments/notes": "mine", "notes.txt": "mine"})
    cfg = replace(read_config(run.config), output_dir=str(run.path), overwrite=True)
    open_run(cfg)
    remove(run.path / REPLACED)
    assert names(run.path) == {"config.yaml", RECORD, "lora-experiments", "notes.txt"}


def test_a_folder_of_no_run_keeps_no_record(tmp_path: Path) -> None:
    note(tmp_path, "eval.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_configuration_alone_is_no_run(cfg: TrainConfig, overwrite: bool, tmp_path: Path) -> None:
    config = open_run(replace(cfg, output_dir=str(tmp_path / "other"))).config
    mine = Path(cfg.output_dir)
    fill(mine, {"config.yaml": config.read_text(), "notes.txt": "mine"})
    before = snapshot(mine)
    with pytest.raises(GoftError, match="holds no run"):
        open_run(replace(cfg, seed=7, overwrite=overwrite))
    assert snapshot(mine) == before


def test_a_run_without_its_record_is_still_a_run(cfg: TrainConfig) -> None:
    run = open_run(cfg)
    write_json(run.manifest, {})
    run.record.unlink()
    assert open_run(replace(cfg, seed=7)).record.is_file()
