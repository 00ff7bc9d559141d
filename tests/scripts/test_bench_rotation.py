"""The benchmark of the rotation measures every engine and records what it measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from goft_cli.rotation import ENGINES
from scripts import bench_rotation
from scripts.bench_rotation import QUICK
from scripts.benchmarks import memory, merging
from scripts.benchmarks.rotations import BOTH, FORWARD, KINDS
from scripts.benchmarks.timing import Samples, interleave

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], list[str]]:
    """Return the folder, the JSON and the commands of a quick run."""
    folder, commands = tmp_path_factory.mktemp("benchmarks"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench_rotation, "peak_in_child", lambda words: commands.append(words) or 7)
        words = ["--quick", "--llama", "--rounds", "2", "--device", "cpu", "--output", str(folder)]
        bench_rotation.main(words)
    return folder, json.loads((folder / "rotation.json").read_text()), commands


@pytest.mark.slow
def test_every_engine_turns_every_size_both_ways(written: tuple[Path, dict[str, Any], Any]) -> None:
    found = written[1]["engines"]
    measured = {
        (one["dim"], one["tokens"], one["kind"], one["passes"], one["engine"]) for one in found
    }
    expected = {
        (dim, tokens, kind, passes, engine)
        for dim in QUICK.grid
        for tokens in QUICK.grid_counts
        for kind in KINDS
        for passes in (FORWARD, BOTH)
        for engine in ENGINES
        if ENGINES[engine].supports(dim, torch.float32, CPU)
    }
    assert measured == expected
    assert len(found) == len(expected)


@pytest.mark.slow
def test_ratios_are_those_of_the_medians(written: tuple[Path, dict[str, Any], Any]) -> None:
    for part in ("engines", "counts"):
        rows = written[1][part]
        key = ("dim", "tokens", "kind", "passes")
        staged = {
            tuple(one[k] for k in key): one["median"] for one in rows if one["engine"] == "staged"
        }
        for one in rows:
            assert one["ratio"] == one["median"] / staged[tuple(one[k] for k in key)]
            assert 0 < one["low"] <= one["median"] <= one["high"]


@pytest.mark.slow
def test_the_choice_is_timed_at_every_width_and_number(
    written: tuple[Path, dict[str, Any], Any],
) -> None:
    folder, content, _ = written
    assert [one["dim"] for one in content["widths"][::2]] == list(QUICK.widths)
    assert {one["engine"] for one in content["widths"]} == {"auto"}
    counts = [one["tokens"] for one in content["counts"] if one["engine"] == "auto"]
    assert counts[::2] == list(QUICK.counts)
    assert (folder / "rotation.png").read_bytes().startswith(b"\x89PNG")
    assert content["machine"]["cpu_threads"] == torch.get_num_threads()
    assert content["machine"]["cpu"]


@pytest.mark.slow
def test_merges_are_timed_here_and_weighed_elsewhere(
    written: tuple[Path, dict[str, Any], list[list[str]]],
) -> None:
    _, content, commands = written
    (name,) = content["merges"]
    assert content["merges"][name]["bytes"] == 7
    assert content["merges"][name]["llama2-7b"] > content["merges"][name]["low"]
    (command,) = commands
    assert Path(command[0]) == Path(bench_rotation.__file__)
    assert command[1:3] == ["--quick", "--llama"]
    assert command[-2:] == ["--memory-of", name]


def test_a_child_prints_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    bench_rotation.main(["--quick", "--device", "cpu", "--memory-of", QUICK.merges[0]])
    assert int(capsys.readouterr().out) >= 0


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="the peak cannot be set back here"
)
def test_merging_takes_the_new_weight_and_a_few_rows() -> None:
    # This layer is so large that malloc maps new pages for it and does not reuse freed memory.
    layer = merging.random_layer("goft", 4096, torch.float32, CPU)
    weight = layer.get_base_layer().get_parameter("weight")
    before = weight.clone()
    extra = merging.memory_of_merge(layer, CPU)
    rows = 1024 * 4096 * 4
    assert 0.95 * weight.nbytes <= extra <= weight.nbytes + 3 * rows  # counted in whole pages
    assert torch.equal(layer.get_base_layer().get_parameter("weight"), before)
    assert memory.resident_peak() >= extra


def test_cases_take_turns_and_every_second_round_goes_backwards() -> None:
    calls: list[str] = []
    waits: list[int] = []
    cases = {name: lambda name=name: calls.append(name) for name in "ab"}
    found = interleave(cases, 3, lambda: waits.append(len(calls)))
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab"
    assert waits == [2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8]
    assert list(found) == ["a", "b"]
    assert all(len(samples.seconds) == 3 for samples in found.values())


def test_quartiles_of_known_seconds() -> None:
    samples = Samples((4.0, 1.0, 5.0, 3.0, 2.0))
    assert (samples.low, samples.median, samples.high) == (2, 3, 4)
