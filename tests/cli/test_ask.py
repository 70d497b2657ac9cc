"""`lmm ask` and `lmm chat`, with an assistant that is real and tiny."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs the extra language")
from assistants import LEARNT
from lmm.cli.main import run
from lmm.datasets.synthetic import repetitions

HOW_MANY, WHICH_ARM, *_ = LEARNT


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for n in (4, 5):
        repetitions(n).save(f"{n}.lmm.npz")


def test_the_answer_is_all_that_stdout_has(tiny_assistant: str, capsys: pytest.CaptureFixture[str]) -> None:
    for more in ([], ["--stream"]):
        assert run(["ask", "4.lmm.npz", HOW_MANY, "--model", tiny_assistant, *more]) == 0
        told = capsys.readouterr()
        assert told.out == f"{LEARNT[HOW_MANY]}\n"
        assert "measured: repetitions: 4\n" in told.err
        assert "disagreement: The answer says 5; measured is repetitions: 4." in told.err
        assert "looked at: " in told.err


def test_json_and_two_motions(tiny_assistant: str, capsys: pytest.CaptureFixture[str]) -> None:
    question = "Which one has more repetitions?"
    assert run(["ask", "4.lmm.npz", question, "--second", "5.lmm.npz", "--model", tiny_assistant, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"question", "text", "key_frames", "measured", "disagreement", "next", "notes", "model"}
    assert [m["value"] for m in told["measured"]] == [4, 5, "second"]
    assert {k["motion"] for k in told["key_frames"]} == {0, 1}


def test_a_chat_goes_on_after_a_bad_question(
    tiny_assistant: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{HOW_MANY}\n?!\n{WHICH_ARM}\nexit\nmore\n"))
    assert run(["chat", "5.lmm.npz", "--model", tiny_assistant]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[0] == LEARNT[HOW_MANY]
    assert len(told.out.splitlines()) == 2
    assert "error: the question is empty" in told.err
    assert "measured: arm that moves: right" in told.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask", "none.bvh", "how many?"], "none.bvh"),
        (["ask", "4.lmm.npz", ""], "the question is empty"),
        (["ask", "4.lmm.npz", "how many?", "--second", "none.bvh"], "none.bvh"),
        (["ask", "4.lmm.npz", "how many?", "--temperature", "-1"], "temperature must be 0 to 10"),
        (["ask", "4.lmm.npz", "how many?", "--model", "nobody"], "unknown model 'nobody'"),
        (["chat", "none.bvh"], "none.bvh"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], told: str, tiny_assistant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [] if "--model" in arguments else ["--model", tiny_assistant]
    assert run([*arguments, *model]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert told in err
    assert err.count("\n") == 1
