"""The judge's HTTP client sends the protocol's request, retries, and never shows the key."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from goft_cli.config import JudgeConfig
from goft_cli.system.errors import GoftError
from goft_cli.tasks.vicuna.client import ChatClient, RefusedRequestError, UnusableReplyError
from tests.support.judge_server import JudgeServer, Reply, Seen, break_off, hang_up, says, status

KEY = "sk-very-secret-key-0123456789"
MESSAGES = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "Ä {answer}?"}]

ClientMaker = Callable[..., ChatClient]


@pytest.fixture
def client(judge: JudgeServer) -> ClientMaker:
    """Build a client of the stand-in judge that waits milliseconds; keywords replace fields."""

    def make(**changes: object) -> ChatClient:
        config = JudgeConfig(
            base_url=judge.url,
            model="gpt-test",
            retries=2,
            backoff_seconds=0.001,
            timeout_seconds=5.0,
        )
        return ChatClient(replace(config, **changes))

    return make


def test_the_request_is_the_protocols(
    judge: JudgeServer, client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    assert client(base_url=f"{judge.url}/").complete(MESSAGES) == "Good. [[7]]"
    (seen,) = judge.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.headers["Content-Type"] == "application/json"
    assert seen.body == {
        "model": "gpt-test",
        "messages": MESSAGES,
        "temperature": 0,
        "max_tokens": 2048,
    }


def test_the_key_is_taken_from_the_variable_that_is_named(
    judge: JudgeServer, client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER_KEY", "another")
    client(api_key_variable="OTHER_KEY").complete(MESSAGES)
    client(api_key_variable="NO_KEY").complete(MESSAGES)
    assert judge.seen[0].headers["Authorization"] == "Bearer another"
    assert "Authorization" not in judge.seen[1].headers


FAULTS: dict[str, Reply] = {
    "too many requests": status(429, Retry_After="0"),
    "too many requests, no header": status(429),
    "server error": status(500, "it broke"),
    "overloaded": status(529),
    "dropped connection": hang_up,
    "half a reply": break_off,
    "no JSON": status(200, "<html>"),
    "not UTF-8": status(200, "\udcff".encode(errors="surrogateescape").decode("latin-1")),
    "JSON of another shape": status(200, '["choices"]'),
    "no choices": status(200, '{"choices": []}'),
    "no text": says(None),
    "blank text": says(" \n"),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_what_may_pass_is_tried_again(
    fault: Reply, judge: JudgeServer, client: ClientMaker
) -> None:
    judge.replies.extend([fault, fault])
    assert client().complete(MESSAGES) == "Good. [[7]]"
    assert len(judge.seen) == 3
    assert judge.seen[0].body == judge.seen[2].body


def test_half_a_character_does_not_spoil_the_record(
    judge: JudgeServer, client: ClientMaker
) -> None:
    judge.replies.append(says("\ud83d [[4]]"))
    assert client().complete(MESSAGES) == "? [[4]]"


def test_a_silent_server_is_asked_again_after_the_timeout(
    judge: JudgeServer, client: ClientMaker
) -> None:
    judge.replies.append(judge.silence)
    assert client(timeout_seconds=0.2).complete(MESSAGES) == "Good. [[7]]"
    assert len(judge.seen) == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (status(503, '{"error": {"message": "come back later"}}'), "503 .*come back later"),
        (status(429, Retry_After="0"), "429 Too Many Requests"),
        (hang_up, "RemoteDisconnected"),
    ],
)
def test_attempts_are_bounded(
    fault: Reply, said: str, judge: JudgeServer, client: ClientMaker
) -> None:
    judge.otherwise = lambda _: fault
    with pytest.raises(GoftError, match=rf"gpt-test at .*{said}.* 3 attempts"):
        client().complete(MESSAGES)
    assert len(judge.seen) == 3


def test_a_reply_that_never_is_one_says_what_came(judge: JudgeServer, client: ClientMaker) -> None:
    judge.otherwise = lambda _: status(200, '{"choices": []}')
    with pytest.raises(UnusableReplyError, match=r"no chat completion with a text: '{\"choices"):
        client().complete(MESSAGES)
    assert len(judge.seen) == 3


def test_a_port_where_nobody_listens(client: ClientMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GoftError, match=r"ConnectionRefusedError.* 1 "):
        client(base_url="http://127.0.0.1:1/v1", retries=0).complete(MESSAGES)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (401, "check the key in the environment variable OPENAI_API_KEY"),
        (403, "check the key in the environment variable OPENAI_API_KEY"),
        (404, "check task.judge.base_url and task.judge.model"),
        (307, "check task.judge.base_url and task.judge.model"),
    ],
)
def test_a_refusal_is_one_sentence_at_once_and_without_the_key(
    code: int,
    remedy: str,
    judge: JudgeServer,
    client: ClientMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    told = f'{{"error": {{"message": "not with\\n{KEY}, friend"}}}}'
    judge.otherwise = lambda _: status(code, told, Location="http://127.0.0.1:1/steal")
    with pytest.raises(GoftError, match=rf"{code} .*\*\*\*.*{remedy}") as caught:
        client().complete(MESSAGES)
    assert len(judge.seen) == 1
    assert KEY not in repr(caught.getrepr(showlocals=False, chain=True))
    assert caught.value.__cause__ is None


def unsupported(name: str) -> Reply:
    """Return OpenAI's reply to a setting that it does not support."""
    told = {"message": f"Unsupported parameter: '{name}' is not supported.", "param": name}
    return status(400, json.dumps({"error": told}))


