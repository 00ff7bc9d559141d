"""`goft push`: upload the adapter, the merged model or its LoRA form to the hub."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from goft_cli.config import PushConfig
from goft_cli.config.baselines import NoLayersConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError
from goft_cli.system.files import write_json, write_text

if TYPE_CHECKING:
    from goft_cli.run.trained import TrainedRun
    from goft_cli.verbs.merge.cards import Kind


def main() -> None:
    """Compose `configs/push.yaml` and upload."""
    run_composed("push", PushConfig, push)


def push(cfg: PushConfig) -> None:
    """Upload the adapter, the merged model or its LoRA form, with a model card."""
    from goft_cli.run.record import importing_for
    from goft_cli.run.summary import screen

    with importing_for(cfg.adapter):
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries

    repo = find_repo(cfg)
    if cfg.public and not cfg.yes and not confirmed(repo):
        screen.print("nothing was uploaded")
        return
    with quiet_libraries(), tempfile.TemporaryDirectory() as aside:
        places = {"base_model": cfg.base_model, "data_dir": cfg.data_dir}
        run = open_trained(cfg.adapter, **places, strength=cfg.strength)
        folder = Path(aside, "model")
        stage(run, folder, repo, cfg)
        address = upload(folder, repo, public=cfg.public)
    readers = "everyone can read it" if cfg.public else "private"
    screen.print(f"{address} ({readers})", soft_wrap=True)


def confirmed(repo: str) -> bool:
    """Ask whether everyone may read it."""
    from rich.prompt import Confirm

    if not sys.stdin.isatty():
        raise GoftError("public=true: there is no terminal to ask on", "pass yes=true too")
    return Confirm.ask(f"Upload to {repo}, where everyone can read it?", default=False)


def find_repo(cfg: PushConfig) -> str:
    """Return the full name of the repository, after every check that needs no model."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    from goft_cli.system import hub

    try:
        validate_repo_id(cfg.repo)
    except HFValidationError as error:
        raise GoftError(f"repo={cfg.repo}: {error}", "pass repo=OWNER/NAME") from error
    reason = hub.away("model")
    if reason:
        raise GoftError(f"push: {reason}", "push again when the hub can be reached")
    if get_token() is None:
        raise GoftError("push: no token for the hub", "run hf auth login, or set HF_TOKEN")
    with answering(cfg.repo):
        owner = HfApi().whoami()["name"]
        repo = cfg.repo if "/" in cfg.repo else f"{owner}/{cfg.repo}"
        check_readers(repo, public=cfg.public)
    return repo


def check_readers(repo: str, *, public: bool) -> None:
    """Refuse a repository that is public without `public=true`, or private with it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        private = HfApi().model_info(repo).private
    except RepositoryNotFoundError:
        return
    if not private and not public:
        raise GoftError(
            f"repo={repo} is public: everyone could read what is pushed there",
            "pass another repo, or public=true",
        )
    if private and public:
        raise GoftError(
            f"repo={repo} is private and push does not change that",
            "drop public=true, or make it public on its page first",
        )


def stage(run: TrainedRun, folder: Path, repo: str, cfg: PushConfig) -> None:
    """Fill a folder with what will be uploaded; no file in it names a path of this machine."""
    from goft_cli.verbs.merge.cards import card, public_path, published_revision
    from goft_cli.verbs.merge.export import export_lora, export_merged, write_documents

    check_strength(run, cfg)
    kind: Kind = "merged" if cfg.merged else "adapter" if cfg.as_lora is None else "lora"
    certificate = None
    if cfg.merged:
        certificate = export_merged(run, folder, cfg)
    elif cfg.as_lora is not None:
        certificate = export_lora(run, folder, cfg, cfg.as_lora)
    else:
        shutil.copytree(run.folder.adapter, folder)
        run.backbone.model.config.save_pretrained(folder)  # with the labels of the head
    base = public_path(run.cfg.model.path)
    if not cfg.merged:
        path = folder / "adapter_config.json"
        settings = json.loads(path.read_text(encoding="utf-8"))
        place = {"base_model_name_or_path": base, "revision": published_revision(run.cfg.model)}
        write_json(path, settings | place)
    if certificate is not None:  # again, for the files have changed since
        write_documents(run, folder, kind, certificate, location=repo, base=base)
    else:
        write_text(folder / "README.md", card(run, kind, location=repo, base=base))


def check_strength(run: TrainedRun, cfg: PushConfig) -> None:
    """Refuse a strength other than 1 for weights that were trained whole, unless merged."""
    if run.strength != 1 and not cfg.merged and isinstance(run.cfg.adapter, NoLayersConfig):
        raise GoftError(
            f"strength={run.strength:g}: adapter={run.cfg.adapter.name} trains weights in place, "
            "so a fraction of their change needs the base model",
            "pass merged=true",
        )


def upload(folder: Path, repo: str, *, public: bool) -> str:
    """Upload the folder in one commit, to a new repository if need be; return its address."""
    from huggingface_hub import HfApi

    api = HfApi()
    with answering(repo):
        address = api.create_repo(repo, private=not public, exist_ok=True)
        check_readers(repo, public=public)  # someone else may have made it meanwhile
        api.upload_folder(repo_id=repo, folder_path=folder, commit_message="goft push")
    return str(address)


@contextmanager
def answering(repo: str) -> Iterator[None]:
    """Turn the hub's errors into one sentence."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else "an error"
        reason = " ".join((error.server_message or str(error)).split())
        raise GoftError(
            f"repo={repo}: the hub answers {status} ({reason})",
            "check the name, and that the token of hf auth login or HF_TOKEN may write there",
        ) from error
