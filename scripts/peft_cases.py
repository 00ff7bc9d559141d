"""Cases of GOFT and qGOFT in the form of PEFT's tests; `peft_tests.py` adds them to those."""

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


def single_adapter_cases() -> list[tuple[str, str, type[GoftConfig], dict[str, Any]]]:
    """Return cases of each method on layers of PEFT's small custom models."""
    return [
        (f"{model} {number} {method}", model, GoftConfig, {**targets, **options})
        for method, options in METHODS.items()
        for number, (model, targets) in enumerate(TARGETS)
    ]


def adapter_pair_cases() -> list[tuple[str, str, type[GoftConfig], dict[str, Any], dict[str, Any]]]:
    """Return cases of two active adapters, on the same layer and on two layers."""
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


def transformer_cases(task_type: str) -> list[tuple[type[GoftConfig], dict[str, Any]]]:
    """Return cases of each method on the modules that it adapts by default."""
    shared = {"task_type": task_type, "target_modules": None}
    return [(GoftConfig, {**shared, **options}) for options in METHODS.values()]


CASES: dict[str, dict[str, list[Any]]] = {
    "test_custom_models.py": {
        "TEST_CASES": single_adapter_cases(),
        "MULTIPLE_ACTIVE_ADAPTERS_TEST_CASES": adapter_pair_cases(),
    },
    "test_decoder_models.py": {"ALL_CONFIGS": transformer_cases("CAUSAL_LM")},
    "test_encoder_decoder_models.py": {"ALL_CONFIGS": transformer_cases("SEQ_2_SEQ_LM")},
    "test_feature_extraction_models.py": {"ALL_CONFIGS": transformer_cases("FEATURE_EXTRACTION")},
    "test_seq_classifier.py": {"ALL_CONFIGS": transformer_cases("SEQ_CLS")},
    "test_config.py": {
        "ALL_CONFIG_CLASSES": [(GoftConfig, {"method": name}) for name in ("goft", "qgoft")]
    },
}
"""The cases to add, by test file and by the name of a list in it."""
