"""`goft verify` names what differs from a run's records, and notes what was not recorded."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from goft_cli.config import MergeConfig, VerifyConfig
from goft_cli.run.folder import RunFolder
from goft_cli.system.files import read_json, write_json
from goft_cli.system.tables import Finding, Verdict
from goft_cli.verbs.merge import merge
from goft_cli.verbs.verify.recheck import recheck, run_folders
from tests.conftest import ROOT, Goft
from tests.support.refusals import Change, cut, snapshot, substitute
from tests.support.small_runs import Ground, copied, refer

FIXTURES = ROOT / "tests" / "fixtures" / "runs"
CERTIFIED = "merged/merge_report.json"


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    """Return a finished run with a merge certificate; tests do not write to it."""
    ground = copied(trained, tmp_path_factory.mktemp("verified") / "ground")
    for report in ground.run.path.glob("*/merge_report.json"):
        shutil.rmtree(report.parent)  # exports of other tests that share the run
    merge(MergeConfig(adapter=str(ground.run.path), samples=10))
    return ground


def findings(folder: RunFolder, **options: object) -> dict[str, Finding]:
    cfg = VerifyConfig(runs=[str(folder.path)], **options)  # pyright: ignore[reportArgumentType] - a mixed dict
    return {one.subject: one for one in recheck(folder, cfg)}


def failing(found: dict[str, Finding]) -> set[str]:
    return {subject for subject, one in found.items() if one.verdict is Verdict.fail}


def test_a_run_as_it_was_left_holds_and_nothing_is_written(whole: Ground) -> None:
    before = snapshot(whole.root)
    found = findings(whole.run)
    assert {one.verdict for one in found.values()} == {Verdict.ok}
    scores = {
        f"validation {name}" for name in read_json(whole.run.metrics)["metrics"]["validation"]
    }
    digests = {"configuration", "base model files", "adapter files", "data files"}
    outputs = {"reloaded", CERTIFIED, "merged read again", "merged again"}
    assert set(found) == digests | scores | outputs
    assert snapshot(whole.root) == before


def another_score(root: Path) -> None:
    metrics = read_json(root / "run" / "metrics.json")
    metrics["metrics"]["validation"]["accuracy"] += 0.1
    write_json(root / "run" / "metrics.json", metrics)


def turned(name: str) -> Change:
    """Return a change that adds 0.1 to every weight of a file."""

    def change(root: Path) -> None:
        tensors = {key: value + 0.1 for key, value in load_file(root / name).items()}
        save_file(tensors, root / name, metadata={"format": "pt"})

    return change


def other_digest(root: Path) -> None:
    report = read_json(root / "run" / CERTIFIED)
    report["sha256"]["adapter"]["adapter_model.safetensors"] = "0" * 64
    write_json(root / "run" / CERTIFIED, report)


CASES: dict[str, tuple[Change, set[str], str]] = {
    "score": (another_score, {"validation accuracy"}, "recorded"),
    "configuration": (
        substitute("run/config.yaml", r"(?m)^seed: \d+", "seed: 77"),
        {"configuration"},
        "config.yaml was edited",
    ),
    "data": (substitute("data/train.tsv", "cat", "dog"), {"data files"}, "train.tsv"),
    "merged weights": (
        turned("run/merged/model.safetensors"),
        {CERTIFIED, "merged read again"},
        "model.safetensors",
    ),
    "merged tokenizer": (
        substitute("run/merged/tokenizer.json", '"dog"', '"dogs"'),
        {CERTIFIED},
        "tokenizer.json",
    ),
    "certificate": (other_digest, {CERTIFIED}, "adapter_model.safetensors"),
    "adapter": (
        turned("run/adapter/adapter_model.safetensors"),
        {"adapter files", "reloaded"},
        "adapter_model.safetensors",
    ),
    "base": (
        substitute("model/tokenizer.json", '"dog"', '"dogs"'),
        {"base model files", "reloaded"},
        "tokenizer.json",
    ),
    "data gone": (
        lambda root: (root / "data" / "train.tsv").unlink(),
        {"data files"},
        "train",
    ),
    "merged weights cut": (
        cut("run/merged/model.safetensors"),
        {CERTIFIED, "merged read again"},
        "model.safetensors",
    ),
    "certificate broken": (
        lambda root: (root / "run" / CERTIFIED).write_text("{"),
        {CERTIFIED, "merged read again"},
        "merge_report.json",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_hold_is_named_and_nothing_else(
    case: str, whole: Ground, tmp_path: Path
) -> None:
    change, subjects, name = CASES[case]
    ground = Ground(tmp_path / "ground")
    shutil.copytree(whole.root, ground.root)
    refer(ground.run, whole.root, ground.root)
    change(ground.root)
    found = findings(ground.run)
    assert failing(found) == subjects
    assert any(name in found[subject].found for subject in subjects)


def test_some_rows_are_held_against_their_predictions(whole: Ground, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    shutil.copytree(whole.run.path, run.path)
    found = findings(run, max_samples=6)
    assert "validation predictions" in found
    assert failing(found) == set()
    path = run.path / "predictions.validation.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["prediction"]["score"] /= 2
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = findings(run, max_samples=6)
    assert failing(found) == {"validation predictions"}
    assert re.search(r"1 of 6 .*row 1\b", found["validation predictions"].found)
    path.write_text("[]\n")
    assert failing(findings(run, max_samples=6)) == {"validation predictions"}
    path.unlink()
    found = findings(run, max_samples=6)
    assert found["validation predictions"].verdict is Verdict.note


def test_a_moved_run_is_verified_where_its_model_and_data_are(
    whole: Ground, tmp_path: Path
) -> None:
    root = tmp_path / "moved"
    shutil.copytree(whole.root, root)
    ground = Ground(root)
    refer(ground.run, whole.root, "/nowhere/at/all")
    places = {"base_model": str(root / "model"), "data_dir": str(root / "data")}
    assert failing(findings(ground.run, **places)) == set()
    assert failing(findings(ground.run)) >= {"base model files", "reloaded"}


@pytest.mark.parametrize("name", ["qgoft", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_run_of_an_earlier_version_says_what_it_did_not_record(name: str, tmp_path: Path) -> None:
    shutil.copytree(FIXTURES / name, tmp_path / "run")
    options = {"data_dir": str(FIXTURES / "cola")} if name == "qgoft" else {"max_samples": 16}
    found = findings(RunFolder(tmp_path / "run"), **options)
    assert failing(found) == set()
    unknown = {subject for subject, one in found.items() if one.verdict is Verdict.note}
    assert unknown >= {"base model files", "adapter files"}
    assert ("data files" in unknown) is (name == "lora")


def test_the_command_ends_with_1_if_one_of_several_does_not_hold(
    goft: Goft, whole: Ground, tmp_path: Path
) -> None:
    names = ["one", "a=1, it's [two]"]
    for name in names:
        shutil.copytree(whole.run.path, tmp_path / name, ignore=shutil.ignore_patterns("merged"))
    answer = goft("verify", *names, "max_samples=4")
    assert answer.code == 0, answer.err
    assert answer.out.count("merged again") == 2
    turned("one/adapter/adapter_model.safetensors")(tmp_path)
    answer = goft("verify", f"runs=['{names[0]}']", "--max-samples", "4")
    assert (answer.code, "goft:" in answer.err) == (1, False)
    assert "adapter_model.safetensors" in answer.out
    assert goft("verify", f"adapter={names[0]}", "max_samples=4").code == 1


def test_a_run_may_be_named_by_its_adapter_or_the_folder_above(whole: Ground) -> None:
    run = whole.run
    for place in (run.path, run.adapter, whole.root):
        assert [one.path for one in run_folders([str(place)])] == [run.path]


def test_an_unfinished_run_is_refused(goft: Goft, whole: Ground, tmp_path: Path) -> None:
    shutil.copytree(whole.run.path, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").unlink()
    answer = goft("verify", "run")
    assert answer.code == 2
    assert "not finished" in answer.err


def test_a_certificate_has_the_digests_of_what_it_is_about(whole: Ground) -> None:
    report, manifest = read_json(whole.run.path / CERTIFIED), read_json(whole.run.manifest)
    files = whole.run.path / "merged"
    assert report["sha256"]["adapter"] == manifest["adapter"]["sha256"]
    assert report["sha256"]["base"] == manifest["model"]["sha256"]
    written = {path.name for path in files.iterdir()} - {"README.md", "merge_report.json"}
    assert set(report["sha256"]["exported"]) == written
