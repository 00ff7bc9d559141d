"""Measures on texts: perplexity and KL on prose, and similarity of pairs as people see it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from scipy.stats import rankdata
from torch import Tensor
from transformers import DataCollatorWithPadding

from goft_cli.config.labels import identity
from goft_cli.data.columns import PAIRS, described, find_label, find_text
from goft_cli.data.files import read_content, read_file
from goft_cli.data.formats import Layout
from goft_cli.data.table import texts
from goft_cli.models.backbone import CAUSAL_LM
from goft_cli.run.forgetting.features import Rows, autocast, base_only
from goft_cli.run.trained import TrainedRun
from goft_cli.system.errors import GoftError
from goft_cli.system.locations import PACKAGE
from goft_cli.system.screen import counting
from goft_cli.tasks.tokens import Tokenizer, text_start, usable_positions

PROSE = PACKAGE / "assets" / "reference.txt"
"""A few kilobytes of English that the project wrote for this."""
KL = "text/kl"
WINDOW = 512
"""The most tokens in a window of prose, and in a text of a pair."""
PART = 64
"""Token positions whose float32 probabilities over the vocabulary are in memory at once."""


@dataclass(frozen=True)
class Window:
    """Some tokens of a text; `first` is the position of the first one that is predicted."""

    ids: list[int]
    first: int


class Prose:
    """Perplexity of a reference text, and the adapted model's KL divergence from the base.

    The text is cut into windows of up to 512 tokens that do not overlap, each beginning with what
    the tokenizer itself puts before a text, such as a bos token. Each token is predicted from those
    before it in its window; where nothing stands before the first one, it is not predicted.
    `perplexity` is exp of the mean negative log-likelihood, each predicted token counting alike;
    `kl` is the mean over the same positions of the Kullback-Leibler divergence KL(base || adapted),
    the sum of p log(p / q) over the vocabulary, in nats: 0 where nothing changed.
    """

    def __init__(self, run: TrainedRun, file: str | None) -> None:
        if run.task.auto_class != CAUSAL_LM:
            raise GoftError(
                f"retain=text: the model of task {run.task.config.name} does not generate text",
                "pass retain=auto, or retain=cka",
            )
        self._run = run
        self._windows = windows(run, PROSE if file is None else Path(file).expanduser())
        with base_only(run.model):
            loss, _ = self._means("text, base model", compare=False)
        self.base = {"text/perplexity": math.exp(loss)}

    def measure(self) -> dict[str, float]:
        """Run the base and the model as it stands over one window after another."""
        loss, divergence = self._means("text", compare=True)
        return {"text/perplexity": math.exp(loss), KL: divergence}

    def _means(self, title: str, *, compare: bool) -> tuple[float, float]:
        """Return the mean loss of the model, and its mean divergence from the base."""
        sums, places = torch.zeros(2, dtype=torch.float64), 0
        with counting(title, len(self._windows)) as advance:
            for window in self._windows:
                own, base = self._logits(window), None
                if compare:
                    with base_only(self._run.model):
                        base = self._logits(window)
                ids = torch.tensor(window.ids[window.first :], device=own.device)
                sums += loss_and_divergence(own, own if base is None else base, ids)
                places += len(ids)
                advance(1)
        return float(sums[0] / places), float(sums[1] / places)

    @torch.inference_mode()
    def _logits(self, window: Window) -> Tensor:
        """Return the (positions, vocabulary) logits of the tokens that are predicted."""
        run, device = self._run, self._run.arguments(1).device
        model = run.model.to(device).eval().get_base_model()
        with autocast(run, device):
            found = model(input_ids=torch.tensor([window.ids], device=device)).logits[0]
        return found[window.first - 1 : -1]


def loss_and_divergence(own: Tensor, base: Tensor, ids: Tensor) -> Tensor:
    """Sum up -log q(id) and KL(p || q) over the positions: (2,) in float64, on the CPU.

    q and p are the distributions of the (positions, vocabulary) logits `own` and `base`. Logits
    become float32 a few positions at a time, for a vocabulary is wide.
    """
    sums = torch.zeros(2, dtype=torch.float64)
    for at in range(0, len(ids), PART):
        part = slice(at, at + PART)
        log_q, log_p = (one[part].float().log_softmax(dim=-1) for one in (own, base))
        loss = -log_q.gather(1, ids[part].unsqueeze(1)).double().sum()
        divergence = (log_p.exp() * (log_p - log_q)).sum(dim=-1).double().sum()
        sums += torch.stack([loss, divergence]).cpu()
    return sums


def windows(run: TrainedRun, path: Path) -> list[Window]:
    """Cut a text file into windows of token ids."""
    try:
        text = read_content(path)[0].decode()
    except UnicodeDecodeError as error:
        raise GoftError(f"{path}: byte {error.start} is not UTF-8", "save it as UTF-8") from None
    tokenizer, start = run.backbone.processor, text_start(run.backbone.processor)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    size = most_tokens(run) - len(start)
    first = max(len(start), 1)
    cut = [Window(start + ids[at : at + size], first) for at in range(0, len(ids), size)]
    found = [one for one in cut if len(one.ids) > one.first]
    if not found:
        raise GoftError(f"{path}: found no text to predict", "pass a file of some sentences")
    return found


def most_tokens(run: TrainedRun) -> int:
    """Return the most tokens of a text: as many as model and tokenizer accept, up to 512."""
    positions = usable_positions(run.model.get_base_model())
    return min(WINDOW, run.backbone.processor.model_max_length, positions or WINDOW)


class Meaning:
    """Spearman's correlation of the cosines of pairs of texts with people's similarity scores.

    The measure of the STS tasks (Cer et al., SemEval-2017 task 1, as Reimers and Gurevych,
    "Sentence-BERT", EMNLP 2019, use it), here of the pooled features, whatever head is on them.
    """

    def __init__(self, run: TrainedRun, file: str, batch_size: int) -> None:
        if run.task.processor_class != "AutoTokenizer":
            raise GoftError(
                f"retain={{sts: {file}}}: the model of task {run.task.config.name} reads images",
                "pass retain=auto, or retain=cka",
            )
        pairs, self._scores = read_pairs(Path(file).expanduser())
        tokenizer = run.backbone.processor
        length = most_tokens(run)
        padding = DataCollatorWithPadding(tokenizer)
        self._sides = [
            Rows(run, encoded(side, tokenizer, length), padding, batch_size) for side in pairs
        ]
        with base_only(run.model):
            self.base = self._correlation("sts, base model")

    def measure(self) -> dict[str, float]:
        """Compute the correlation for the present model."""
        return self._correlation("sts")

    def _correlation(self, title: str) -> dict[str, float]:
        one, other = (side.features(title) for side in self._sides)
        cosines = torch.cosine_similarity(one.double(), other.double(), dim=1)
        return {"sts/spearman": rank_correlation(cosines.tolist(), self._scores)}


def rank_correlation(one: list[float], other: list[float]) -> float:
    """Return Spearman's correlation of two lists of equal length; 0 where either is constant."""
    if len({*one}) < 2 or len({*other}) < 2:
        return 0.0
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def encoded(side: list[str], tokenizer: Tokenizer, length: int) -> Dataset:
    """Tokenize texts, unpadded."""
    return Dataset.from_dict(dict(tokenizer(side, truncation=True, max_length=length)))


def read_pairs(path: Path) -> tuple[list[list[str]], list[float]]:
    """Read a table of two columns of text and one of similarity scores."""
    table = read_file(path, Layout())
    columns = find_text(table, None)
    if len(columns) != 2:
        names = ", ".join("/".join(pair) for pair in PAIRS[:4])
        raise GoftError(
            f"{path}: found {described(table)}, expected two columns of text",
            f"name them as one of {names}",
        )
    score = find_label(table, columns, "give the column of numbers the name score")
    values = [identity(value) for value in table.columns[score]]
    numbers = [float(value) for value in values if isinstance(value, Decimal)]
    for place, value in enumerate(values):
        if not isinstance(value, Decimal):
            raise GoftError(
                f"{table.place(place)}: {score} is {value!r}, expected a number", "correct the row"
            )
    if len({*numbers}) < 2:
        raise GoftError(
            f"{path}: column {score} has one number in all rows", "pass pairs that differ"
        )
    return [texts(table, name) for name in columns], numbers
