"""The assistant: what the language model reads, what is taught, answers one by one and side by side, files."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm.core.errors import InputError, LmmError
from lmm.models.assistant import PARTS, Assistant
from lmm.models.assistant_config import AssistantConfig
from lmm.models.conversation import Asked, bumps
from lmm.models.motion_encoder import Clip
from lmm.models.motion_language import MotionLanguageModel

transformers = pytest.importorskip("transformers", reason="needs transformers")
tokenizers = pytest.importorskip("tokenizers", reason="needs tokenizers")

WORDS = "how many squats ? is it correct yes no one two three the person does again \n and".split(" ")
Make = Callable[..., Assistant]


def tokenizer() -> Any:
    known = {w: i for i, w in enumerate(["[unk]", "<s>", "</s>", *WORDS])}
    made = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, "[unk]"))
    made.pre_tokenizer = tokenizers.pre_tokenizers.Sequence(
        [tokenizers.pre_tokenizers.Split(" ", "removed"), tokenizers.pre_tokenizers.Split("\n", "isolated")]
    )
    made.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="[unk]"
    )


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llm")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS) + 3, hidden_size=24, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=160, initializer_range=0.3, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, pad_token_id=None,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def branch(llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("motion-language")
    torch.manual_seed(1)
    model = MotionLanguageModel.from_llm(llm, "tiny", latent_width=5)
    for p in model.motion.parameters():  # no copy of the text's any more
        p.data += 0.1 * torch.randn_like(p)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def make(llm: Path, branch: Path) -> Make:
    """(branch=False, **config) → a tiny assistant in which every weight matters."""

    def make(on_branch: bool = False, **changes: Any) -> Assistant:
        torch.manual_seed(2)
        begun: dict[str, Any] = {"branch": branch} if on_branch else {"llm": llm}
        begun["answers"] = [a.answer for a in ASKED]
        model = Assistant.from_llm(size="tiny", **begun, **{"dropout": 0.0, **changes})
        for p in model.own.parameters():
            p.data += 0.05 * torch.randn_like(p)
        model.eval()
        return model

    return make


def clip(seed: int, frames: int, start_s: float = 0.0) -> Clip:
    rng = np.random.default_rng(seed)
    seen = rng.random((frames, 25)) < 0.9
    places = rng.standard_normal((frames, 25, 3)).astype(np.float32) * seen[..., None]
    return Clip(places, seen, rng.standard_normal((frames, 3)).cumsum(0).astype(np.float32) / 10, 15.0, start_s)


SHORT = clip(0, 20)
LONG = replace(clip(1, 80, 3.0), video=torch.arange(4 * 3 * 20 * 30).view(4, 3, 20, 30).remainder(251).to(torch.uint8))
ASKED = [
    Asked("how many squats ?", (LONG,), answer="the person does two", moments_s=((1.0, 3.0),)),
    Asked("is it correct ?", (SHORT,), answer="yes"),
    Asked("is it correct again ?", (SHORT, LONG), (("how many ?", "one"),), answer="no no"),
    Asked("how many ?", (), answer="three"),
]


def meant(model: Assistant, read: Any, row: int) -> Any:
    """Return the mixture of words that the gist of a row expects, as large as a word; 0 without motion."""
    if row not in {of for of, _ in read.pairs}:
        return 0
    words = model.llm.get_input_embeddings().weight[list(model.config.lexicon)]
    x = torch.softmax(read.said[row], -1) @ words
    return model.perception.word_size * x / (x.square().mean() + torch.finfo(x.dtype).eps).sqrt()


def spoken(model: Assistant, read: Any, row: int, embedded: torch.Tensor) -> torch.Tensor:
    """Return the logits (T, vocabulary) after embedded (1, T, width), by transformers, with the gist on top."""
    logits = model.llm(inputs_embeds=embedded).logits[0].detach().clone()
    states = model.llm.model(inputs_embeds=embedded).last_hidden_state[0]
    copy = torch.sigmoid(model.own["copy"](states))[:, 0]
    if read.said is not None:
        for n, token in enumerate(model.config.lexicon):
            logits[:, token] += (copy * read.said[row, n]).detach()
    return logits


def test_the_language_model_reads_what_the_text_says(make: Make) -> None:
    """Question, of each motion a marker, key frames, segments and a quantity, then the answer marker and answer."""
    model = make()
    read = model.pack(ASKED)
    words = model.llm.get_input_embeddings()
    own = 1 + 4 + 4 + 1
    for row, asked in enumerate(ASKED):
        before, after = model._words(asked)
        number = len(before) + own * len(asked.clips) + 1 + len(after)
        assert int(read.exists[row].sum()) == number
        assert read.exists[row, :number].all()
        wanted = [False] * len(before) + [True] * (own * len(asked.clips) + 1) + [False] * len(after)
        assert read.own[row, :number].tolist() == wanted
        answer = read.embedded[row, number - len(after) : number]
        torch.testing.assert_close(answer, words(torch.tensor(after)))
        marker = model.perception.word_size * model.own.answer + meant(model, read, row)
        torch.testing.assert_close(read.embedded[row, number - len(after) - 1], marker)
    assert read.percepts is not None
    assert read.pairs == [(0, 0), (1, 0), (2, 0), (2, 1)]
    before, _ = model._words(ASKED[0])
    heard = read.percepts.heard[0, : len(before)]
    torch.testing.assert_close(read.embedded[0, : len(before)], words(torch.tensor(before)) + heard)
    assert heard.abs().max() > 1e-3
    torch.testing.assert_close(read.embedded[0, len(before) : len(before) + own], read.percepts.tokens[0])
    torch.testing.assert_close(
        read.embedded[3, : len(model._words(ASKED[3])[0])], words(torch.tensor([1, 3, 4, 6, 16 + 3]))
    )


def test_states_are_those_of_transformers(make: Make) -> None:
    model = make()
    for asked in ASKED:
        read = model.pack([asked])
        torch.testing.assert_close(
            model(read), model.llm.model(inputs_embeds=read.embedded).last_hidden_state, atol=1e-5, rtol=1e-4
        )


def test_the_loss_is_that_of_each_alone(make: Make) -> None:
    """Conversations side by side, motions of other lengths, shared or not: none changes another's loss."""
    model = make()
    total, count = 0.0, 0
    for asked in ASKED:
        read = model.pack([asked])
        logits = spoken(model, read, 0, read.embedded)
        _, after = model._words(asked)
        begin = read.embedded.shape[1] - len(after)
        for i, token in enumerate(after):
            total -= float(torch.log_softmax(logits[begin + i - 1], -1)[token].detach())
            count += 1
    losses = model.losses(ASKED)
    assert float(losses["text"].detach()) == pytest.approx(total / count, rel=1e-4)
    loss, number = model.loss(ASKED, 0.5)
    assert int(number) == 4
    wanted = 4 * (losses["text"] + model.config.gist * losses["gist"] + model.config.moments * losses["moments"])
    torch.testing.assert_close(loss.detach(), wanted.detach())