def test_settings_that_a_newer_service_refuses_are_replaced_and_said_once(
    judge: JudgeServer, client: ClientMaker, caplog: pytest.LogCaptureFixture
) -> None:
    def newer(seen: Seen) -> Reply:
        known = {"model", "messages", "max_completion_tokens"}
        refused = sorted(seen.body.keys() - known)
        return unsupported(refused[0]) if refused else says("[[7]]")

    judge.otherwise = newer
    asked = client()
    assert [asked.complete(MESSAGES) for _ in range(3)] == ["[[7]]"] * 3
    assert judge.seen[-1].body == {
        "model": "gpt-test",
        "messages": MESSAGES,
        "max_completion_tokens": 2048,
    }
    assert len(judge.seen) == 3 + 2
    for name in ("max_tokens", "temperature"):
        assert sum(f"refuses {name}" in message for message in caplog.messages) == 1


@pytest.mark.parametrize("code", [400, 413, 422])
def test_the_refusal_of_one_request_is_told_from_one_of_all(
    code: int, judge: JudgeServer, client: ClientMaker
) -> None:
    judge.replies.append(status(code, "max_tokens is too large: 2048 of 100 are left"))
    asked = client()
    with pytest.raises(RefusedRequestError, match=f"{code} .*too large"):
        asked.complete(MESSAGES)
    asked.complete(MESSAGES)
    assert judge.seen[0].body == judge.seen[1].body


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_does_not_carry_the_key_away(
    code: int, judge: JudgeServer, client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    judge.replies.append(status(code, Location=f"{judge.url}/elsewhere"))
    with pytest.raises(GoftError, match=f"answers {code} "):
        client().complete(MESSAGES)
    assert [seen.path for seen in judge.seen] == ["/v1/chat/completions"]


@pytest.mark.parametrize("code", [200, 404])
@pytest.mark.parametrize("before", range(200 - len(KEY), 205, 4))
def test_not_even_a_part_of_the_key_is_shown(
    before: int,
    code: int,
    judge: JudgeServer,
    client: ClientMaker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    judge.otherwise = lambda _: status(code, "x" * before + KEY)
    with pytest.raises((GoftError, UnusableReplyError), match="xxx") as caught:
        client(retries=0).complete(MESSAGES)
    assert KEY[:3] not in str(caught.value)


def test_without_a_key_the_remedy_is_to_set_one(judge: JudgeServer, client: ClientMaker) -> None:
    judge.otherwise = lambda _: status(401, "who are you")
    with pytest.raises(GoftError, match=r"401 .*who are you.*OPENAI_API_KEY"):
        client().complete(MESSAGES)


def test_a_key_that_no_header_carries_is_refused_unseen(
    client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n{KEY}")
    with pytest.raises(GoftError, match="OPENAI_API_KEY has characters") as caught:
        client()
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(("key", "shown"), [(KEY, "***"), ("EMPTY", "EMPTY")])
def test_a_key_in_the_reply_is_blotted_out(
    key: str, shown: str, judge: JudgeServer, client: ClientMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    judge.replies.append(says(f"you sent {key} [[5]]"))
    assert client().complete(MESSAGES) == f"you sent {shown} [[5]]"
