"""GoftConfig refuses wrong options with one sentence, and is read back equal from its file."""

from __future__ import annotations

import json
import pickle
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftConfig
from peft.utils import PeftType

from goft_cli import GoftConfig, GoftModel
from goft_cli.config import GoftAdapterConfig
from goft_cli.config.choices import PENALTY_WEIGHT
from goft_cli.config.choices import Method as Choice
from goft_cli.tuner import register_goft
from goft_cli.tuner.config import Method

names = st.text("abcdefgh_", min_size=1, max_size=6)


@st.composite
def configs(draw: st.DrawFn) -> GoftConfig:
    targets = draw(st.lists(names, min_size=1, max_size=5) | names)
    layers = None if isinstance(targets, str) else draw(st.none() | st.lists(st.integers(0, 30)))
    method = draw(st.sampled_from(get_args(Method)))
    return GoftConfig(
        method=method,
        angle=draw(st.sampled_from(["tanh", "direct"])),
        scale=draw(st.booleans()),
        penalty_weight=draw(st.none() | st.floats(0, 10)) if method == "qgoft" else None,
        target_modules=targets,
        exclude_modules=draw(st.none() | st.lists(names, max_size=3)),
        modules_to_save=draw(st.none() | st.lists(names, max_size=3)),
        layers_to_transform=layers,
    )


@given(configs())
def test_json_gives_the_same_config_and_the_same_file(config: GoftConfig) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        first = (Path(folder) / "adapter_config.json").read_bytes()
        loaded = PeftConfig.from_pretrained(folder)
        assert loaded == config
        loaded.save_pretrained(folder)
        assert (Path(folder) / "adapter_config.json").read_bytes() == first


@pytest.mark.parametrize(("method", "found"), [("goft", 0.0), ("qgoft", PENALTY_WEIGHT)])
def test_the_penalty_has_one_default(method: Method, found: float) -> None:
    assert GoftConfig(method=method).penalty_weight == found
    assert GoftConfig(method=method, penalty_weight=0).penalty_weight == 0
    assert GoftAdapterConfig(name="a", method=Choice(method)).penalty_weight == found


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("kind", [GoftConfig, PeftConfig])
def test_a_strict_adapter_that_was_saved_with_a_penalty_opens(
    tmp_path: Path, weight: float, kind: type[PeftConfig]
) -> None:
    config = GoftConfig(target_modules=["query"])
    config.save_pretrained(str(tmp_path))
    file = tmp_path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"penalty_weight": weight}))
    assert kind.from_pretrained(str(tmp_path)) == config


def test_names_are_saved_in_order(tmp_path: Path) -> None:
    config = GoftConfig(target_modules=["value", "key", "query"])
    assert config.to_dict()["target_modules"] == ["key", "query", "value"]


def test_the_method_is_a_member_of_the_enum_of_peft() -> None:
    config = GoftConfig()
    assert config.peft_type is PeftType("GOFT") is PeftType["GOFT"]
    assert PeftType("GOFT") in list(PeftType)
    assert pickle.loads(pickle.dumps(config)) == config
    assert asdict(config)["peft_type"] == "GOFT"


def test_registering_again_changes_nothing_and_a_rival_is_refused() -> None:
    register_goft(GoftConfig, GoftModel)
    with pytest.raises(RuntimeError, match=r"GOFT: .*goft_cli"):
        register_goft(PeftConfig, GoftModel)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"method": "oft"}, "method='oft' is unknown; choose one of goft, qgoft"),
        ({"angle": "sin"}, "angle='sin' is unknown; choose one of tanh, direct"),
        ({"method": "qgoft", "penalty_weight": -1}, "penalty_weight=-1.*>= 0"),
        ({"method": "qgoft", "penalty_weight": float("nan")}, "penalty_weight=nan.*finite"),
        ({"method": "qgoft", "penalty_weight": "0.1"}, "penalty_weight='0.1'.*number"),
        ({"penalty_weight": 0.1}, "penalty_weight=0.1.*method='goft'.*method='qgoft'"),
        (
            {"target_modules": ".*q", "layers_to_transform": [0]},
            r"layers_to_transform cannot narrow target_modules='\.\*q'",
        ),
        (
            {"target_modules": "all-linear", "layers_pattern": "layers"},
            "layers_pattern cannot narrow target_modules='all-linear'",
        ),
        (
            {"target_modules": ["q"], "layers_pattern": "layers"},
            "layers_pattern='layers' selects nothing without layers_to_transform",
        ),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        GoftConfig(**options)
