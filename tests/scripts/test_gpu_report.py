"""Test the GPU report on a machine without a GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from goft_cli.rotation import fused
from scripts import gpu_report
from scripts.benchmarks import layers
from scripts.benchmarks.budget import LEFT_OUT, Budget
from scripts.benchmarks.kernels import rates
from scripts.benchmarks.tables import Record
from scripts.benchmarks.timing import Samples
from tests.conftest import ROOT

pytest.importorskip("triton", reason="the fused kernels need Triton")

NAMES = [layers.FROZEN, *layers.ADAPTERS]
PASSES = ["copy", "forward GOFT", "backward GOFT", "forward qGOFT", "backward qGOFT"]
TINY = replace(gpu_report.DRY, sizes=((2, 12),), rounds=1, width=64, tokens=(1, 2))
TITLES = [
    "tests marked gpu",
    "one layer, bfloat16 weight, eager",
    "kernels",
    "one layer, NF4 weight, eager",
    "one layer, bfloat16 weight, torch.compile",
    "one layer, NF4 weight, torch.compile",
]
ABSENT = "bitsandbytes is not installed"


@pytest.fixture
def healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the kernels' check of themselves, which other tests cover."""
    monkeypatch.setitem(fused._healthy, (torch.bfloat16, torch.device("cpu")), True)


def by_case(rows: list[Record]) -> dict[str, Record]:
    return {str(row["case"]): row for row in rows}


def test_without_a_gpu_it_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_report.main(["--output", str(tmp_path / "gpu.md")]) == 2
    said = capsys.readouterr().err
    assert "found no CUDA device, expected one" in said
    assert "--dry-run" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_whole_dry_run(tmp_path: Path) -> None:
    target = tmp_path / "new" / "gpu.md"
    command = [sys.executable, "scripts/gpu_report.py", "--dry-run", "--output", str(target)]
    plain = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert str(target) in done.stdout
    found = json.loads(target.with_suffix(".json").read_text("utf-8"))
    tables = found["tables"]
    assert list(tables) == TITLES
    (counts,) = tables[gpu_report.TESTS]
    assert counts["skipped"] > 20
    assert (counts["passed"], counts["failed"], counts["note"]) == (0, 0, "")
    assert [row["case"] for row in tables["kernels"]] == 4 * PASSES
    for title in TITLES[1:2] + TITLES[3:]:
        rows = tables[title]
        assert [row["case"] for row in rows] == NAMES
        if rows[0]["note"] != ABSENT:
            assert not any(row["note"] for row in rows)
            assert all(row["us"] > 0 and row[layers.PEAK] > 0 for row in rows)
            assert all(row["graphs"] == 1 for row in rows if "compile" in title)
    text = target.read_text("utf-8")
    assert text.startswith("# GPU report, DRY RUN")
    assert all(f"## {title}\n" in text for title in TITLES)
    assert "a dry run says nothing" in text


def test_without_time_every_row_is_named_and_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "gpu.md"
    assert gpu_report.main(["--dry-run", "--seconds", "0", "--output", str(target)]) == 1
    tables = json.loads(target.with_suffix(".json").read_text("utf-8"))["tables"]
    assert list(tables) == TITLES
    assert LEFT_OUT in tables[TITLES[0]][0]["note"]
    said = capsys.readouterr().out
    for title in TITLES[1:]:
        assert f"{title}: 0 seconds are left" in said
        names = 4 * PASSES if title == "kernels" else NAMES
        assert [row["case"] for row in tables[title]] == names
        assert {row["note"] for row in tables[title]} == {LEFT_OUT}


def test_kernels_are_timed_beside_a_copy() -> None:
    rows = gpu_report.kernel_rows(TINY, Budget(60))
    assert [row["case"] for row in rows] == 2 * PASSES
    assert [row["dtype"] for row in rows] == 5 * ["bfloat16"] + 5 * ["float32"]
    assert all(row["note"] == "" and float(row["us"]) > 0 for row in rows)
    assert [row["of copy"] for row in rows[::5]] == [1, 1]


@pytest.mark.usefixtures("healthy")
def test_a_layer_is_timed_with_each_adapter_by_the_fused_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turned: list[torch.Size] = []
    kernel = fused._synthesise

    def watched(x: torch.Tensor, coef: torch.Tensor, out: torch.Tensor) -> None:
        turned.append(x.shape)
        kernel(x, coef, out)

    monkeypatch.setattr(fused, "_synthesise", watched)
    rows = gpu_report.layer_rows(TINY, Budget(60), "bfloat16", "")
    assert [row["case"] for row in rows] == NAMES
    assert all(row["note"] == "" for row in rows)
    assert by_case(rows)[layers.FROZEN][layers.OVER] == 0
    # each of two rotations runs twice at first, twice for memory, once to warm up, once timed
    assert turned == 12 * [torch.Size([2, 64])]


def test_what_fails_is_named_and_the_others_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "available", lambda *_: False)
    rows = by_case(gpu_report.layer_rows(TINY, Budget(60), "bfloat16", ""))
    assert list(rows) == NAMES
    for name, row in rows.items():
        if name in layers.ROTATIONS:
            assert "EngineError: engine fused cannot turn vectors" in str(row["note"])
            assert "us" not in row
        else:
            assert row["note"] == ""
            assert layers.OVER in row


