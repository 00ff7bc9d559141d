"""Test the group means and the average of the paper's Table 3, and the table made from runs."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean

import pytest
import yaml

from goft_cli.config import VtabGroup
from scripts import vtab_table
from scripts.vtab.average import average, group_means, groups

# The averages in the paper's Table 3, and the scores of the same methods by task.
TABLE3 = {"full": 68.9, "goft": 78.6, "qgoft": 79.4}
SCORES = {
    "cifar": (68.9, 75.0, 81.3),
    "caltech101": (87.7, 93.9, 93.9),
    "dtd": (64.3, 72.3, 75.0),
    "oxford_flowers102": (97.2, 99.7, 99.7),
    "oxford_iiit_pet": (86.9, 92.6, 94.5),
    "svhn": (87.4, 85.2, 86.9),
    "sun397": (38.8, 60.9, 63.3),
    "patch_camelyon": (79.7, 89.1, 89.1),
    "eurosat": (95.7, 100, 100),
    "resisc45": (84.2, 87.9, 87.5),
    "diabetic_retinopathy": (73.9, 82.4, 80.9),
    "clevr_count": (56.3, 84.0, 84.0),
    "clevr_dist": (58.6, 74.2, 72.7),
    "dmlab": (41.7, 55.1, 53.5),
    "kitti": (65.5, 82.0, 81.3),
    "dsprites_loc": (57.5, 80.9, 83.6),
    "dsprites_ori": (46.7, 52.7, 55.1),
    "smallnorb_azi": (25.7, 32.3, 32.3),
    "smallnorb_ele": (29.1, 43.8, 49.2),
}
ONE_DIGIT = 0.05
"""The largest rounding error of a number with one decimal place, and of a mean of such numbers."""


def scores(method: str) -> dict[str, float]:
    column = list(TABLE3).index(method)
    return {f"vtab/{task}": values[column] for task, values in SCORES.items()}


def test_the_groups_are_seven_four_and_eight() -> None:
    members = list(groups().values())
    assert {group: members.count(group) for group in VtabGroup} == {
        VtabGroup.natural: 7,
        VtabGroup.specialized: 4,
        VtabGroup.structured: 8,
    }


@pytest.mark.parametrize("method", TABLE3)
def test_the_papers_average_comes_out(method: str) -> None:
    found = average(scores(method))
    assert found == pytest.approx(TABLE3[method], abs=2 * ONE_DIGIT)
    assert found != pytest.approx(mean(scores(method).values()), abs=1)  # not the mean over tasks


def test_a_missing_task_leaves_its_group_and_the_average_out() -> None:
    some = scores("goft")
    del some["vtab/kitti"]
    assert set(group_means(some)) == {VtabGroup.natural, VtabGroup.specialized}
    assert average(some) is None


def write_run(folder: Path, task: str, value: float, benchmark: bool, split: str = "test") -> None:
    folder.mkdir(parents=True)
    run = {"task": task, "model": "vit-b16", "adapter": "goft", "headline": {"value": value}}
    (folder / "metrics.json").write_text(json.dumps(run))
    (folder / "manifest.json").write_text(json.dumps({"data": {"is_the_benchmark": benchmark}}))
    stated = {"selection": "val200", "headline_split": split}
    (folder / "config.yaml").write_text(yaml.safe_dump({"task": stated}))


def test_the_table_has_the_seeds_means(tmp_path: Path) -> None:
    for task, value in scores("qgoft").items():
        for seed, change in enumerate((-0.01, 0.01)):
            write_run(tmp_path / task / str(seed), task, value / 100 + change, benchmark=True)
    write_run(tmp_path / "own", "vtab/cifar", 0.5, benchmark=False)
    write_run(tmp_path / "other", "glue/cola", 0.5, benchmark=True)
    for split in ("val200", "tuning"):  # trials of goft compare tune=K
        write_run(tmp_path / split, "vtab/cifar", 0.1, benchmark=True, split=split)
    table = vtab_table.lines(vtab_table.read_runs(tmp_path))
    assert "| vtab/cifar | 50.0 | 81.3 |" in table
    assert "| vtab/kitti |  | 81.3 |" in table
    assert "| natural |  | 84.9 |" in table
    assert table[-1] == "| average |  | 79.4 |"
    assert table[0] == "|  | vit-b16 goft val200* | vit-b16 goft val200 |"
