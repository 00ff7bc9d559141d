"""A job in its own process reports how it ended to its starter, and ends with its starter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from goft_cli.studies import runner
from goft_cli.studies.runner import Outcome, Surroundings, isolated
from goft_cli.system.files import read_json
from tests.conftest import ROOT
from tests.support import trivial_jobs


@pytest.fixture(autouse=True)
def nothing_heavy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "PRELOADED", [])


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    environment = {**os.environ, "GREETING": "hello"}
    return Surroundings(str(tmp_path), environment, tmp_path / "output.log")


ENDINGS: list[tuple[Callable[..., None], int, str]] = [
    (trivial_jobs.refuse, 2, "no such thing"),
    (trivial_jobs.diverge, 2, "no such thing"),
    (trivial_jobs.crash, 1, "unexpected ZeroDivisionError: by zero (run again with --debug"),
    (trivial_jobs.die, 1, "ended by SIGKILL; the system does this when memory runs out"),
    (trivial_jobs.leave, 3, "exited with code 3 and no message"),
]


@pytest.mark.parametrize(("job", "code", "said"), ENDINGS)
def test_every_ending_is_told(
    job: Callable[..., None], code: int, said: str, around: Surroundings
) -> None:
    outcome = isolated(job, "no such thing", around, several=True)
    assert outcome.code == code
    assert said in outcome.sentence
    assert outcome.unusable == (job is trivial_jobs.diverge)


@pytest.mark.parametrize("several", [True, False])
def test_a_job_finds_what_it_was_given(
    several: bool, around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GREETING", "stale")
    assert isolated(trivial_jobs.tell, "told.json", around, several=several) == Outcome()
    told = read_json(tmp_path / "told.json")
    assert (told["GREETING"], told["folder"]) == ("hello", str(tmp_path))
    assert told["pid"] != os.getpid()
    assert (tmp_path / "output.log").read_text() == "written\n"


def test_a_crash_leaves_its_traceback_in_the_log_and_to_its_starter(
    around: Surroundings, tmp_path: Path
) -> None:
    outcome = isolated(trivial_jobs.crash, None, around, several=True)
    assert "ZeroDivisionError: by zero" in outcome.traceback
    assert "ZeroDivisionError" in (tmp_path / "output.log").read_text()


STARTER = """
import os
import signal
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell runs us aside
from goft_cli.studies.runner import Surroundings, isolated
from tests.support import trivial_jobs
try:
    around = Surroundings(os.getcwd(), dict(os.environ), None)
    isolated(trivial_jobs.wait, "who", around, several=False)
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def patiently(found: Callable[[], bool]) -> bool:
    """Wait up to 30 seconds for a condition; return whether it holds."""
    end = time.monotonic() + 30
    while not found() and time.monotonic() < end:
        time.sleep(0.02)
    return found()


def is_alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_a_job_ends_with_its_starter(signal_number: int, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    starter = subprocess.Popen([sys.executable, "-c", STARTER], cwd=tmp_path, env=environment)
    who = tmp_path / "who"
    assert patiently(lambda: who.exists() and who.read_text() != "")
    job = int(who.read_text())
    starter.send_signal(signal_number)
    assert starter.wait(30) == (130 if signal_number == signal.SIGINT else -signal.SIGKILL)
    assert patiently(lambda: not is_alive(job))
    assert who.read_text() == "saved"
