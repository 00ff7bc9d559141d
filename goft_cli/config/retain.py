"""`retain=`: the measures of how much of the base model's abilities an adapted model keeps."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from goft_cli.config.task import TaskConfig
from goft_cli.system.errors import GoftError

AUTO, CKA, TEXT, PROBE, STS, BENCHMARK = "auto", "cka", "text", "probe", "sts", "benchmark"
KINDS = (AUTO, CKA, TEXT, PROBE, STS, BENCHMARK)
"""Names of the measures, as users type them."""
OF = {TEXT: "FILE", PROBE: "glue/sst2", STS: "FILE", BENCHMARK: "mmlu"}
"""Measures that take a file or a task, with an example of it."""
NEEDS = (STS, BENCHMARK)
"""Measures that need a file or a task from the user."""
LANGUAGE = ("instruction", "chat")
"""Families of tasks whose models generate text."""
REFERENCES = {
    "text": ("demo/topics", "demo/acceptability"),
    "image": ("demo/digits",),
}
"""Tasks that come with the package, by the kind of input. A probe that names no task takes the
first one that the run was not trained on."""
LIKE = 0.6


@dataclass(frozen=True)
class Wanted:
    """One measure, and the file or task that it uses; None for the data that comes with goft."""

    kind: str
    of: str | None = None

    def __str__(self) -> str:
        """Return it as users type it."""
        if self.kind == BENCHMARK and self.of is not None:
            return self.of
        return self.kind if self.of is None else f"{{{self.kind}: {self.of}}}"


@dataclass(frozen=True)
class RetainSpec:
    """The measures that a user asked for, each once."""

    wanted: tuple[Wanted, ...]
    tasks: Mapping[Wanted, TaskConfig] = field(default_factory=dict, compare=False)
    """The composed task of each probe and benchmark."""

    @classmethod
    def parse(cls, value: Any) -> RetainSpec:  # noqa: ANN401 - a word, a list or a mapping
        """Read `auto`, one name, a list or a mapping; an unknown name is taken for a benchmark."""
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        found = [wanted for item in items for wanted in wanted_in(item)]
        if not found:
            raise refused(value)
        return cls(tuple(dict.fromkeys(found)))

    def __str__(self) -> str:
        """Return it as users type it."""
        return f"[{','.join(map(str, self.wanted))}]"

    def settled(self, task: TaskConfig) -> RetainSpec:
        """Replace `auto` by the measures that fit the model of a task and need no network.

        A probe that names no task gets one of those that come with the package.
        """
        kind = "image" if task.family in {"image_classification", "vtab"} else "text"
        reference = next((name for name in REFERENCES[kind] if name != task.name), None)
        own = [Wanted(CKA), *([Wanted(PROBE, reference)] if reference else [])]
        if task.family in LANGUAGE:
            own = [Wanted(TEXT)]
        named = {Wanted(AUTO): own, Wanted(PROBE): own[1:] or [Wanted(PROBE)]}
        found = [one for wanted in self.wanted for one in named.get(wanted, [wanted])]
        if Wanted(PROBE) in found:
            raise GoftError(
                f"retain=probe: nothing that comes with goft fits the model of {task.name}",
                f"name a classification, such as retain='{{probe: {OF[PROBE]}}}'",
            )
        return replace(self, wanted=tuple(dict.fromkeys(found)))


def check_retain(value: object, benchmark: TaskConfig | None = None) -> None:
    """Refuse a `retain` that names no measure, or that comes with a benchmark as the task."""
    if value is None:
        return
    wanted = RetainSpec.parse(value)
    if benchmark is not None:
        raise GoftError(
            f"retain={wanted}: expected a run on its own task, found task={benchmark.name}",
            "drop task=, or drop retain=",
        )


def wanted_in(item: Any) -> list[Wanted]:  # noqa: ANN401 - a word or a mapping
    """Read one item of the list."""
    if isinstance(item, str) and item:
        return [named(item)]
    if isinstance(item, Mapping) and item:
        return [named(str(kind), of) for kind, of in item.items()]
    raise refused(item)


def named(kind: str, of: Any = None) -> Wanted:  # noqa: ANN401 - what stands behind a name
    """Read the name of a measure and the file or task that it uses."""
    if of is None and kind not in KINDS and "/" not in kind:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=LIKE)
        if near:
            raise GoftError(f"retain={kind}: there is no such measure", f"did you mean {near[0]}?")
    if of is None and kind not in KINDS:
        return Wanted(BENCHMARK, kind)
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, list(OF), n=1, cutoff=LIKE)
        remedy = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(OF)}"
        raise GoftError(f"retain={{{kind}: {of}}}: there is no such measure", remedy)
    if of is None and kind in NEEDS:
        example = f"retain={{{kind}: {OF[kind]}}}"
        raise GoftError(f"retain={kind}: found nothing to measure it on", f"pass '{example}'")
    if of is not None and (kind not in OF or not isinstance(of, str)):
        raise refused({kind: of})
    return Wanted(kind, of)


def refused(value: object) -> GoftError:
    """Return the error for a value that is not a measure."""
    return GoftError(
        f"retain={value}: expected a measure ({', '.join(KINDS)}), a list of them, or a mapping",
        "pass retain=auto, retain=[cka,text] or retain='{text: FILE}'",
    )
