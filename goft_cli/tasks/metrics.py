"""Metrics of labels, numbers and answers, computed by `evaluate`; they need no network.

A metric's name in a task's YAML is that of its function; a function in `REGISTRY` adds a metric.
"""

from __future__ import annotations

import difflib
import re
import string
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from goft_cli.config.choices import Target
from goft_cli.config.task import LESS_IS_BETTER
from goft_cli.system.errors import GoftError

if TYPE_CHECKING:  # names of metrics are checked without it
    import numpy as np

    from goft_cli.tasks.base import RowScorer

PUNCTUATION = str.maketrans("", "", string.punctuation)
ARTICLES = re.compile(r"\b(a|an|the)\b")

Values: TypeAlias = "np.ndarray | Sequence[Any]"
Compute: TypeAlias = Callable[[Any, Any], dict[str, float]]

WORDS = (Target.tags, Target.entities)
CLASSES = (Target.two, Target.many, *WORDS)
BINARY = (Target.two, Target.entities)
"""Targets of binary metrics; token classification computes those of entities itself."""
NUMBERS = (Target.number, Target.two, Target.many)
ANY_LABELS = (*CLASSES, Target.sets)
OF_NUMBERS = ("float64", False, NUMBERS)
"""Arguments of `Metric` for metrics of numbers."""
USUAL: dict[Target, str] = dict.fromkeys(CLASSES, "accuracy")
USUAL |= {Target.number: "r2", Target.sets: "micro_f1", Target.entities: "f1"}
"""The metric to suggest if no similar one fits."""


@dataclass(frozen=True)
class Metric:
    """A metric for `evaluate`.

    Attributes:
        function: computes values by name from lists of predictions and references; its name and
            docstring are the metric's.
        dtype: type of a prediction, as `datasets` names it.
        several: whether a reference is a list of true values.
        targets: the targets of tasks for which it is defined.
    """

    function: Compute
    dtype: str = "int64"
    several: bool = False
    targets: tuple[Target, ...] = CLASSES

    def compute(self, predictions: Values, references: Values) -> dict[str, float]:
        """Compute the metric of predictions and references, each of the metric's dtype."""
        if len(predictions) != len(references) or len(predictions) == 0:
            raise GoftError(
                f"metrics: {len(predictions)} predictions for {len(references)} references",
                "expected as many of both, and at least one",
            )
        # The constructor creates its cache folder even when it keeps all in memory; a folder of its
        # own keeps parallel processes apart, and works where the home folder is read-only.
        with tempfile.TemporaryDirectory(prefix="goft-metrics-") as folder:
            return self._compute_in(folder, predictions, references)

    def _compute_in(self, folder: str, predictions: Values, references: Values) -> dict[str, float]:
        import datasets
        import evaluate

        metric, one = self, datasets.Value(self.dtype)
        value = datasets.List(one) if getattr(predictions, "ndim", 1) > 1 else one
        reference = datasets.List(value) if self.several else value
        info = evaluate.MetricInfo(
            description=str(self.function.__doc__),
            citation="",
            features=datasets.Features({"predictions": value, "references": reference}),
        )

        class Module(evaluate.Metric):
            def _info(self) -> evaluate.MetricInfo:
                return info

            def _compute(  # pyright: ignore[reportIncompatibleMethodOverride] - takes no options
                self, predictions: Sequence[Any], references: Sequence[Any]
            ) -> dict[str, float]:
                return metric.function(predictions, references)

        module = Module(keep_in_memory=True, cache_dir=folder)
        return module.compute(predictions=predictions, references=references) or {}


def compute(names: Sequence[str], predictions: Values, references: Values) -> dict[str, float]:
    """Compute metrics of (rows,) label ids or numbers, or of (rows, labels) sets of 0 and 1.

    Returns value by name, in the order of `names`.
    """
    found = [REGISTRY[name].compute(predictions, references) for name in names]
    return {name: value for scores in found for name, value in scores.items()}


def on_rows(name: str, predictions: np.ndarray, references: np.ndarray) -> RowScorer:
    """Return a function that computes a metric on rows by index, without `evaluate`'s 5 ms."""
    return lambda rows: REGISTRY[name].function(predictions[rows], references[rows])[name]


