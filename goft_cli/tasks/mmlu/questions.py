"""Questions with four answers, from the hub's rows or the original csv files, and their prompts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset

from goft_cli.config import MMLUConfig, Overflow
from goft_cli.config.labels import Labels
from goft_cli.data.files import SAVED, read_content
from goft_cli.data.formats import Layout, parse
from goft_cli.data.sources import read_splits
from goft_cli.data.table import Table, require_columns
from goft_cli.system.errors import GoftError
from goft_cli.tasks.base import TaskData
from goft_cli.tasks.tokens import Tokenizer

LETTERS = "ABCD"
ANSWERS = Labels(LETTERS)
FIELDS = ("subject", "question", "choices", "answer")
# The benchmark's csv files; a row's subject is in the name of its file.
CSV = Layout(raw_columns=["question", *LETTERS, "answer"])
ASKS = "Answer:"
"""Last line of every prompt."""

Order = tuple[int, ...]
"""Indices of a subject's few-shot examples before a question, in order."""


@dataclass(frozen=True)
class Question:
    """One question; `answer` is the index of the right choice among the four."""

    subject: str
    question: str
    choices: Sequence[str]
    answer: int


def read_questions(config: MMLUConfig) -> TaskData:
    """Read the few-shot examples and the questions."""
    names = [config.train_split, config.headline_split]
    folder = Path(config.data_dir).expanduser() if config.data_dir else None
    if folder and has_tables(folder / config.headline_split):
        found, provenance = _read_csv_folder(folder, names)
    else:
        tables, provenance = read_splits(config.dataset, names, config.data_dir, Layout())
        found = {name: list(_questions(table)) for name, table in tables.items()}
    kept = {name: _as_loaded(questions, config) for name, questions in found.items()}
    if not kept[config.headline_split]:
        least = "two of a subject, whose first is dropped" if config.drop_first_rows else "one"
        raise GoftError(
            f"task {config.name}: no questions in {config.headline_split}",
            f"expected at least {least}",
        )
    splits = {name: Dataset.from_list(list(map(asdict, rows))) for name, rows in kept.items()}
    return TaskData(splits, provenance)


def has_tables(split: Path) -> bool:
    """Tell a split's folder of csv files from one that `save_to_disk` wrote."""
    return split.is_dir() and not (split / SAVED).is_file()


def by_subject(questions: Iterable[Question]) -> dict[str, list[Question]]:
    """Return the questions of each subject in their order, and subjects in alphabetical order."""
    subjects: dict[str, list[Question]] = {}
    for question in questions:
        subjects.setdefault(question.subject, []).append(question)
    return dict(sorted(subjects.items()))


def _as_loaded(questions: Iterable[Question], config: MMLUConfig) -> list[Question]:
    """Return what the protocol's loader would return."""
    kept: list[Question] = []
    for rows in by_subject(questions).values():
        left = rows[1:] if config.drop_first_rows else rows
        kept += as_pandas_reads(left) if config.pandas_cells else left
    if config.strip_questions:
        return [replace(question, question=question.question.strip()) for question in kept]
    return kept


def _read_csv_folder(
    folder: Path, splits: Sequence[str]
) -> tuple[dict[str, list[Question]], dict[str, Any]]:
    """Read `SPLIT/SUBJECT_SPLIT.csv` of every subject."""
    found: dict[str, list[Question]] = {split: [] for split in splits}
    sha256: dict[str, str] = {}
    for split in splits:
        for path in sorted((folder / split).glob(f"*_{split}.csv")):
            content, sha256[path.relative_to(folder).as_posix()] = read_content(path)
            subject = path.stem.removesuffix(f"_{split}")
            found[split] += _questions(_with_subject(parse(content, path, CSV), subject))
        if not found[split]:
            raise GoftError(
                f"task.data_dir={folder}: no questions in {split}",
                f"expected files such as {split}/anatomy_{split}.csv",
            )
    return found, {"source": str(folder.resolve()), "sha256": sha256}


def _with_subject(table: Table, subject: str) -> Table:
    """Rename the columns of a csv file to those of the hub."""
    question, *options, answer = map(list, table.columns.values())
    choices = [list(texts) for texts in zip(*options, strict=True)]
    columns = ([subject] * len(question), question, choices, answer)
    return Table(table.origin, dict(zip(FIELDS, columns, strict=True)), table.lines)


def _questions(table: Table) -> Iterator[Question]:
    require_columns(table, FIELDS, "rename the columns, or pass the benchmark's csv files")
    for index, values in enumerate(zip(*map(table.named, FIELDS), strict=True)):
        yield _checked(*values, place=table.place(index))


def _checked(subject: Any, question: Any, choices: Any, answer: Any, *, place: str) -> Question:  # noqa: ANN401
    """Check one row; the answer is a letter, or its index counted from 0."""
    texts = [subject, question, *(choices if isinstance(choices, list) else [])]
    if len(texts) != 2 + len(LETTERS) or not all(isinstance(text, str) for text in texts):
        raise GoftError(
            f"{place}: expected the texts of a subject, a question and {len(LETTERS)} choices, "
            f"found {texts}",
            "correct the row",
        )
    right = ANSWERS.id_of(answer)
    if right is None:
        raise GoftError(
            f"{place}: the answer is {answer!r}, expected one of {', '.join(LETTERS)}",
            "correct the row",
        )
    return Question(subject, question, choices, right)


