"""Experiment trackers: their environment variables, and how their runs are closed.

Trainer's own callbacks do the rest. No tracker's package is imported before training.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from goft_cli.config import TrackerConfig, TrackerName, WandbMode


def close_wandb(*, failed: bool) -> None:
    """End the run; W&B would only end it with the interpreter, and a sweep's jobs share that."""
    import wandb

    wandb.finish(exit_code=int(failed))


def close_mlflow(*, failed: bool) -> None:
    """End the run, if Trainer has not."""
    import mlflow  # pyright: ignore[reportMissingImports] - the user's own choice

    if mlflow.active_run() is not None:
        mlflow.end_run("FAILED" if failed else "FINISHED")


def close_comet(*, failed: bool) -> None:
    """End the experiment, which uploads or writes its remaining data."""
    import comet_ml  # pyright: ignore[reportMissingImports]

    if (experiment := comet_ml.get_running_experiment()) is not None:
        experiment.end()


def close_swanlab(*, failed: bool) -> None:
    """End the run."""
    import swanlab  # pyright: ignore[reportMissingImports]

    if swanlab.get_run() is not None:
        swanlab.finish()


def close_clearml(*, failed: bool) -> None:
    """End the task."""
    import clearml  # pyright: ignore[reportMissingImports]

    if (task := clearml.Task.current_task()) is not None:
        task.close()


def nothing(*, failed: bool) -> None:
    """Do nothing: the tracker has written everything already."""


@dataclass(frozen=True)
class Service:
    """One tracker.

    Attributes:
        package: its name in pip.
        project: variable of the project's name.
        places: variables of folders, and the folders' names in the run folder.
        offline: variable that switches the network off, and its value for that.
        online: values of that variable with which it needs the network.
        key: variable of the user's key, for those that need one online.
        key_file: file in the home folder with the key, and the variable of its path.
        login: command that writes that file.
        preset: further variables, set unless the user has set them.
    """

    package: str
    project: str | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    offline: tuple[str, str] | None = None
    online: tuple[str, ...] = ("online",)
    key: str | None = None
    key_file: tuple[str, str] | None = None
    login: str = ""
    preset: Mapping[str, str] = field(default_factory=dict)
    close: Callable[..., None] = nothing


SERVICES = {
    TrackerName.tensorboard: Service(
        "tensorboard", places={"TENSORBOARD_LOGGING_DIR": "tensorboard"}
    ),
    TrackerName.trackio: Service("trackio"),
    TrackerName.wandb: Service(
        "wandb",
        project="WANDB_PROJECT",
        places={"WANDB_DIR": ""},
        offline=("WANDB_MODE", "offline"),
        key="WANDB_API_KEY",
        login="wandb login",
        close=close_wandb,
    ),
    TrackerName.mlflow: Service(
        "mlflow",
        project="MLFLOW_EXPERIMENT_NAME",
        preset={"MLFLOW_FLATTEN_PARAMS": "TRUE"},
        close=close_mlflow,
    ),
    TrackerName.comet: Service(
        "comet-ml",
        project="COMET_PROJECT_NAME",
        places={"COMET_OFFLINE_DIRECTORY": "comet"},
        offline=("COMET_START_ONLINE", "0"),
        online=("1", "true"),
        key="COMET_API_KEY",
        key_file=("COMET_CONFIG", ".comet.config"),
        login="comet login",
        close=close_comet,
    ),
    TrackerName.swanlab: Service(
        "swanlab",
        project="SWANLAB_PROJECT",
        places={"SWANLAB_LOG_DIR": "swanlog", "SWANLAB_LOGDIR": "swanlog"},
        offline=("SWANLAB_MODE", "offline"),
        online=("online", "cloud"),
        key="SWANLAB_API_KEY",
        key_file=("SWANLAB_KEY_FILE", ".swanlab/.netrc"),
        login="swanlab login",
        close=close_swanlab,
    ),
    TrackerName.clearml: Service(
        "clearml",
        project="CLEARML_PROJECT",
        offline=("CLEARML_OFFLINE_MODE", "1"),
        online=("0", "false"),
        key="CLEARML_API_ACCESS_KEY",
        key_file=("CLEARML_CONFIG_FILE", "clearml.conf"),
        login="clearml-init",
        preset={"CLEARML_LOG_MODEL": "FALSE"},  # else it uploads each checkpoint
        close=close_clearml,
    ),
}


def needs_network(tracker: TrackerConfig) -> bool:
    """Tell whether a tracker uploads its curves during the run."""
    service = SERVICES.get(tracker.name)
    if service is None or service.offline is None or tracker.mode is WandbMode.offline:
        return False
    return os.environ.get(service.offline[0], service.online[0]).lower() in service.online


def has_key(service: Service) -> bool:
    """Tell whether a tracker would find the user's key; it is not read."""
    if service.key is None or os.environ.get(service.key):
        return True
    if service.key_file is None:
        return False
    variable, name = service.key_file
    return Path(os.environ.get(variable, Path.home() / name)).is_file()


@contextmanager
def tracking(tracker: TrackerConfig, folder: Path) -> Iterator[None]:
    """Configure the tracker by its environment variables, and close its run at the end."""
    service = SERVICES.get(tracker.name)
    if service is None:
        yield
        return
    from accelerate.utils import patch_environment  # late: checks of the settings are light

    project = {service.project: tracker.project} if service.project else {}
    unset = {**project, **service.preset}
    variables = {name: value for name, value in unset.items() if name not in os.environ}
    variables |= {variable: str(folder / name) for variable, name in service.places.items()}
    if service.offline and tracker.mode is WandbMode.offline:  # else the user's own mode holds
        variables |= [service.offline]
    failed = True
    with patch_environment(**variables):  # a later run in this process may have another project
        try:
            yield
            failed = False
        finally:
            service.close(failed=failed)
