"""Words on a command line: the verbs, the nearest known word, and quotes for Hydra."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from goft_cli.system import __version__
from goft_cli.system.errors import CRASH, FAILED_JOBS, USAGE_ERROR, GoftError

VERBS = {
    "train": "fine-tune a model on a task with an adapter, evaluate it, save it, merge it",
    "init": "write a task YAML for your own data: goft init data=reviews.csv",
    "plan": "forecast parameters, updates, memory and time of a run, without its weights",
    "compare": "compare adapters: runs over seeds, paired differences, table, figure",
    "eval": "score a trained run again, or a run or a model on a benchmark",
    "rewind": "score a run at fractions of its strength, choose one: goft rewind RUN_FOLDER",
    "predict": "label or answer texts with a run: goft predict RUN_FOLDER input=FILE",
    "chat": "chat with a run in the terminal: goft chat RUN_FOLDER",
    "merge": "write the run as a plain model, certified: goft merge RUN_FOLDER",
    "verify": "recheck a run: digests, scores, merged model, certificate: goft verify RUN_FOLDER",
    "push": "upload a run to the hub, private unless told: goft push RUN_FOLDER repo=NAME",
    "report": "write a page on runs: scores, curves, rotations: goft report RUN_FOLDER",
    "reproduce": "run a recipe of the paper and compare: goft reproduce table1/cola/qgoft",
    "doctor": "check machine and configuration before a run; exits 1 if it would fail",
    "schema": "write JSON Schemas with which an editor checks YAML files: goft schema",
    "fetch": "download a configuration's model and data: goft fetch output_dir=DIR ...",
}
WITHOUT_CONFIG = {"reproduce"}
"""Verbs that parse their own arguments; the others compose `configs/VERB.yaml`."""
MAX_LISTED = 20
LIKE = 0.75
"""Share of equal letters from which one word is taken for a misspelling of another."""
FREE_TEXTS = {"predict": "text"}
"""By verb, the key whose value is free text, taken literally."""
SHORT = {
    "data": "task.data_dir",
    "validation": "task.own.validation",
    "split": "task.own.split",
    "group": "task.own.group",
    "text": "task.text_columns",
    "label": "task.label_column",
    "max_train_samples": "task.max_train_samples",
    "max_eval_samples": "task.max_eval_samples",
    "class_weights": "task.class_weights",
    "loss_on": "task.loss_on",
    "streaming": "task.streaming",
}
"""Keys of a task by their short forms."""
DATA_FILE = r".*\.(?i:tsv|csv|jsonl?|parquet|conllu?|bio|arrow|feather|txt|xlsx?|gz|zip)"
"""A name with an ending of `goft_cli.data.formats.PARSERS`, whose import is slow, or a like one."""
HUB_ID = re.compile(rf"(?!{DATA_FILE}$)\w[\w.-]*/\w[\w.-]*")
OF_LM_EVAL = ("tasks", "include_path", "num_fewshot", "limit", "apply_chat_template")
BENCHMARK = {
    "eval": {"benchmark": "task", **{key: f"task.{key}" for key in OF_LM_EVAL}},
    "train": {key: f"benchmark.{key}" for key in OF_LM_EVAL},
}
"""Keys of the benchmark by their short forms, by verb."""
LISTS = {"task.text_columns", "task.tasks", "benchmark.tasks"}
"""Keys whose value is a list, even of one item."""
IN_QUOTES = re.compile(r"""(["'])(?:\\.|(?!\1)[^\\])*\1""", re.DOTALL)
INTERPOLATION = re.compile(r"(\\*)\$\{")
ITEM, ITEM_OF_MAPPING = re.compile(r"[^,\[\]()]+"), re.compile(r"[^,\[\]{}():]+")


def help_text() -> str:
    """Return what `goft --help` prints."""
    verbs = "\n".join(f"  {name:<11}{summary}" for name, summary in VERBS.items())
    return f"""goft {__version__}: fine-tune with exact Givens rotations (GOFT, qGOFT)

usage: goft VERB [group=choice ...] [key=value ...]

{verbs}

  goft train                                         the offline demo, about a minute on two cores
  goft train task=own/classification data=FILE       texts and labels of your own, as a table
  goft train task=glue/cola model=deberta-v3-base    the paper's GLUE recipe for CoLA
  goft train -m adapter=goft,qgoft,lora seed=1,2,3   a sweep
  goft eval RUN_FOLDER                               score a trained run on its task again
  goft eval RUN_FOLDER task=mmlu/full shots=5        score a trained run on a benchmark
  goft verify RUN_FOLDER                             recheck all records of a run
  goft reproduce list                                every result of the paper that has a recipe
  goft doctor task=glue/cola model=deberta-v3-base offline=true    would this run offline?
  goft train --help                                  every choice and key of a verb
  goft train --cfg job --resolve                     the composed configuration, without running it

  --debug shows the traceback of an error; --version prints the version
  exit codes: 0 done, {CRASH} a crash, or a finding of doctor or verify, {USAGE_ERROR} a user error,
  {FAILED_JOBS} jobs of a sweep failed, 130 ended by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP
  eval "$(goft train --shell-completion install=bash)" completes verbs, groups and keys
"""


def nearest(word: str, options: Collection[str]) -> str | None:
    """Return the option that a word most likely stands for, or None if none is near.

    A word stands for an option that it misspells (`lerning_rate`), of which it is the initials
    (`lr`) or some words (`epochs` for `num_train_epochs`), whose words it has beside others
    (`max_seq_length` for `max_length`), or whose beginning it is, or the other way round.
    """
    alike = difflib.get_close_matches(word, options, n=1, cutoff=LIKE)
    parts = set(words_of(word))
    initials = [name for name in options if "".join(part[0] for part in words_of(name)) == word]
    longer = [name for name in options if parts and parts <= set(words_of(name))]
    shorter = [name for name in options if len(words_of(name)) > 1 and set(words_of(name)) <= parts]
    by_words = sorted([*longer, *shorter], key=lambda name: len(words_of(name)))
    begun = [name for name in options if word.startswith(name) or name.startswith(word)]
    swapped = [name for name in options if sorted(name) == sorted(word)]
    found = [*swapped, *alike, *initials, *by_words, *begun]
    return found[0] if found and len(word) > 1 else None


def words_of(name: str) -> list[str]:
    """Split a name into its words."""
    return re.findall(r"[a-z0-9]+", name.lower())


def did_you_mean(word: str, choices: Iterable[str], *, prefix: str = "") -> str:
    """Return the nearest choice as a question, or else the list of choices.

    A choice is also known by its last part (`cola` for `glue/cola`), and the choices of a folder by
    the folder's name.
    """
    options = sorted(set(choices))
    inside = [option for option in options if option.startswith(f"{word}/")]
    if inside:
        return listed(inside)
    tails = {option.rpartition("/")[2]: option for option in options}
    near = tails.get(word) or nearest(word, options) or tails.get(nearest(word, tails) or "")
    return f"did you mean {prefix}{near}?" if near else listed(options)


def nearest_key(key: str, keys: Sequence[str]) -> str:
    """Return the nearest key as a question, or else the keys of its section.

    A key of the same section comes first, then one of the same name in another section, then any.
    """
    section, _, leaf = key.rpartition(".")
    siblings, everywhere = by_last_name(keys, section), by_last_name(keys)
    near = (
        siblings.get(nearest(leaf, siblings) or "")
        or everywhere.get(leaf)
        or everywhere.get(nearest(leaf, everywhere) or "")
    )
    if near:
        return f"did you mean {near}?"
    names = sorted(name for name in siblings if not name.startswith("+"))
    of_section = f"keys of {section} are" if section else "the first part of a key is one of"
    return f"{of_section} {', '.join(names)}" if names else "see --help for the keys"


def by_last_name(keys: Sequence[str], section: str | None = None) -> dict[str, str]:
    """Return keys, of one section or of all, by their last names; of equal ones the shortest."""
    split = {key: key.rpartition(".") for key in sorted(keys, key=len, reverse=True)}
    return {last: key for key, (place, _, last) in split.items() if section in {None, place}}


def listed(options: Sequence[str]) -> str:
    """Return the first options of a list."""
    more = ", ..." if len(options) > MAX_LISTED else ""
    return f"expected one of {', '.join(options[:MAX_LISTED])}{more}"


def in_quotes(text: str) -> str:
    """Quote a text so that Hydra reads it back as it is."""
    # a backslash counts as one only before a quotation mark and at the end
    text = re.sub(r"\\+(?='|$)", lambda found: found[0] * 2, text)
    return "'" + text.replace("'", "\\'") + "'"


def spelled(value: object) -> str:
    """Write a Python value as it is typed in an override, so that Hydra reads the same back.

    A text keeps its plain form where that is read as the same text, for a run's folder is named
    after it.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Enum):
        return spelled(value.name)
    if isinstance(value, str | os.PathLike):
        return spelled_text(os.fspath(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{spelled(one)}" for key, one in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f"[{','.join(map(spelled, value))}]"
    number = getattr(value, "item", lambda: value)()  # of numpy and torch
    if isinstance(number, int | float):
        return repr(number)
    raise GoftError(
        f"found a {type(value).__name__}", "expected a text, a number, a list or a mapping of them"
    )


def spelled_text(text: str) -> str:
    """Return a text as it is if Hydra reads it so, in a list and alone, else in quotes."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    if text and "${" not in text and not set(text) & set("\\:'\""):
        try:
            if OverridesParser.create().parse_override(f"key=[{text}]").value() == [text]:
                return text
        except HydraException:  # its grammar has no such word
            pass
    return in_quotes(INTERPOLATION.sub(lambda found: found[1] * 2 + "\\${", text))


def in_full(verb: str, word: str) -> str:
    """Write out an override's short key of the task or of the benchmark.

    A value in the form of a hub id is one unless it is a path on this machine.
    """
    key, equals, value = word.partition("=")
    full = SHORT.get(key) or BENCHMARK.get(verb, {}).get(key)
    if key == "data" and HUB_ID.fullmatch(value) and not Path(value).exists():
        full = "task.dataset.id"
    if full is None or not equals:
        return word
    listed = full in LISTS and value and not value.startswith(("[", "$"))
    return f"{full}=[{value}]" if listed else f"{full}={value}"


def verbatim(verb: str, word: str) -> str:
    """Quote a free text, with `${` escaped; a text in quotes keeps them."""
    key, _, value = word.partition("=")
    if key.lstrip("+") != FREE_TEXTS.get(verb) or value in {"", "null"}:
        return word
    literal = INTERPOLATION.sub(lambda found: found[1] * 2 + "\\${", value)
    return f"{key}={literal if IN_QUOTES.fullmatch(value) else in_quotes(literal)}"


def lettered(word: str) -> str:
    """Quote a value, or the items of a list or mapping, that have letters beyond ASCII.

    A value with quotes or with something to be computed is left as it is.
    """
    key, equals, value = word.partition("=")
    if value.isascii() or word.startswith("-") or set(value) & set("'\"$"):
        return word
    item = ITEM_OF_MAPPING if "{" in value else ITEM
    return key + equals + item.sub(_lettered_item, value)


def _lettered_item(found: re.Match[str]) -> str:
    text = found[0].strip()
    return found[0] if text.isascii() else found[0].replace(text, in_quotes(text))
