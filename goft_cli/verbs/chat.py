"""`goft chat`: chat with a trained run in the terminal, or by lines from a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from goft_cli.config import TerminalConfig
from goft_cli.studies.hydra_main import run_composed
from goft_cli.system.errors import GoftError, Stopped

if TYPE_CHECKING:
    from goft_cli.run.trained import TrainedRun

RESET, QUIT, HELP = "/reset", "/quit", "/help"
SAYS = (
    f"{RESET} begins a new chat, {QUIT} or the end of the input ends it; "
    "a line that ends with \\ continues on the next"
)
ASKS, GOES_ON = "> ", ". "
INTERRUPTED = 130
"""Exit code of what Ctrl-C ended."""


def main() -> None:
    """Compose `configs/chat.yaml` and chat."""
    run_composed("chat", TerminalConfig, chat)


def chat(cfg: TerminalConfig) -> None:
    """Answer each line of the input, given the turns before it."""
    from goft_cli.run.record import importing_for
    from goft_cli.run.summary import screen

    with importing_for(cfg.adapter):
        from goft_cli.run.trained import open_trained
        from goft_cli.system.screen import quiet_libraries

    with quiet_libraries():
        run = open_trained(cfg.adapter, base_model=cfg.base_model, strength=cfg.strength)
        talk = Talk(run, cfg)
        at_terminal = sys.stdin.isatty()
        if at_terminal:
            screen.print(SAYS, style="dim", markup=False, highlight=False, emoji=False)
        try:
            say(talk, at_terminal=at_terminal)
        except Stopped as stop:
            if stop.code != INTERRUPTED or not at_terminal:
                raise
            screen.print()  # Ctrl-C ends a chat, as the end of the input does


def say(talk: Talk, *, at_terminal: bool) -> None:
    """Print an answer to each line."""
    from goft_cli.run.summary import screen

    plain: dict[str, Any] = {"markup": False, "highlight": False, "emoji": False}
    for line in lines(at_terminal=at_terminal):
        if line == QUIT:
            break
        if line == HELP:
            screen.print(SAYS, **plain)
        elif line == RESET:
            talk.reset()
        elif line.strip():
            answer = answered(talk, line, at_terminal=at_terminal)
            screen.print(answer, **plain, soft_wrap=True)


def answered(talk: Talk, line: str, *, at_terminal: bool) -> str:
    """Return the answer; at a terminal, report a chat that is too long instead of ending it."""
    try:
        return talk.answer(line)
    except GoftError as error:
        if not at_terminal:
            raise
        return f"{error}; {RESET} begins a new chat"


def lines(*, at_terminal: bool) -> Iterator[str]:
    """Yield what is typed, or piped; lines that end with a backslash are joined."""
    from goft_cli.data.table import SURROGATE

    if at_terminal:
        import readline  # noqa: F401 - lets the user edit a line and recall earlier ones
    kept = ""
    while True:
        try:
            typed = input((GOES_ON if kept else ASKS) if at_terminal else "")
        except EOFError:
            if kept:
                yield kept
            return
        if typed.endswith("\\"):
            kept += typed[:-1] + "\n"
        else:
            if SURROGATE.search(kept + typed):
                raise GoftError(
                    f"chat: a line is not valid text: {typed[:40]!a}", "pass text in UTF-8"
                )
            yield kept + typed
            kept = ""


class Talk:
    """A chat with a run: the model and the turns so far."""

    def __init__(self, run: TrainedRun, cfg: TerminalConfig) -> None:
        from goft_cli.tasks.base import AnsweringTask

        if not isinstance(run.task, AnsweringTask):
            raise GoftError(
                f"adapter={cfg.adapter}: its task {run.task.config.name} does not generate text",
                "label texts with goft predict adapter=RUN_FOLDER text=... instead",
            )
        self.task, self.tokenizer, self.cfg = run.task, run.backbone.processor, cfg
        self.model = run.model.to(run.arguments(1).device).eval()
        self.turns: list[dict[str, str]] = []
        self.count = 0

    def reset(self) -> None:
        """Forget the turns so far."""
        self.turns = []

    def answer(self, text: str) -> str:
        """Return the answer to a text; a run on chats is given the turns before it.

        Sampling depends on the seed and the number of the answer.
        """
        rows = self.task.read_turn(self.turns, text)
        (found,) = self.task.answer(
            self.model,
            rows,
            self.tokenizer,
            batch_size=1,
            decoding=self.cfg,
            numbers=[self.count],
        )
        self.count += 1
        said = found["output"]
        self.turns += [{"role": "user", "content": text}, {"role": "assistant", "content": said}]
        return said