def test_the_gist_is_taught_the_rarer_words_of_an_answer(make: Make) -> None:
    model = make()
    read = model.pack(ASKED)
    answers = [set(model._words(a)[1]) for a in ASKED]
    wanted = []
    for row in range(3):  # the last has no motion
        shares = {t: math.log(3 / sum(t in a for a in answers[:3])) for t in answers[row]}
        told = torch.log_softmax(read.said[row], -1).tolist()
        of = dict(zip(model.config.lexicon, told, strict=True))
        wanted.append(-sum(w * of[t] for t, w in shares.items() if w) / sum(shares.values()))
    assert float(model.losses(ASKED)["gist"].detach()) == pytest.approx(sum(wanted) / 3, rel=1e-4)
    assert "gist" not in make(gist=0).losses(ASKED)
    assert set(make(text=0).losses(ASKED)) == {"gist", "moments"}


def test_moments_teach_the_gates(make: Make) -> None:
    model = make()
    read = model.pack(ASKED[:1])
    assert read.percepts is not None
    gates = read.percepts.talk.gates[0].detach()
    seconds = (np.arange(len(gates)) + 0.5) * 0.2
    wanted = np.zeros(len(gates))
    for moment in (1.0, 3.0):
        bump = np.exp(-0.5 * ((seconds - moment) / 0.15) ** 2)
        wanted += bump / bump.sum()
    np.testing.assert_allclose(bumps((1.0, 3.0), read.percepts.seconds), wanted, atol=1e-6)
    g, w = gates.numpy(), np.minimum(wanted, 1)
    entropy = -(w * np.log(g) + (1 - w) * np.log(1 - g)).mean()
    miss = abs(g.sum() - 2)
    wanted_loss = entropy + 0.1 * (miss - 0.5 if miss > 1 else miss**2 / 2)
    assert float(model.losses(ASKED[:1])["moments"].detach()) == pytest.approx(wanted_loss, rel=1e-4)
    assert "moments" not in model.losses(ASKED[1:2])
    assert "moments" not in make(moments=0).losses(ASKED[:1])