def check_names(names: Sequence[str], *, headline: str, target: Target) -> None:
    """Refuse all metrics that do not exist or fit, and a headline that is not computed.

    Metrics of numbers are accepted for ordered classes too, but not suggested for them.
    """
    wanted = list(dict.fromkeys([*names, headline]))
    problems = [problem for name in wanted if (problem := misfit(name, target))]
    better = list(dict.fromkeys(fitting(name, target) for name in wanted))
    main = fitting(headline, target)
    words = f"task.metrics=[{','.join(better)}]"
    if main != headline:
        words += f" task.headline={main}"
        words += " task.greater_is_better=false" if main in LESS_IS_BETTER else ""
    if problems:
        numeric = target is Target.number
        offered = [name for name, one in REGISTRY.items() if (one.dtype == "float64") == numeric]
        choices = ", ".join(name for name in offered if not misfit(name, target))
        raise GoftError(
            f"task.metrics: {'; '.join(problems)}", f"pass {words}, or choose from {choices}"
        )
    if headline not in names:
        raise GoftError(
            f"task.headline={headline} is not among task.metrics ({', '.join(names)})",
            f"pass {words}",
        )


def misfit(name: str, target: Target) -> str | None:
    """Return why a metric does not fit a task that predicts `target`; None if it fits."""
    if name not in REGISTRY:
        return f"unknown metric {name!r}"
    if target not in REGISTRY[name].targets:
        return f"{name} is not a metric of a task that predicts {target.value}"
    return None


def fitting(name: str, target: Target) -> str:
    """Return the metric if it fits, else its mean over classes, a similar or the usual one."""
    fit = [known for known in REGISTRY if not misfit(known, target)]
    near = difflib.get_close_matches(name, fit, n=1)
    return next(one for one in (name, f"macro_{name}", *near, USUAL[target]) if one in fit)


def scikit(
    name: str, function: str, meaning: str, *, varied: bool = False, **options: object
) -> Compute:
    """Return one of scikit-learn's metrics under the name that a task's YAML has.

    With `varied` it is 0 if all references are the same, where it is not defined.
    """

    def compute(predictions: Sequence[Any], references: Sequence[Any]) -> dict[str, float]:
        import numpy as np
        from sklearn import metrics

        if varied and len({*references}) == 1:
            return {name: 0.0}
        arrays = np.asarray(references), np.asarray(predictions)  # of sets it takes no lists
        known = options
        if "average" in options and arrays[1].min() < 0:  # no answer at all, which is no class
            known = options | {"labels": [one for one in {*references, *predictions} if one >= 0]}
        with warnings.catch_warnings():  # of a class that is predicted and does not occur
            warnings.simplefilter("ignore", UserWarning)
            return {name: float(getattr(metrics, function)(*arrays, **known))}

    compute.__name__, compute.__doc__ = name, meaning
    return compute


def averaged(measure: str, average: str) -> Compute:
    """Return a metric such as `macro_f1`: `f1_score` with `average="macro"`; 0 for 0 / 0."""
    binary = average == "binary"
    name = measure if binary else f"{average}_{measure}"
    meaning = f"The {measure} of label 1" if binary else f"The {average} average of {measure}"
    options = {"average": average, "zero_division": 0.0}
    return scikit(name, f"{measure}_score", f"{meaning}, from 0 to 1.", **options)


