"""`goft schema`: write a JSON Schema for each kind of YAML file, which editors read."""

from __future__ import annotations

from pathlib import Path

from goft_cli.config import SchemaConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json
from goft_cli.system.locations import check_writable


def main() -> None:
    """Compose `configs/schema.yaml` and write the schemas."""
    run_composed("schema", SchemaConfig, schema)


def schema(cfg: SchemaConfig) -> None:
    """Write `train.json`, `task.json` and the others, and say how a file names its schema."""
    from goft_cli.compose.json_schema import json_schemas
    from goft_cli.run.summary import screen

    folder, schemas = Path(cfg.output_dir), json_schemas()
    check_writable(folder)
    files = {name: folder / f"{name}.json" for name in schemas}
    if not cfg.overwrite and (there := [file for file in files.values() if file.exists()]):
        raise GoftError(f"{there[0]} is already there", "pass overwrite=true, or output_dir=DIR")
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        write_json(file, schemas[name])
    screen.print(f"{len(files)} schemas: {folder}", soft_wrap=True, highlight=False)
    line = f"# yaml-language-server: $schema={files['task'].resolve()}"
    screen.print(f"first line of a task's YAML: {line}", soft_wrap=True, highlight=False)
