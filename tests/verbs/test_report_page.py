"""`goft report` writes one page about runs, which loads nothing from other addresses."""

from __future__ import annotations

import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from goft_cli.compose.words import spelled
from goft_cli.run import pipeline
from goft_cli.run.configuration import as_plain, identity
from goft_cli.run.record import of_one_subject
from goft_cli.run.trained import open_trained
from goft_cli.system.errors import GoftError
from goft_cli.verbs.report.gather import measured_layers, train_command
from goft_cli.verbs.report.page import adapter_table, score_row
from tests.conftest import Goft
from tests.support import small_runs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trained")
    model, data = small_runs.write_model(root / "model"), small_runs.write_data(root / "data")
    words = small_runs.overrides(
        model, data, root / "run", "adapter=qgoft", "trainer.learning_rate=0.02"
    )
    return pipeline.run(small_runs.composed([*words, "trainer.logging_steps=1"]))


class Structure(HTMLParser):
    """Collects the addresses that a browser would fetch, and checks that tags close."""

    VOID = frozenset({"meta", "br", "hr", "img", "input", "link"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record the tag and the addresses in its attributes."""
        self.tags.append(tag)
        self.fetched += [
            value
            for name, value in attrs
            if value and name in {"src", "href", "xlink:href", "data", "action"} and value[0] != "#"
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a self-closing tag."""
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Check that the tag is the last one opened."""
        assert self.open.pop() == tag


@pytest.mark.slow
def test_the_page_stands_alone(goft: Goft, trained: Path, tmp_path: Path) -> None:
    answer = goft("report", f"runs={trained}", "output_dir=told")
    assert (answer.code, answer.err) == (0, "")
    html = (tmp_path / "told" / "report.html").read_text(encoding="utf-8")
    structure = Structure()
    structure.feed(html)
    assert structure.open == []
    assert structure.tags.count("svg") == 7
    assert [address for address in structure.fetched if not address.startswith("data:")] == []
    assert not re.findall(r"url\((?!#)|@import|<script|<link", html)
    assert "prefers-color-scheme: dark" in html
    assert "goft train adapter=qgoft seed=42 task=glue/cola" in html
    assert html.count("<td>bert.encoder.layer.") == 12
    assert "<td>1 unacceptable</td>" in html
    names = {file.stem for file in (tmp_path / "told").glob("*.png")}
    drawn = ("loss", "score", "classes-1", "by-class-1", "turned-1", "stages-1", "angles-1")
    assert names == {*drawn}


def test_the_command_composes_to_the_run(trained: Path) -> None:
    (run,) = of_one_subject(str(trained))
    line = train_command(run.cfg)
    assert line is not None
    goft, train, *words = shlex.split(line)
    assert (goft, train) == ("goft", "train")
    assert identity(as_plain(small_runs.composed(words))) == identity(as_plain(run.cfg))


@pytest.mark.parametrize("place", ["plain/a-b_1", "deb (1)", "it's, [so]", "a=b", "${here}", "ä ö"])
def test_the_command_has_quotes_around_a_path_that_needs_them(place: str) -> None:
    cfg = small_runs.composed(["model=minilm-l6", f"model.path={spelled(place)}"])
    line = train_command(cfg)
    assert line is not None
    _, _, *words = shlex.split(line)
    assert small_runs.composed(words).model == cfg.model
    assert (spelled(place) == place) == (f"model.path={place}" in words)


def test_a_run_of_another_place_has_no_command(trained: Path) -> None:
    (run,) = of_one_subject(str(trained))
    run.cfg.task.name, name = "elsewhere", run.cfg.task.name
    assert train_command(run.cfg) is None
    run.cfg.task.name = name


def test_a_page_is_about_one_task_and_model(trained: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copytree(trained, tmp_path / name)
    runs = of_one_subject([str(tmp_path)])
    score = f"{runs[0].score:.4f}"
    row = ["qgoft", "2", f"{score} ± 0.0000", f"{score} to {score}"]
    assert adapter_table(runs).rows == [row]
    assert [[*score_row(run).values()][:3] for run in runs] == [["qgoft", 42, score]] * 2
    config = tmp_path / "two" / "config.yaml"
    config.write_text(config.read_text().replace("learning_rate: 0.02", "learning_rate: 0.03"))
    lines = [[f"qgoft trainer.learning_rate={rate}", "1"] for rate in ("0.02", "0.03")]
    again = of_one_subject(str(tmp_path))
    assert [line[:2] for line in adapter_table(again).rows] == lines
    config.write_text(config.read_text().replace("name: glue/cola", "name: glue/rte"))
    with pytest.raises(GoftError, match=r"glue/cola .*glue/rte"):
        of_one_subject(str(tmp_path))
    with pytest.raises(GoftError, match="found no finished run below it"):
        of_one_subject(str(tmp_path / "nowhere"))


def test_what_turned_is_measured_on_the_merged_weights(trained: Path) -> None:
    layers = measured_layers(open_trained(str(trained), base_model=None))
    assert [layer.depth for layer in layers] == [0] * 6 + [1] * 6
    assert {layer.kind for layer in layers} >= {"attention.self.query", "output.dense"}
    for layer in layers:
        assert len(layer.angles) == sum(layer.stages) > 0
        assert layer.turned > 0
        # at most five stages, and each stretches by at most 1 + the largest deviation of a block
        assert layer.longest <= (1 + layer.deviation) ** 5 + 1e-5