@pytest.mark.parametrize(
    "changes",
    [{}, {"levels": (5, 5, 3)}, {"selection": "uniform"}, {"on_branch": True}, {"video": True}, {"lora_rank": 2}],
)
def test_every_part_that_learns_gets_a_gradient(make: Make, changes: dict[str, Any]) -> None:
    model = make(**changes)
    names = {id(p): n for n, p in model.named_parameters()}
    model.loss(ASKED, 0.0)[0].backward()
    still = {names[id(p)] for part in PARTS for p in model.part(part) if p.grad is None or not p.grad.any()}
    allowed = "talker.score" if changes.get("selection") else "down" if changes.get("lora_rank") else "pooler"
    # A learns nothing while B is 0, who selects nothing needs no scores, and the image token is not pooled
    assert all(allowed in n or "key_value.bias" in n for n in still), still


def test_only_what_is_named_learns(make: Make) -> None:
    model = make()
    model.train_only("projection", "talker")
    groups = model.parameter_groups({"talker": 0.1})
    assert [(g["name"], g["scale"]) for g in groups] == [("projection", 1.0), ("talker", 0.1)]
    model.loss(ASKED, 0.0)[0].backward()
    learned = {id(p) for p in model.parameters() if p.grad is not None}
    assert learned == {id(p) for g in groups for p in g["params"]}
    whole = {id(p) for part in PARTS for p in model.part(part)}
    assert whole == {id(p) for p in model.parameters()}  # nothing is left out
    with pytest.raises(LmmError, match="no part 'nose'"):
        model.train_only("nose")


def test_answers_are_the_likeliest_words_one_after_another(make: Make) -> None:
    model = make()
    for asked in ASKED:
        ids = list(model.answer(asked, max_tokens=7))
        read = model.pack([replace(asked, answer=None)])
        x = read.embedded
        for token in [*ids, 2][:7]:
            assert int(spoken(model, read, 0, x)[-1].argmax()) == token
            x = torch.cat([x, model.llm.get_input_embeddings()(torch.tensor([[token]]))], dim=1)
    assert model.answers(ASKED, max_tokens=7) == [model.text(list(model.answer(a, max_tokens=7))) for a in ASKED]


def test_drawn_answers_are_those_of_their_seed(make: Make) -> None:
    model = make()
    told = [
        list(model.answer(ASKED[0], torch.Generator().manual_seed(s), 12, temperature=1.5)) for s in (0, 0, 1, 2, 3)
    ]
    assert told[0] == told[1]
    assert len({tuple(t) for t in told}) > 1


def test_key_frames_are_moments_of_the_motion(make: Make) -> None:
    model = make()
    first, second = model.look(ASKED[2])
    assert [len(s.key_frames) for s in (first, second)] == [4, 4]
    assert all(0 <= k.time_s <= SHORT.seconds for k in first.key_frames)
    assert all(3 <= k.time_s <= 3 + LONG.seconds for k in second.key_frames)  # on the motion's own clock
    assert all(0 < k.weight <= 1 and 0 < k.radius_s < 2 for k in (*first.key_frames, *second.key_frames))
    weights = [k.weight for k in first.key_frames]
    assert weights == sorted(weights, reverse=True)
    assert 0 < first.quantity < 7
    assert math.isfinite(second.quantity)
    assert model.look(ASKED[3]) == []
    assert model.key_frames(ASKED[1])[0] == list(model.look(ASKED[1])[0].key_frames)


