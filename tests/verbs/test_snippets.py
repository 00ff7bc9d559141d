"""The code on a model card runs as written, for several kinds of task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from peft import get_peft_model

from goft_cli import GoftConfig
from goft_cli.models.backbone import load_backbone
from goft_cli.tasks.families import build_task
from goft_cli.verbs.merge.cards import adapter_snippet, merged_snippet
from tests.support import small_runs

KINDS = [
    ("demo/acceptability", "tiny-deberta-v3"),
    ("glue/stsb", "tiny-deberta-v3"),
    ("demo/qa", "tiny-deberta-v3"),
    ("demo/instructions", "tiny-llama"),
    ("demo/digits", "tiny-vit"),
]


@pytest.mark.parametrize(("task_name", "model_name"), KINDS)
def test_a_snippet_loads_a_model_and_shows_an_answer(
    task_name: str, model_name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = small_runs.composed([f"task={task_name}", f"model={model_name}"])
    task = build_task(cfg.task)
    backbone = load_backbone(cfg.model, task)
    plain, adapter = tmp_path / "plain", tmp_path / "adapter"
    backbone.model.save_pretrained(plain)
    backbone.model.config.save_pretrained(adapter)
    for folder in (plain, adapter):
        backbone.processor.save_pretrained(folder)
    config = GoftConfig(target_modules=cfg.model.target_modules, init_weights=False)
    get_peft_model(backbone.model, config).save_pretrained(str(adapter))

    merged_text = merged_snippet(task, str(plain))
    assert "goft" not in merged_text.replace(str(plain), "")
    adapter_text = adapter_snippet(task, str(adapter), cfg.model.path, "GOFT")
    for text in (merged_text, adapter_text):
        scope: dict[str, Any] = {}
        capsys.readouterr()
        exec(text, scope)
        assert capsys.readouterr().out
        assert not scope["model"].training
