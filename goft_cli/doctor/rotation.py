"""Which engine turns the vectors of GOFT and qGOFT on this machine."""

from __future__ import annotations

import warnings

import torch

from goft_cli.config import GoftAdapterConfig, TrainConfig
from goft_cli.rotation import compiled, forced_engine
from goft_cli.rotation.engines import EngineError, choose_engine
from goft_cli.system.tables import Finding, Verdict

SUBJECT = "rotation"
DIM = 768


def examine_rotation(cfg: TrainConfig) -> Finding:
    """Choose as the run would: what is compiled at first use is compiled now."""
    if not isinstance(cfg.adapter, GoftAdapterConfig):
        return Finding(SUBJECT, Verdict.ok, "none")
    on_gpu = torch.cuda.is_available() and not cfg.trainer.use_cpu
    dtype = getattr(torch, cfg.model.dtype.value)
    x = torch.empty(1, DIM, dtype=dtype, device="cuda" if on_gpu else "cpu")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            engine = choose_engine(x)
        except EngineError as error:
            return Finding(SUBJECT, Verdict.mend, error.problem, error.remedy)
    if said:
        return Finding(SUBJECT, Verdict.note, str(said[0].message))
    chosen = forced_engine() == "auto"
    if chosen and engine == "blocked" and compiled.has_team() and not compiled.can_build():
        found = f"{engine} engine, for there is no C compiler ({compiled.command()[0]})"
        return Finding(SUBJECT, Verdict.note, found, "install gcc or clang, or let CC name one")
    return Finding(SUBJECT, Verdict.ok, f"{engine} engine")
