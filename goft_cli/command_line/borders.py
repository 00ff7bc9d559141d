"""What a command line and a configuration must not hold: Hydra's folders, and secrets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from omegaconf import Node
from omegaconf.resolvers import oc

from goft_cli.run.configuration import flatten
from goft_cli.system.errors import GoftError
from goft_cli.system.secrets import is_secret, secret_in

HYDRA_FOLDERS = ("hydra.run.dir", "hydra.output_subdir", "hydra.job.chdir")
"""Where Hydra would put files of its own, or change to: the run folder is ours, and paths are
relative to where the command was typed."""


def refuse_words(words: Sequence[str]) -> None:
    """Refuse a folder of Hydra's and a secret among the words, before anything is composed."""
    for word in words:
        key = word.lstrip("+~").partition("=")[0]
        if key in HYDRA_FOLDERS:
            raise GoftError(f"{word}: goft has a folder of its own", "pass output_dir=DIR instead")
        refuse_secret(key, word)


def refuse_secret(key: str, text: str) -> None:
    """Refuse a text that holds the value of a key or token."""
    if name := secret_in(text):
        where = "a word" if secret_in(key) else key
        raise GoftError(
            f"{where}: it holds the secret {name}, and would write it into names and files",
            "leave it out, for it is read from there where it is needed",
        )


def environment(name: str, *default: str | None, _node_: Node) -> str | None:
    """Read an environment variable for `${oc.env:NAME}`, in place of OmegaConf's own resolver."""
    key = _node_._get_full_key(None)
    if name not in os.environ and not default:
        raise GoftError(
            f"{key}: the environment variable {name} is not set",
            f"set it, or give a default: ${{oc.env:{name},DEFAULT}}",
        )
    if is_secret(name):
        raise GoftError(
            f"{key}: ${{oc.env:{name}}} is a secret, and {key} is written into names and files",
            "leave it out, for it is read from the environment where it is needed",
        )
    return oc.env(name, *default)


def refuse_secrets(values: Mapping[str, object]) -> None:
    """Refuse a configuration that holds the value of a key or token, wherever it is from."""
    for key, value in flatten(values).items():
        refuse_secret(key, str(value))