def test_without_motion_only_words_count(make: Make) -> None:
    model = make(motion=False)
    a, b = (model.answers([replace(ASKED[0], clips=(c,))], max_tokens=5) for c in (SHORT, LONG))
    assert a == b
    assert not model.look(ASKED[0])
    assert "moments" not in model.losses(ASKED)


@pytest.mark.parametrize("changes", [{}, {"on_branch": True}, {"video": True}])
def test_files_give_the_assistant_again(make: Make, tmp_path: Path, changes: dict[str, Any]) -> None:
    model = make(**changes)
    if model.base is None:
        model.llm.get_input_embeddings().weight.data *= 1.1  # tuned
    model.save_pretrained(tmp_path)
    again = Assistant.from_pretrained(tmp_path)
    assert again.config.parameters == sum(p.numel() for p in model.own.parameters())
    assert again.answers(ASKED, max_tokens=6) == model.answers(ASKED, max_tokens=6)
    torch.testing.assert_close(again.loss(ASKED, 0.0)[0], model.loss(ASKED, 0.0)[0], rtol=0, atol=0)
    assert Assistant.from_pretrained(tmp_path, keys=2).look(ASKED[0])[0].key_frames[0].weight > 0


def test_on_a_branch_no_word_is_forgotten(make: Make, branch: Path) -> None:
    """After training, text alone and motion generated are, bit for bit, those of the motion-language model."""
    model, before = make(on_branch=True), MotionLanguageModel.from_pretrained(branch)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    told = float(model.loss(ASKED, 0.0)[0].detach())
    for _ in range(5):
        optimizer.zero_grad()
        loss, count = model.loss(ASKED, 0.0)
        (loss / count).backward()
        optimizer.step()
    assert float(model.loss(ASKED, 0.0)[0].detach()) < told
    assert model.base is not None
    ids = torch.arange(3, 12)[None]
    assert torch.equal(model.llm(ids).logits, before.text_logits(ids))
    said = [before.text("the person does")]
    one, other = (
        m.generate_batch([said], torch.Generator().manual_seed(0), max_latents=4, min_latents=4)[0]
        for m in (model.base, before)
    )
    assert torch.equal(one, other)


def test_video_is_looked_at_where_there_is_some(make: Make) -> None:
    model = make(video=True)
    told = model.losses([ASKED[0], ASKED[1]])
    assert told["text"] != model.losses([replace(ASKED[0], clips=(replace(LONG, video=None),)), ASKED[1]])["text"]
    torch.testing.assert_close(model.losses([ASKED[1]]), model.losses([replace(ASKED[1], clips=(replace(SHORT),))]))
    assert model.perception.video is not None
    assert LONG.video is not None
    whole = torch.cat([model.perception.video(LONG.video[None, :2]), model.perception.video(LONG.video[None, 2:])], 1)
    torch.testing.assert_close(whole, model.perception.video(LONG.video[None]))
    blind = make(video=True, motion=False)
    assert all(3 < k.time_s < 5 for k in blind.look(ASKED[0])[0].key_frames)
    with pytest.raises(LmmError, match="Give its video"):
        blind.pack(ASKED[1:2])