class Shuffles:
    """The permutations that repeated calls of `Dataset.shuffle()` without a seed draw.

    The next word of numpy's global generator seeds each; the generator then advances by one.
    """

    def __init__(self, seed: int) -> None:
        self.generator = np.random.RandomState(seed)

    def draw(self, count: int) -> list[int]:
        """Return the next permutation of `count` indices."""
        state = self.generator.get_state(legacy=False)["state"]
        words, position = state["key"], state["pos"]
        seed = words[position % len(words)]
        self.generator.random_sample()
        return np.random.default_rng(seed).permutation(count).tolist()


def as_pandas_reads(questions: Sequence[Question]) -> list[Question]:
    """Return one file's questions with their texts as `pandas.read_csv` reads the cells.

    A cell such as None or N/A becomes nan, and in a column of numbers alone 0.50 becomes 0.5.
    """
    import pandas as pd

    if not questions:
        return []
    table = io.StringIO(newline="")
    csv.writer(table).writerows([question.question, *question.choices] for question in questions)
    table.seek(0)
    read = pd.read_csv(table, header=None).to_dict("records")
    texts = [[str(cell) for cell in row.values()] for row in read]
    return [
        replace(question, question=text, choices=choices)
        for question, (text, *choices) in zip(questions, texts, strict=True)
    ]


@dataclass(frozen=True)
class Prompt:
    """A question as the model takes it.

    Attributes:
        ids: (length,) int32 token ids.
        exemplars: the few-shot examples that fit; all of them if the prompt is cut on the left.
        shortened: whether the model could not take all of it.
    """

    ids: np.ndarray
    exemplars: Order
    shortened: bool


@dataclass(frozen=True)
class Prompter:
    """Writes and tokenizes the prompts of one subject.

    Attributes:
        header: first line of each prompt, with `{subject}` for the subject's name; empty for none.
        limit: most tokens that the model takes.
        overflow: what is removed from a prompt with more tokens.
    """

    header: str
    exemplars: Sequence[Question]
    tokenizer: Tokenizer
    limit: int
    overflow: Overflow

    def text(self, question: Question, exemplars: Order) -> str:
        """Write a prompt; blank lines stand between its parts."""
        name = question.subject.replace("_", " ")
        opening = [self.header.replace("{subject}", name)] if self.header else []
        shown = [self.exemplars[index] for index in exemplars]
        solved = [f"{question_text(one)} {LETTERS[one.answer]}" for one in shown]
        return "\n\n".join([*opening, *solved, question_text(question)])

    def encode(self, questions: Sequence[Question], orders: Sequence[Order]) -> list[Prompt]:
        """Tokenize each prompt; drop few-shot examples or first tokens if it is too long."""
        drafts = list(zip(questions, orders, strict=True))
        encoded = self._tokens([self.text(*draft) for draft in drafts])
        return [self._fitted(*draft, ids) for draft, ids in zip(drafts, encoded, strict=True)]

    def _fitted(self, question: Question, exemplars: Order, ids: list[int]) -> Prompt:
        shortened = len(ids) > self.limit
        if self.overflow is Overflow.cut_left:
            ids = ids[-self.limit :]
        while len(ids) > self.limit:
            if not exemplars:
                raise GoftError(
                    f"{question.subject}: the model takes {self.limit} tokens, found a question "
                    f"of {len(ids)} ({question.question[:40]!r}...)",
                    "choose another model",
                )
            exemplars = exemplars[:-1]
            (ids,) = self._tokens([self.text(question, exemplars)])
        return Prompt(np.asarray(ids, dtype=np.int32), exemplars, shortened)

    def _tokens(self, texts: list[str]) -> list[list[int]]:
        return self.tokenizer(texts, return_attention_mask=False, verbose=False)["input_ids"]


def question_text(question: Question) -> str:
    """Write the question, its lettered choices, and the line `Answer:`."""
    options = zip(LETTERS, question.choices, strict=True)
    return "\n".join([question.question, *(f"{key}. {text}" for key, text in options), ASKS])


def answer_tokens(tokenizer: Tokenizer) -> list[int]:
    """Return the token of each answer, which its letter adds to the end of a prompt."""
    texts = [ASKS, *(f"{ASKS} {letter}" for letter in LETTERS)]
    asks, *answered = tokenizer(texts, add_special_tokens=False)["input_ids"]
    added = [ids[len(asks) :] for ids in answered]
    if {len(ids) for ids in added} != {1} or len({ids[0] for ids in added}) != len(LETTERS):
        raise GoftError(
            f"the tokenizer does not tell {', '.join(LETTERS)} apart by one token after {ASKS!r}, "
            f"found the tokens {added}",
            "choose a model whose vocabulary has these letters",
        )
    return [token for (token,) in added]
