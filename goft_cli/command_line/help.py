"""`goft VERB --help`: the groups and their choices, then every key with its value.

Hydra's own page copies the whole store of configurations once for each of its groups: seconds of
waiting for nothing.
"""

from __future__ import annotations

from omegaconf import OmegaConf

from goft_cli.command_line.suggest import CommandLine


def help_page(line: CommandLine, summary: str, *, resolve: bool) -> str:
    """Return what `goft VERB --help` prints, the overrides beside it included.

    Raises:
        HydraException, OmegaConfBaseException: the overrides do not compose.
    """
    groups = [f"  {group}: {', '.join(names)}" for group, names in line.groups().items()]
    return f"""goft {line.verb}: {summary}

groups (group=choice)
{chr(10).join(groups) or f"  none: {line.verb} has only keys"}

keys (key=value)

{OmegaConf.to_yaml(line.compose(line.overrides), resolve=resolve)}
key=value overrides a key, -m key=a,b sweeps over values,
--cfg job --resolve prints the configuration and stops
"""
