"""GOFT and qGOFT as PEFT's tests name a method; `peft_tests.py` puts these into their lists."""

from __future__ import annotations

from typing import Any

from goft_cli.tuner import GoftConfig

METHODS: dict[str, dict[str, Any]] = {
    "GOFT": {},
    "GOFT scaled": {"scale": True, "angle": "direct"},
    "qGOFT": {"method": "qgoft"},
}

TARGETS: list[tuple[str, dict[str, Any]]] = [
    ("MLP", {"target_modules": "lin0"}),
    ("MLP", {"target_modules": ["lin0"]}),
    ("MLP", {"target_modules": ["lin1"]}),
    ("MLP", {"target_modules": ["lin0", "lin1"]}),
    ("MLP", {"target_modules": ["lin0"], "modules_to_save": ["lin1"]}),
    ("EmbConv1D", {"target_modules": ["conv1d"]}),
]


def alone() -> list[tuple[str, str, type[GoftConfig], dict[str, Any]]]:
    """Each method on layers of PEFT's small custom models."""
    return [
        (f"{model} {number} {method}", model, GoftConfig, {**targets, **options})
        for method, options in METHODS.items()
        for number, (model, targets) in enumerate(TARGETS)
    ]


def in_pairs() -> list[tuple[str, str, type[GoftConfig], dict[str, Any], dict[str, Any]]]:
    """Two active adapters, on the same layer and on two."""
    return [
        (
            f"{method} {name}",
            "goft",
            GoftConfig,
            {"target_modules": ["lin0"], "init_weights": False, **options},
            {"target_modules": [second], "init_weights": False, **options},
        )
        for method, options in METHODS.items()
        for name, second in (("Same", "lin0"), ("Different", "lin1"))
    ]


def on_transformers(task_type: str) -> list[tuple[type[GoftConfig], dict[str, Any]]]:
    """Each method on the modules that it adapts by default."""
    shared = {"task_type": task_type, "target_modules": None}
    return [(GoftConfig, {**shared, **options}) for options in METHODS.values()]


CASES: dict[str, dict[str, list[Any]]] = {
    "test_custom_models.py": {
        "TEST_CASES": alone(),
        "MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES": in_pairs(),
    },
    "test_decoder_models.py": {"ALL_CONFIGS": on_transformers("CAUSAL_LM")},
    "test_encoder_decoder_models.py": {"ALL_CONFIGS": on_transformers("SEQ_2_SEQ_LM")},
    "test_feature_extraction_models.py": {"ALL_CONFIGS": on_transformers("FEATURE_EXTRACTION")},
    "test_seq_classifier.py": {"ALL_CONFIGS": on_transformers("SEQ_CLS")},
    "test_config.py": {
        "ALL_CONFIG_CLASSES": [(GoftConfig, {"method": name}) for name in ("goft", "qgoft")]
    },
}
"""What is added to which list of which file."""