def test_without_bitsandbytes_the_rows_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.delitem(sys.modules, "bitsandbytes.nn.modules", raising=False)
    rows = gpu_report.layer_rows(TINY, Budget(60), "NF4", "")
    assert [(row["case"], row["note"]) for row in rows] == [(name, ABSENT) for name in NAMES]


def test_a_packed_layer_is_packed_below_each_adapter() -> None:
    pytest.importorskip("bitsandbytes")
    cpu = torch.device("cpu")
    for name in NAMES:
        layer = layers.adapted(name, layers.packed(64, cpu))
        dtypes = {str(p.dtype) for p in layer.parameters() if not p.requires_grad}
        assert dtypes == {"torch.uint8"}
        assert name == layers.FROZEN or any(p.requires_grad for p in layer.parameters())


def test_a_table_that_fails_whole_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> list[Record]:
        raise RuntimeError("CUDA error: an illegal | memory access\nand advice")

    monkeypatch.setattr(gpu_report, "tests", lambda _: [{"passed": 29, "note": ""}])
    monkeypatch.setattr(gpu_report, "kernel_rows", refuse)
    monkeypatch.setattr(gpu_report, "layer_rows", lambda *_: [{"case": "GOFT", "note": ""}])
    target = tmp_path / "gpu.md"
    assert gpu_report.main(["--dry-run", "--output", str(target)]) == 0
    text = target.read_text("utf-8")
    assert "| kernels | RuntimeError: CUDA error: an illegal / memory access |" in text
    assert text.count("| GOFT |  |") == 4


PYTEST = """
tests/rotation/test_fused.py::test_agrees[4096-768] PASSED  [ 25%]
tests/rotation/test_fused.py::test_agrees[77-1000] FAILED   [ 50%]
tests/rotation/test_fused.py::test_chosen SKIPPED (no CUDA) [ 75%]
"""


@pytest.mark.parametrize("ended", [0, 1, None])
def test_tests_are_counted_as_far_as_they_came(
    ended: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(command: list[str], *, timeout: float, **_: object) -> object:
        assert timeout == 40
        assert str(ROOT / "tests" / "rotation" / "test_fused.py") in command
        if ended is None:
            raise subprocess.TimeoutExpired(command, timeout, PYTEST.encode())
        said = (
            PYTEST + "FAILED tests/rotation/test_fused.py::test_agrees[77-1000] - wrong\n" * ended
        )
        return subprocess.CompletedProcess(command, ended, said.encode())

    monkeypatch.setattr(subprocess, "run", run)
    (row,) = gpu_report.tests(Budget(100, lambda: 0.0))
    assert (row["passed"], row["failed"], row["skipped"]) == (1, 1, 1)
    notes = {
        0: "",
        1: "pytest ended with 1; FAILED tests/rotation/test_fused.py::test_agrees[77-1000] - wrong",
        None: f"the rest is {LEFT_OUT}",
    }
    assert row["note"] == notes[ended]
    assert ("test_chosen" in capsys.readouterr().out) == (ended != 0)


def test_bandwidth_counts_each_tensor_once_per_call() -> None:
    seconds = {"copy": 20.0, "forward GOFT": 20.0, "backward GOFT": 60.0}
    samples = {name: Samples((value,)) for name, value in seconds.items()}
    copy, forward, backward = rates(samples, size=10**9, calls=10).values()
    assert copy["GB/s"] == forward["GB/s"] == 1
    assert forward["of copy"] == 1
    assert backward["of copy"] == 0.5
    assert backward["us"] == 6e6


def test_overhead_is_over_the_frozen_layer_and_beside_lora() -> None:
    seconds = {layers.FROZEN: 1.0, layers.REFERENCE: 3.0, "GOFT": 2.0}
    samples = {name: Samples((value,)) for name, value in seconds.items()}
    peaks: dict[str, Record] = {
        layers.FROZEN: {layers.PEAK: 10.0},
        layers.REFERENCE: {layers.PEAK: 14.0},
        "GOFT": {layers.PEAK: 13.0},
    }
    goft = layers.overheads(samples, peaks)["GOFT"]
    assert (goft[layers.OVER], goft[layers.RATIO]) == (1e6, 0.5)
    assert (goft[layers.PEAK_OVER], goft[layers.PEAK_RATIO]) == (3, 0.75)
    del samples[layers.REFERENCE]
    assert layers.RATIO not in layers.overheads(samples, peaks)["GOFT"]


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ([0.3, 0.5], "holds; the most is 0.5 (qGOFT, layer), 2 of 2 cases measured"),
        ([0.51, None], "does not hold; the most is 0.51 (GOFT, layer), 1 of 2 cases measured"),
        ([None, None], "open, nothing was measured"),
    ],
)
def test_the_goal_is_judged_by_the_worst_case(ratios: list[float | None], said: str) -> None:
    rows: list[Record] = [
        {"case": name} | ({} if ratio is None else {layers.RATIO: ratio})
        for name, ratio in zip(layers.ROTATIONS, ratios, strict=True)
    ]
    tables = {"layer": [{"case": layers.REFERENCE, layers.RATIO: 1.0}, *rows]}
    assert said in gpu_report.goal(tables, dry=False)
    assert "open, a dry run says nothing" in gpu_report.goal(tables, dry=True)
