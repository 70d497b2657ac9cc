"""Instructions: every truth is found again, the file is read as it was written, and lines that are none are refused."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
import pytest

import lmm
from datasets.test_pairs import bandai, clip, write_store
from lmm.cli.main import run
from lmm.core.errors import InputError
from lmm.core.motion import Motion
from lmm.datasets.answers import QUESTIONS, parse_answer
from lmm.datasets.checking import check
from lmm.datasets.instructions import (
    Conversation,
    Motions,
    instructions,
    read_instructions,
    write_instructions,
)
from lmm.datasets.synthetic import gait, repetitions, standing
from lmm.datasets.windows import mirror


def uiprmd(motion: Motion, movement: str, correct: bool, episode: int) -> Motion:
    labels = {"movement": movement, "correct": correct, "repetition": f"{episode:02}"}
    made = clip(motion, f"uiprmd/m{movement}_e{episode:02}_{correct}", format="uiprmd", labels=labels)
    return made.replace(meta={**made.meta, "subject": "uiprmd_s01", "skeleton": "uiprmd_kinect"})


@pytest.fixture(scope="module")
def motions(tmp_path_factory: pytest.TempPathFactory) -> Motions:
    arm = [
        uiprmd(repetitions(1, 2.0 + e / 4), movement, correct, e)
        for movement in ("07", "10") for correct in (True, False) for e in (1, 2)
    ]  # fmt: skip
    others = [
        bandai(gait(seconds=6, turn_deg_per_s=25), "walk-turn-left", "sad"),
        bandai(gait(seconds=6, turn_deg_per_s=-25), "walk-turn-right", "sad"),
        *(bandai(gait(seconds=s), "walk", "sad", s) for s in (5, 6, 7)),
        bandai(mirror(repetitions(1)), "raise-up-left-hand", "proud"),
        *(clip(gait(seconds=5, speed_mps=v), f"cmu/{v}", captions=["walk"], trial=f"07_0{k}")
          for k, v in enumerate((1.1, 1.3))),
        clip(standing(6.0), "cmu/still", captions=["stand"]),
    ]  # fmt: skip
    return Motions([write_store(tmp_path_factory.mktemp("stores") / "s", [*arm, *others])])


@pytest.fixture(scope="module")
def made(motions: Motions) -> list[Conversation]:
    return list(instructions(motions, per_motion=len(QUESTIONS)))


def test_every_truth_is_found_again(motions, made):
    found = check(made, motions)
    assert {kind for kind, _ in found} == set(QUESTIONS)
    wrong = {key: n for key, n in found.items() if n["other"] or (key[1] != "measured" and n["not told"])}
    assert wrong == {}
    assert {against for kind, against in found if kind == "unanswerable"} == {
        "answer", "single", "unseen", "stays", "absent"
    }  # fmt: skip


def test_the_check_finds_what_is_wrong(motions, made):
    lies = {
        "exercise": {"exercise": "deep squat"}, "count": {"count": 99}, "direction": {"direction": "backwards"},
        "turn": {"turn": "right"}, "duration": {"seconds": 99}, "angle": {"degrees": 5}, "side": {"side": "both"},
        "sequence": {"sequence": ["deep squat"]}, "next": {"next": "jumps"}, "caption": {"caption": "x"},
    }  # fmt: skip
    for kind, lie in lies.items():
        some = [c for c in made if c.kind == kind and c.truth != lie]
        wrong = [Conversation(**{**vars(c), "truth": lie}) for c in some]
        assert all(any(n["other"] for n in check([c], motions).values()) for c in wrong), kind


def test_the_same_for_the_same_seed(motions, made):
    assert made == list(instructions(motions, per_motion=len(QUESTIONS)))
    assert made != list(instructions(motions, seed=1, per_motion=len(QUESTIONS)))
    assert len({c.id for c in made}) == len(made)
    some = list(instructions(motions, per_motion=2))
    scenes = defaultdict(list)
    for c in some:
        scenes[c.id.rsplit("/", 1)[0]].append(c.kind)
    assert all(len(kinds) == len(set(kinds)) <= 2 for kinds in scenes.values())


def test_conversations_are_in_turns(made):
    assert any(len(c.messages) > 2 for c in made)
    for c in made:
        assert [m["role"] for m in c.messages] == ["user", "assistant"] * (len(c.messages) // 2)
        assert parse_answer(c.kind, c.answer) == c.truth
        assert len(c.motions) == len(c.moments_s) == 1 + (c.kind == "compare")


def test_wording_alone_does_not_tell_what_cannot_be_answered(made):
    """Questions of comparison, angles, directions and sequences are asked where they can be answered, and not."""
    asked = {(c.question, c.kind == "unanswerable") for c in made}
    both = {q for q, refused in asked if refused} & {q for q, refused in asked if not refused}
    assert len(both) >= 5


def test_mirrored_motions_have_mirrored_answers(motions, made):
    some = [c for c in made if c.kind == "side" and c.provenance["about"].get("exercise")]
    sides = {(c.motions[0]["mirror"], c.truth["side"]) for c in some}
    assert sides == {(False, "right"), (True, "left")}
    turns = [c for c in made if c.kind == "turn" and "walk-turn" in c.id]
    assert all(c.provenance["about"]["content"] == f"walk-turn-{c.truth['turn']}" for c in turns)


def test_repetitions_are_where_they_are_said_to_be(motions, made):
    for c in made:
        if c.kind == "count" and c.provenance["about"].get("exercise"):
            assert len(c.moments_s[0]) == c.truth["count"] == len(c.motions[0]["pieces"])
            motion = motions.motion(c.motions[0])
            wrist = np.nanmax(motion.positions[:, [4, 7], 1], axis=1)
            for t in c.moments_s[0]:
                near = wrist[max(0, round((t - 0.2) * motion.fps)) : round((t + 0.2) * motion.fps) + 1]
                assert near.max() > 0.95 * wrist.max()


def test_written_and_read(tmp_path, made):
    assert write_instructions(made, tmp_path / "a.jsonl") == len(made)
    assert read_instructions(tmp_path / "a.jsonl") == made


def test_a_user_s_own_line(tmp_path):
    gait(seconds=3).save(tmp_path / "walk.lmm.npz")
    row = {
        "motions": [{"path": "walk.lmm.npz"}],
        "messages": [{"role": "user", "content": "Limping?"}, {"role": "assistant", "content": "No."}],
    }
    (tmp_path / "own.jsonl").write_text("\n" + json.dumps(row) + "\n")
    (own,) = read_instructions(tmp_path / "own.jsonl")
    assert (own.question, own.answer, own.kind, own.truth, own.moments_s, own.split) == (
        "Limping?", "No.", "own", {}, [[]], "train"
    )  # fmt: skip
    assert Motions().motion(own.motions[0]).num_frames == 90
    assert check([own], Motions())["own", "answer"]["not told"] == 1


GOOD: dict[str, Any] = {
    "motions": [{"pieces": [{"id": "a"}]}],
    "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
}


@pytest.mark.parametrize(
    "change",
    [
        {"motions": []}, {"motions": [{}]}, {"motions": "a"}, {"motions": GOOD["motions"] * 3}, {"messages": []},
        {"messages": GOOD["messages"][:1]}, {"messages": GOOD["messages"][::-1]}, {"messages": "q"}, {"other": 1},
        {"messages": [{"role": "user", "content": " "}, GOOD["messages"][1]]}, {"kind": 3}, {"truth": []},
        {"moments_s": [[1], [2]]}, {"moments_s": [["x"]]}, {"moments_s": [[-1]]}, {"moments_s": [1]}, {"split": None},
        {"moments_s": [[float("nan")]]}, {"id": "x" * 20_000},
    ],
)  # fmt: skip
def test_lines_that_are_no_conversation_are_refused(tmp_path, change):
    (tmp_path / "a.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps({**GOOD, **change}) + "\n")
    with pytest.raises(InputError, match=r"a\.jsonl: line 2 is no conversation"):
        read_instructions(tmp_path / "a.jsonl")


@pytest.mark.parametrize("line", ["", "[" * 5000, "{", "[]", "3", '{"messages": []}', "x" * 200_000])
def test_lines_that_are_no_object_are_refused(tmp_path, line):
    (tmp_path / "a.jsonl").write_text(line + "\n")
    if not line:
        assert read_instructions(tmp_path / "a.jsonl") == []
        return
    with pytest.raises(InputError, match="line 1 is"):
        read_instructions(tmp_path / "a.jsonl")


def test_kit_is_for_evaluation_only(tmp_path, motions):
    rows = [{"trial": "07_00", "start_s": 0, "end_s": 3, "captions": ["A human walks."], "caption_source": "KIT-ML"}]
    (tmp_path / "pairs.jsonl").write_text("\n".join(map(json.dumps, rows)))
    kit = [c for c in instructions(motions, kit=tmp_path / "pairs.jsonl") if c.split == "evaluation"]
    assert [(c.kind, c.truth, c.answer) for c in kit] == [("caption", {"caption": "a human walks"}, "a human walks.")]
    assert "KIT" in kit[0].licence


def test_command(tmp_path, capsys):
    store = write_store(tmp_path / "s", [uiprmd(repetitions(1), "07", True, e) for e in (1, 2)])
    assert run(["instructions", str(store.path), "-o", str(tmp_path / "o.jsonl"), "--check"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("conversations", "count", "measured"))
    assert len(read_instructions(tmp_path / "o.jsonl")) > 4
    assert run(["instructions", str(tmp_path), "-o", str(tmp_path / "o.jsonl")]) == 2


@pytest.mark.slow
def test_real_stores_agree_with_labels(tmp_path, shared_data):
    lmm.ingest([shared_data / "uiprmd" / "correct" / "vicon"], tmp_path / "s")
    motions = Motions([tmp_path / "s"])
    found = check(instructions(motions), motions)
    for (_, against), n in found.items():
        if against in ("answer", "labels"):
            assert n["other"] == 0
