"""Whether a hub's model or dataset is here or to be had, before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Sequence

from goft_cli.config import DatasetConfig, ModelConfig
from goft_cli.sharing import dataset_files, model_files
from goft_cli.system import hub, snapshots
from goft_cli.system.hub import Item, explain, is_loading_error


def check_model(model: ModelConfig) -> None:
    """Refuse a model that is neither cached nor to be had, or that has no weights."""
    if model_files.is_cached(model):
        return
    item = model_files.item_of(model)
    check_permission(item)
    model_files.require_weights(snapshots.contents(item), model.path)


def check_dataset(dataset: DatasetConfig, splits: Sequence[str], key: str) -> None:
    """Refuse a dataset that is neither cached nor to be had.

    Args:
        dataset: on the hub.
        splits: which are needed.
        key: of the task whose it is.
    """
    if dataset_is_cached(dataset, splits):
        return
    remedy = dataset_files.DATA_REMEDY.replace("task", key, 1)
    item = dataset_files.item_of(dataset, remedy)
    check_permission(item)
    snapshots.contents(item)


def dataset_is_cached(dataset: DatasetConfig, splits: Sequence[str]) -> bool:
    """Tell whether the wanted rows are here, as files of the hub or as datasets has built them."""
    return is_built(dataset) or dataset_files.find_splits(dataset, splits) is not None


def is_built(dataset: DatasetConfig) -> bool:
    """Tell whether datasets has the rows in its own cache, from an earlier `load_dataset`."""
    return any(
        name == dataset.id and dataset.config in {None, config}
        for name, _, config in (item.partition(" ") for item in hub.built())
    )


def check_permission(item: Item) -> None:
    """Ask the hub whether a licence is still to be accepted; a mirror may not know the question."""
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import GatedRepoError

    reason, cause = hub.away(item.kind), None
    if reason is None:
        try:
            HfApi(endpoint=constants.ENDPOINT).auth_check(item.name, repo_type=item.kind)
        except GatedRepoError as error:
            reason, cause = explain(error, item.kind, item.name), error
        except Exception as error:
            if not is_loading_error(error):
                raise
    if reason:
        raise hub.refusal(item, reason) from cause