@pytest.mark.parametrize("kind", ["vit", "dinov2", "clip_vision_model"])
def test_a_vision_model_of_transformers(llm: Path, tmp_path: Path, kind: str) -> None:
    fields: dict[str, Any] = {
        "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "image_size": 28, "patch_size": 14,
    }  # fmt: skip
    theirs = transformers.AutoModel.from_config(transformers.AutoConfig.for_model(kind, **fields)).eval()
    theirs.save_pretrained(tmp_path / "vision")
    (tmp_path / "vision" / "preprocessor_config.json").write_text(
        '{"image_mean": [0.1, 0.2, 0.3], "image_std": [2, 3, 4]}'
    )
    model = Assistant.from_llm(llm, "tiny", vision=tmp_path / "vision", video=True).eval()
    assert LONG.video is not None
    assert model.perception.video is not None
    x = torch.nn.functional.interpolate(LONG.video / 255, (28, 28), mode="bilinear", antialias=True)
    x = (x - torch.tensor([0.1, 0.2, 0.3])[:, None, None]) / torch.tensor([2.0, 3.0, 4.0])[:, None, None]
    wanted = theirs(pixel_values=x).last_hidden_state[:, 0]
    torch.testing.assert_close(model.perception.video(LONG.video[None])[0], wanted)
    model.save_pretrained(tmp_path / "assistant")
    again = Assistant.from_pretrained(tmp_path / "assistant")  # all that is needed lies in its folder
    assert again.perception.video is not None
    torch.testing.assert_close(again.perception.video(LONG.video[None])[0], wanted)
    with pytest.raises(InputError, match="no vision model"):
        Assistant.from_llm(llm, "tiny", vision=llm / "nothing", video=True)


def test_low_rank_weights_are_a_sum_and_saved_as_one(make: Make, tmp_path: Path) -> None:
    plain, model = make(), make(lora_rank=3)
    torch.testing.assert_close(model.llm(torch.tensor([[1, 4]])).logits, plain.llm(torch.tensor([[1, 4]])).logits)
    model.train_only("lora")
    added = model.part("lora")
    assert len(added) == 2 * 7 * 2
    for p in added:
        p.data += 0.1 * torch.randn_like(p)
    layer, old = model.llm.model.layers[0].mlp.up_proj, plain.llm.model.layers[0].mlp.up_proj
    low = layer.parametrizations.weight[0]
    torch.testing.assert_close(layer.weight, old.weight + low.up @ low.down)
    model.loss(ASKED, 0.0)[0].backward()
    assert all(p.grad is not None for p in added)
    assert old.weight.grad is None
    model.save_pretrained(tmp_path)
    alone = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "llm")
    assert not any("parametrizations" in n for n, _ in alone.named_parameters())
    torch.testing.assert_close(alone(torch.tensor([[1, 4]])).logits, model.llm(torch.tensor([[1, 4]])).logits)
    again = Assistant.from_pretrained(tmp_path)
    assert again.answers(ASKED, max_tokens=5) == model.answers(ASKED, max_tokens=5)


def test_what_cannot_be_asked_is_refused(make: Make, llm: Path, tmp_path: Path) -> None:
    model = make()
    for asked, said in [
        ([Asked("  ", (SHORT,))], "empty question"),
        ([Asked("how many ?", (SHORT,) * 3)], "2 at most"),
        ([Asked("how many ? " * 60, (SHORT,))], "longer than the 160"),
        ([], "nothing was asked"),
    ]:
        with pytest.raises(LmmError, match=said):
            model.pack(asked)
    with pytest.raises(LmmError, match="too long"):
        list(model.answer(Asked("how many ? " * 40, (SHORT,)), max_tokens=60))
    with pytest.raises(LmmError, match="at least 1"):
        model.answers(ASKED, max_tokens=0)
    with pytest.raises(LmmError, match="no size"):
        Assistant.from_llm(llm, "huge")
    with pytest.raises(LmmError, match="one of them"):
        Assistant.from_llm()
    with pytest.raises(InputError, match="no model"):
        Assistant.from_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(InputError, match="no weights that fit"):
        Assistant.from_pretrained(tmp_path)


def test_a_config_that_cannot_be_is_refused() -> None:
    fields: dict[str, Any] = {"size": "tiny", "llm_width": 8, **Assistant.sizes["tiny"]}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"levels": (1,)}, "levels"),
        ({"heads": 3}, "shared evenly"),
        ({"branch": True, "lora_rank": 2}, "left as it is"),
        ({"layers": 64, "width": 4096, "heads": 8, "hidden": 4096}, "too large"),
    ]
    for changes, said in wrong:
        with pytest.raises(ValueError, match=said):
            AssistantConfig(**{**fields, **changes})
