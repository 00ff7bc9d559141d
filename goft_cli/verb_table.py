"""The words that a user types after `goft`, and what `goft --help` says of them."""

from __future__ import annotations

from goft_cli import __version__
from goft_cli.system.errors import CRASH, FAILED_JOBS, USAGE_ERROR

VERBS = {
    "train": "fine-tune a model on a task with an adapter, evaluate it, save it, merge it",
    "plan": "parameters, updates, memory and time of a run before it starts, without weights",
    "compare": "adapters side by side: runs over seeds, paired differences, table, figure",
    "eval": "score a trained run again, or a run or a model on a benchmark",
    "predict": "label or answer texts with a run: goft predict adapter=RUN_FOLDER input=FILE",
    "merge": "write the run as a plain model, certified: goft merge adapter=RUN_FOLDER",
    "verify": "recheck a run: digests, scores, merged model, certificate: goft verify RUN_FOLDER",
    "push": "upload a run to the hub, private unless told: goft push adapter=RUN_FOLDER repo=NAME",
    "report": "one page on runs, their curves and what turned: goft report runs=FOLDER",
    "reproduce": "run a result of the paper, and compare: goft reproduce table1/cola/qgoft",
    "doctor": "check machine and configuration before they hurt; exits 1 if something is to mend",
    "fetch": "bring a configuration's model and data to a folder: goft fetch output_dir=DIR ...",
}
WITHOUT_CONFIG = {"reproduce"}
"""Verbs that read their words themselves; the others compose `configs/VERB.yaml`."""


def help_text() -> str:
    """Return what `goft --help` prints."""
    verbs = "\n".join(f"  {name:<11}{summary}" for name, summary in VERBS.items())
    return f"""goft {__version__}: fine-tune with exact Givens rotations (GOFT, qGOFT)

usage: goft VERB [group=choice ...] [key=value ...]

{verbs}

  goft train                                         the offline demo, about a minute on two cores
  goft train task=glue/cola model=deberta-v3-base    the paper's GLUE recipe for CoLA
  goft train -m adapter=goft,qgoft,lora seed=1,2,3   a sweep
  goft eval adapter=RUN_FOLDER                       a trained run on its own task again
  goft eval task=mmlu/full shots=5 adapter=RUN_FOLDER     a trained run on a benchmark
  goft verify RUN_FOLDER                             whether all that a run recorded still holds
  goft reproduce list                                every result of the paper that has a recipe
  goft doctor task=glue/cola model=deberta-v3-base offline=true    would this run unplugged?
  goft train --help                                  every choice and key of a verb
  goft train --cfg job --resolve                     the composed configuration, without running it

  --debug shows the traceback of an error; --version prints the version
  exit codes: 0 done, {CRASH} a crash, or what doctor or verify found, {USAGE_ERROR} a mistake,
  {FAILED_JOBS} jobs of a sweep failed, 130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP
  eval "$(goft train --shell-completion install=bash)" completes verbs, groups and keys
"""