def combined_score(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """GLUE's one number for STS-B: (Pearson + Spearman) / 2."""
    linear, rank = pearson(predictions, references), spearman(predictions, references)
    return {"combined_score": (linear["pearson"] + rank["spearman"]) / 2}


def pearson(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """Linear correlation, from -1 to 1; 0 where predictions or references are all the same."""
    return {"pearson": _correlation("pearsonr", predictions, references)}


def spearman(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float]:
    """Rank correlation, from -1 to 1; 0 where predictions or references are all the same."""
    return {"spearman": _correlation("spearmanr", predictions, references)}


def _correlation(test: str, predictions: Sequence[float], references: Sequence[float]) -> float:
    from scipy import stats

    # Undefined, and NaN by scipy. 0, as for Matthews, keeps the best checkpoint well ordered.
    if len(set(predictions)) == 1 or len(set(references)) == 1:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.NearConstantInputWarning)
        return float(getattr(stats, test)(predictions, references).statistic)


EXACT = "Share of rows whose labels are all right, and no other, from 0 to 1."
MATTHEWS = "GLUE's for CoLA, from -1 to 1."
REGISTRY = {
    metric.function.__name__: metric
    for metric in (
        Metric(scikit("accuracy", "accuracy_score", "Share of right answers, from 0 to 1.")),
        Metric(scikit("balanced_accuracy", "balanced_accuracy_score", "Mean recall of classes.")),
        Metric(scikit("cohen_kappa", "cohen_kappa_score", "Agreement, -1 to 1.", varied=True)),
        Metric(combined_score, *OF_NUMBERS),
        Metric(averaged("f1", "binary"), targets=BINARY),
        Metric(scikit("exact_match", "accuracy_score", EXACT), targets=(Target.sets,)),
        Metric(averaged("f1", "macro"), targets=ANY_LABELS),
        Metric(averaged("precision", "macro"), targets=ANY_LABELS),
        Metric(averaged("recall", "macro"), targets=ANY_LABELS),
        Metric(scikit("mae", "mean_absolute_error", "In the target's units."), *OF_NUMBERS),
        Metric(scikit("matthews_correlation", "matthews_corrcoef", MATTHEWS, varied=True)),
        Metric(averaged("f1", "micro"), targets=ANY_LABELS),
        Metric(averaged("precision", "micro"), targets=ANY_LABELS),
        Metric(averaged("recall", "micro"), targets=ANY_LABELS),
        Metric(scikit("mse", "mean_squared_error", "In squared units."), *OF_NUMBERS),
        Metric(pearson, *OF_NUMBERS),
        Metric(averaged("precision", "binary"), targets=BINARY),
        Metric(
            scikit("r2", "r2_score", "Explained variance, at most 1.", varied=True), *OF_NUMBERS
        ),
        Metric(averaged("recall", "binary"), targets=BINARY),
        Metric(scikit("rmse", "root_mean_squared_error", "In the target's units."), *OF_NUMBERS),
        Metric(spearman, *OF_NUMBERS),
        Metric(averaged("f1", "weighted"), targets=ANY_LABELS),
    )
}
"""The choices of `task.metrics`, by name."""


def squad(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """exact_match and f1 of normalised words, from 0 to 100, compared with the best true answer."""
    pairs = [
        (words(text), [words(answer) for answer in answers])
        for text, answers in zip(predictions, references, strict=True)
    ]
    return {"exact_match": percent(exact_match, pairs), "f1": percent(word_f1, pairs)}


SQUAD = Metric(squad, "string", several=True)


def words(text: str) -> list[str]:
    """Normalise a text: lower case, then no punctuation, then no articles.

    The order matters: "the-end" loses its hyphen first and then has no article to lose.
    """
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def exact_match(prediction: list[str], answer: list[str]) -> float:
    """Return 1 for the same words in the same order, else 0."""
    return float(prediction == answer)


def word_f1(prediction: list[str], answer: list[str]) -> float:
    """Return the harmonic mean of precision and recall of words; 0 where none is shared.

    Two empty texts share no word: v1.1 has no empty answers.
    """
    shared = sum((Counter(prediction) & Counter(answer)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(prediction), shared / len(answer)
    return 2 * precision * recall / (precision + recall)


def percent(
    measure: Callable[[list[str], list[str]], float],
    pairs: Sequence[tuple[list[str], list[list[str]]]],
) -> float:
    """Average a measure over all predictions, each compared with its best answer."""
    # Not sum(), which compensates rounding from Python 3.12 on: the official script does not.
    total = 0.0
    for prediction, answers in pairs:
        total += max(measure(prediction, answer) for answer in answers)
    return 100.0 * total / len(pairs)
