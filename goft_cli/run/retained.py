"""`retained.json` of a run: measurements of forgetting, with digests of their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from goft_cli.config.retain import RetainSpec
from goft_cli.run.folder import RunFolder
from goft_cli.run.provenance import adapter_sha256, section
from goft_cli.run.record import RunRecord
from goft_cli.system import __version__
from goft_cli.system.digests import digest_of, digests
from goft_cli.system.files import note, read_json, write_json
from goft_cli.system.tables import Table, measures

NAME = "retained.json"
MEASURED = "measured"
"""Its only key: a list with the last measurement of each spec and strength."""


@dataclass(frozen=True)
class Retained:
    """A measurement of forgetting of a run at one strength."""

    spec: str
    """The value of `retain`, as users type it."""
    strength: float
    name: str
    """The measure that `forgotten` is computed from."""
    label: str
    """The label of `forgotten`."""
    forgotten: float
    """One number for all measures: 0 for the base, larger is worse."""
    base: Mapping[str, float]
    measures: Mapping[str, float]
    ground: str = ""
    """Digest of adapter, base model, data and version; of references, see `references`."""
    references: str = ""
    """Digest of the files and tasks that it was measured on."""


def sources_digest(record: RunRecord) -> str:
    """Return the digest of a run's adapter, base model and data; reads the adapter's files."""
    base = section(record.manifest, "model").get("fingerprint")
    data = section(record.manifest, "data")
    return digest_of([adapter_sha256(record.folder), base, data, __version__])


def references_of(spec: RetainSpec) -> str:
    """Return the digest of the files and the tasks that `retain` names."""
    places = [Path(one.of).expanduser() for one in spec.wanted if one.of]
    read = digests(file for place in places for file in (place, *place.rglob("*")))
    tasks = [[str(one), asdict(task)] for one, task in spec.tasks.items()]
    return digest_of([str(spec), tasks, sorted(read.values())])


def kept(folder: RunFolder) -> list[Retained]:
    """Return the measurements in a run's file, in order; none if there is no such file.

    Those of another version with other fields are left out, so that they are made again.
    """
    path, known = folder.path / NAME, {entry.name for entry in fields(Retained)}
    entries = read_json(path).get(MEASURED, []) if path.is_file() else []
    return [Retained(**one) for one in entries if {*one} == known]


def valid(record: RunRecord) -> list[Retained]:
    """Return the measurements of the present adapter."""
    found = kept(record.folder)
    ground = sources_digest(record) if found else ""
    return [one for one in found if one.ground == ground]


def find(record: RunRecord, spec: RetainSpec, strength: float) -> Retained | None:
    """Return the measurement on exactly these references at a strength, if it is still valid."""
    key = str(spec), strength, references_of(spec)
    return next(
        (one for one in valid(record) if (one.spec, one.strength, one.references) == key), None
    )


def keep(folder: RunFolder, found: Retained) -> None:
    """Write a measurement in place of an earlier one of the same spec and strength."""
    others = [
        one for one in kept(folder) if (one.spec, one.strength) != (found.spec, found.strength)
    ]
    note(folder.path, NAME)
    content: dict[str, Any] = {MEASURED: [asdict(one) for one in [*others, found]]}
    write_json(folder.path / NAME, content)


def retention_table(title: str, found: Retained) -> Table:
    """Lay out the measures of the base model and of the adapted one; the last row is `forgotten`.

    A similarity has no base value, for it is the similarity to the base.
    """
    rows: list[Sequence[str | None]] = [
        (name, f"{found.base[name]:.4f}" if name in found.base else None, f"{value:.4f}")
        for name, value in found.measures.items()
    ]
    return measures(
        title,
        [*rows, (f"forgotten: {found.label}", None, f"{found.forgotten:.4f}")],
        "base",
        "adapted",
    )
