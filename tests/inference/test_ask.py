"""Questions answered by an assistant that is real and tiny, beside what is measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("transformers", reason="needs the extra language")
from assistants import LEARNT, language_model
from films import write_video
from lmm.core.errors import LmmError, MotionError
from lmm.core.motion import Motion, make_motion
from lmm.datasets.synthetic import gait, repetitions
from lmm.datasets.windows import mirror
from lmm.inference.ask import NEXT, PICTURE, REMEMBERED, Chat, ask, flat, load_assistant, pictures
from lmm.models.assistant import Assistant
from lmm.skeletons import BODY_25

HOW_MANY, WHICH_ARM, NEXT_ONE, HOW_OLD = LEARNT


def test_an_answer_comes_with_what_was_measured_of_it(tiny_assistant: str) -> None:
    right, wrong = (ask(repetitions(n), HOW_MANY.capitalize(), tiny_assistant) for n in (5, 4))
    assert right.text == wrong.text == LEARNT[HOW_MANY]
    assert [m.value for m in right.measured] == [5]
    assert right.disagreement is None
    assert wrong.disagreement == "The answer says 5; measured is repetitions: 4."
    assert wrong.model == "assistant-tiny"
    assert [line.split(":")[0] for line in wrong.lines()] == ["looked at", "measured", "disagreement"]
    assert ask(repetitions(2), WHICH_ARM, tiny_assistant).disagreement is not None
    assert ask(mirror(repetitions(2)), WHICH_ARM, tiny_assistant).disagreement is None
    nothing = ask(repetitions(2), HOW_OLD, tiny_assistant)
    assert (nothing.measured, nothing.disagreement, nothing.next) == ((), None, None)


def test_key_frames_are_told_on_the_clock_of_the_motion(tiny_assistant: str) -> None:
    motion = repetitions(4)
    here, later = ask(motion, HOW_MANY, tiny_assistant), ask(motion.replace(start_s=7.0), HOW_MANY, tiny_assistant)
    frames = here.key_frames[0]
    assert 0 < len(frames) <= load_assistant(tiny_assistant).config.keys
    assert all(0 <= k.time_s <= motion.seconds and k.radius_s > 0 for k in frames)
    assert [k.weight for k in frames] == sorted((k.weight for k in frames), reverse=True)
    np.testing.assert_allclose([k.time_s + 7 for k in frames], [k.time_s for k in later.key_frames[0]], atol=1e-4)


def test_pieces_make_the_answer(tiny_assistant: str) -> None:
    chat = Chat(repetitions(3), tiny_assistant)
    pieces = list(chat.stream(HOW_OLD))
    assert len(pieces) > 3
    assert "".join(pieces) == chat.answers[-1].text == LEARNT[HOW_OLD]


def test_a_chat_tells_the_assistant_what_was_said_before(tiny_assistant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = Chat(repetitions(3), tiny_assistant)
    seen = []
    real = chat.assistant.answer

    def watched(asked, *rest):  # type: ignore[no-untyped-def]
        seen.append(asked.history)
        return real(asked, *rest)

    monkeypatch.setattr(chat.assistant, "answer", watched)
    for _ in range(REMEMBERED + 2):
        chat.ask(HOW_MANY)
    assert seen[0] == ()
    assert seen[1] == ((HOW_MANY, chat.answers[0].text),)
    assert len(seen[-1]) == REMEMBERED


def test_two_motions_are_asked_about_together(tiny_assistant: str) -> None:
    answer = ask([repetitions(2), repetitions(4)], "Which one has more repetitions?", tiny_assistant)
    assert len(answer.key_frames) == 2
    assert [(m.motion, m.value) for m in answer.measured] == [(0, 2), (1, 4), (None, "second")]
    assert json.loads(json.dumps(answer.summary()))["measured"][2]["value"] == "second"
    assert any("motion 2" in line for line in answer.lines())


def test_what_comes_next_is_forecast(tiny_assistant: str) -> None:
    answer = ask(gait(seconds=4.0), NEXT_ONE, tiny_assistant)
    assert answer.next is not None
    assert answer.next.startswith("10 forecasts of 2 s by diffusion")
    assert "walks forward" in answer.next or "goes forward" in answer.next
    assert answer.forecast is not None
    assert answer.forecast.samples is not None
    assert len(answer.forecast.samples) == 10


@pytest.mark.parametrize(
    ("question", "yes"),
    [
        ("What comes next?", True),
        ("What will the person do?", True),
        ("What is he about to do?", True),
        ("What happens afterwards?", True),
        ("What does she do next to the wall?", False),
        ("What is the next of kin's name?", False),
        ("How many steps?", False),
    ],
)
def test_which_questions_ask_what_comes_next(question: str, yes: bool) -> None:
    assert bool(NEXT.search(question)) is yes


def picture(motion: Motion) -> Motion:
    points = motion.positions[..., :2] * [200, -200] + [300, 400]
    return make_motion(points, motion.fps, BODY_25, "image", size=(640, 480))


def test_pictures_are_read_as_flat_figures_and_it_is_said(tiny_assistant: str) -> None:
    motion = repetitions(3)
    seen = flat(picture(motion))
    assert seen.space == "world"
    lengths = [np.linalg.norm(m.joint("Neck") - m.joint("MidHip"), axis=1).max() for m in (seen, motion)]
    assert lengths[0] == pytest.approx(0.5)
    scale = lengths[0] / lengths[1]
    spread = motion.positions[..., :2] - motion.positions[0, 8, :2]
    np.testing.assert_allclose(seen.positions[..., :2] - seen.positions[0, 8, :2], spread * scale, atol=1e-4)
    assert seen.joint("LHip")[0, 0] > seen.joint("RHip")[0, 0]  # faces us
    answer = ask(picture(motion), HOW_MANY, tiny_assistant)
    assert answer.text == LEARNT[HOW_MANY]
    assert "without depth" in answer.notes[0]


def test_only_the_end_of_a_long_motion_is_read_and_it_is_said(tiny_assistant: str) -> None:
    answer = ask(gait(seconds=70.0), HOW_OLD, tiny_assistant)
    assert answer.notes == ("of 70.0 s only the last 60 s were read",)
    assert min(k.time_s for k in answer.key_frames[0]) > 9.9


def test_a_video_is_seen_as_long_as_the_motion_lasts(tmp_path: Path, tiny_assistant: str) -> None:
    shades = [np.full((96, 160, 3), 5 * k, np.uint8) for k in range(40)]
    film = write_video(tmp_path / "film.avi", [k / 10 for k in range(40)], shades, lossless=True)
    seen = pictures(film, 1.0, 2.0)
    assert seen.shape == (4, 3, PICTURE, PICTURE)
    np.testing.assert_allclose(seen.float().mean((1, 2, 3)), [50, 75, 100, 125], atol=3)
    with pytest.raises(LmmError, match="shows nothing from 60 s on"):
        pictures(film, 60.0, 2.0)
    sighted = Assistant.from_llm(language_model(tmp_path / "language"), "tiny", video=True)
    answer = ask(repetitions(1, 1.0), HOW_MANY, sighted, film)
    assert answer.notes == ()
    blind = ask(repetitions(1, 1.0), HOW_MANY, tiny_assistant, film)
    assert blind.notes == ("assistant-tiny looks at no video: only motion was read",)


@pytest.mark.parametrize(
    ("question", "told"),
    [("", "empty"), ("  ?! ", "empty"), ("how " * 400, "1599 characters, over 1000"), ("why \udcff?", "not UTF-8")],
)
def test_what_cannot_be_asked_is_one_line(tiny_assistant: str, question: str, told: str) -> None:
    with pytest.raises(LmmError, match=told) as refused:
        ask(repetitions(1), question, tiny_assistant)
    assert "\n" not in str(refused.value)


def test_what_cannot_be_asked_about_is_one_line(tiny_assistant: str) -> None:
    def refused(told: str, run: Iterator[object] | None = None, **given: object) -> None:
        fields = {"motions": repetitions(1), "question": HOW_MANY, "model": tiny_assistant, **given}
        with pytest.raises(LmmError, match=told):
            ask(**fields)  # type: ignore[arg-type]

    refused("temperature must be 0 to 10", temperature=-1)
    refused("seed must be", seed=-1)
    refused("3 motions", motions=[repetitions(1)] * 3)
    refused("unknown model 'nobody'", model="nobody")
    blind = repetitions(1)
    blind = blind.replace(positions=np.where(np.arange(25)[:, None] == 4, blind.positions, np.nan))
    with pytest.raises(MotionError):
        ask(blind, HOW_MANY, tiny_assistant)
