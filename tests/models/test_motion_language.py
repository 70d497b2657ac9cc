"""Motion beside language: nothing forgotten, one attention over both, streams that equal what they are made of."""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lmm.core.errors import InputError, LmmError
from lmm.generative.flow import solve
from lmm.models.flow_head import FlowHead, Sampler
from lmm.models.language import load_language_model, save_language_model
from lmm.models.motion_language import PARTS, MotionLanguageModel
from lmm.models.motion_language_config import MotionLanguageConfig
from lmm.models.one_token import Cache, Steps
from lmm.models.sequences import BOM, EOM, LATENT, TEXT, Segment, pack

transformers = pytest.importorskip("transformers", reason="needs transformers")

WORDS, WIDTH, LATENTS = 40, 24, 5
FAMILIES = {
    "llama": transformers.LlamaConfig,
    "qwen2": transformers.Qwen2Config,
    "qwen3": transformers.Qwen3Config,
}
Make = Callable[..., MotionLanguageModel]


def language_model(family: str, **changes: Any) -> Any:
    given = {
        "vocab_size": WORDS,
        "hidden_size": WIDTH,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": None,
        **changes,
    }
    if family == "qwen2":
        given.pop("head_dim")
    return transformers.AutoModelForCausalLM.from_config(FAMILIES[family](**given)).eval()


@pytest.fixture
def make() -> Make:
    """(family, shaken, **config) → a tiny model; shaken, its motion weights are no copy and every one matters."""

    def make(
        family: str = "qwen2", shaken: bool = True, dtype: torch.dtype = torch.float32, **config: Any
    ) -> MotionLanguageModel:
        known = {"size": "tiny", "width": WIDTH, "latent_width": LATENTS, "head_blocks": 2, "head_width": 16}
        model = MotionLanguageModel(MotionLanguageConfig(**{**known, **config}), language_model(family).to(dtype))
        if shaken:
            with torch.no_grad():
                for p in model.motion.parameters():
                    p += 0.2 * torch.randn_like(p)
        return model.eval()

    return make


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    words = ["[UNK]", "<s>", "</s>", *"a person walks runs jumps turns left right then and waves slowly".split()]
    inner = tokenizers.Tokenizer(tokenizers.models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    inner.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="[UNK]"
    )


def text(number: int, learn: bool = False) -> Segment:
    return Segment(torch.randint(3, WORDS, (number,)), learn)


def motion(number: int, **given: Any) -> Segment:
    return Segment(torch.randn(number, LATENTS), **given)


def told(batch: list[list[Segment]], model: MotionLanguageModel) -> dict[str, float]:
    torch.manual_seed(0)
    model.loss(batch, 0.0)
    return model.told


# nothing forgotten


def test_text_alone_is_the_untouched_model(make: Make, family: str) -> None:
    """Logits, perplexity and generation have the same bits before, during and after a step of training."""
    torch.manual_seed(3)
    model = make(family)
    twin = copy.deepcopy(model.llm)
    ids = torch.randint(0, WORDS, (3, 11))
    mask = torch.ones_like(ids)
    mask[1, :4] = 0  # padded on the left, as transformers generates

    def same() -> None:
        with torch.no_grad():
            assert torch.equal(model.text_logits(ids, attention_mask=mask), twin(ids, attention_mask=mask).logits)
            assert torch.equal(model.llm(ids, labels=ids).loss.exp(), twin(ids, labels=ids).loss.exp())
        assert model.text_logits(ids).shape == (3, 11, WORDS)
        given = {"max_new_tokens": 8, "attention_mask": mask, "pad_token_id": 0}
        for sampling in ({"do_sample": False}, {"do_sample": True, "num_beams": 1}):
            torch.manual_seed(4)
            expected = twin.generate(ids, **given, **sampling)
            torch.manual_seed(4)
            assert torch.equal(model.llm.generate(ids, **given, **sampling), expected)
        for a, b in zip(model.llm.state_dict().values(), twin.state_dict().values(), strict=True):
            assert torch.equal(a, b)

    same()
    optimizer = torch.optim.AdamW(model.parameters(), 0.1)
    before = copy.deepcopy(model.motion.state_dict())
    model.train()
    for _ in range(2):
        loss, count = model.loss([[text(4), motion(6), text(5, learn=True)]], 0.0)
        optimizer.zero_grad()
        (loss / count).backward()
        same()
        optimizer.step()
        same()
    assert any(not torch.equal(a, before[k]) for k, a in model.motion.state_dict().items())
    model.eval()
    same()


# parity with transformers


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_copy_of_the_branch_is_the_model(make: Make, family: str, dtype: torch.dtype) -> None:
    """Text through either set of weights, token by token at random, padded: the logits are those of transformers."""
    model = make(family, shaken=False, dtype=dtype)
    ids = torch.randint(0, WORDS, (4, 13))
    kinds = torch.tensor([TEXT, LATENT])[torch.randint(0, 2, (4, 13))]
    kinds[0], kinds[1] = TEXT, LATENT
    kinds[2, 9:] = 0
    with torch.no_grad():
        embedded = model.llm.get_input_embeddings()(ids)
        expected = model.llm(ids, attention_mask=(kinds > 0).long()).logits
        found = model.llm.get_output_embeddings()(model(kinds, embedded))
    torch.testing.assert_close(found[kinds > 0], expected[kinds > 0])


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_with_cache_it_is_the_model(make: Make, family: str, packed: bool, dtype: torch.dtype) -> None:
    """Prompts of unequal lengths at once, then a token at a time through either set: the logits of transformers."""
    model = make(family, shaken=False, dtype=dtype)
    ids, lengths, more = torch.randint(0, WORDS, (3, 12)), torch.tensor([6, 3, 1]), 6
    kinds = torch.where(torch.arange(6) < lengths[:, None], TEXT, 0)
    a = model.llm.model.layers[0].self_attn
    embed, head = model.llm.get_input_embeddings(), model.llm.get_output_embeddings()
    steps = {
        k: Steps(layers, norm, packed)
        for k, layers, norm in (
            (TEXT, model.llm.model.layers, model.llm.model.norm),
            (LATENT, model.motion.layers, model.motion.norm),
        )
    }
    with torch.inference_mode():
        cache = Cache(2, 2, a.head_dim, lengths, more, model.llm.model.rotary_emb, model.motion.begin)
        model(kinds, embed(ids[:, :6]), cache)
        rows = [model.llm(ids[i : i + 1, list(range(n)) + list(range(6, 12))]).logits[0] for i, n in enumerate(lengths)]
        for t in range(more):
            found = head(steps[LATENT if t % 2 else TEXT](embed(ids[:, 6 + t]), cache))
            expected = torch.stack([row[n + t] for row, n in zip(rows, lengths, strict=True)])
            loose = {"rtol": 0.1, "atol": 0.1 * float(expected.float().std())} if dtype == torch.bfloat16 else {}
            torch.testing.assert_close(found, expected, **loose)


def slow_states(model: MotionLanguageModel, kinds: list[int], x: Tensor) -> Tensor:
    """Return the states (T, width) of one sequence: each token through its own set, looking at all before, in loops."""
    angles = model.llm.model.rotary_emb.inv_freq.double()
    for text_layer, motion_layer in zip(model.llm.model.layers, model.motion.layers, strict=True):
        sets = [text_layer if k == TEXT else motion_layer for k in kinds]
        size = text_layer.self_attn.head_dim
        queries, keys, values = [], [], []
        for t, layer in enumerate(sets):
            a, y = layer.self_attn, layer.input_layernorm(x[t])
            q, k, v = (p(y).view(-1, size) for p in (a.q_proj, a.k_proj, a.v_proj))
            if hasattr(a, "q_norm"):
                q, k = a.q_norm(q), a.k_norm(k)
            turn = torch.polar(torch.ones(size // 2).double(), t * angles)
            for made, kept in ((q, queries), (k, keys)):
                turned = torch.complex(made[:, : size // 2], made[:, size // 2 :]) * turn
                kept.append(torch.cat([turned.real, turned.imag], dim=-1))
            values.append(v)
        out = []
        for t, layer in enumerate(sets):
            heads = []
            for h in range(len(queries[t])):
                of = h * len(keys[t]) // len(queries[t])
                scores = torch.stack([queries[t][h] @ keys[s][of] / math.sqrt(size) for s in range(t + 1)])
                heads.append(sum(w * values[s][of] for s, w in enumerate(scores.softmax(0))))
            y = x[t] + layer.self_attn.o_proj(torch.cat(heads))
            out.append(y + layer.mlp(layer.post_attention_layernorm(y)))
        x = torch.stack(out)
    norms = [model.llm.model.norm if k == TEXT else model.motion.norm for k in kinds]
    return torch.stack([norm(y) for norm, y in zip(norms, x, strict=True)])


def test_mixed_attention_is_the_slow_one(make: Make, family: str) -> None:
    model = make(family, dtype=torch.float64)
    batch = model.pack([[text(3), motion(4), text(3), motion(2)], [motion(2), text(2)]])
    with torch.no_grad():
        x = model.embed(batch)
        found = model(batch.kinds, x)
        for row in range(2):
            kinds = [int(k) for k in batch.kinds[row] if k]
            expected = slow_states(model, kinds, x[row, : len(kinds)])
            torch.testing.assert_close(found[row, : len(kinds)], expected, rtol=1e-5, atol=1e-5)
            assert not found[row, len(kinds) :].any()


# sequences


def test_packed_sequences() -> None:
    """One by hand: T2M, an instruction and a cut motion; M2T behind it."""
    first, second = torch.arange(15.0).view(3, 5), torch.arange(10.0).view(2, 5)
    batch = pack(
        [
            [
                Segment(torch.tensor([7, 8]), learn=False),
                Segment(first),
                Segment(torch.tensor([9]), learn=False),
                Segment(second, ends=False),
            ],
            [Segment(second, learn=False), Segment(torch.tensor([5, 2]))],
        ],
        bos=[1],
        latent_width=5,
    )
    t, v, b, e = TEXT, LATENT, BOM, EOM
    assert batch.kinds.tolist() == [[t, t, t, b, v, v, v, e, t, b, v, v, e], [t, b, v, v, e, t, t, 0, 0, 0, 0, 0, 0]]
    assert batch.ids[0].tolist() == [1, 7, 8, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]
    assert batch.ids[1].tolist() == [1, 0, 0, 0, 0, 5, 2, 0, 0, 0, 0, 0, 0]
    assert torch.equal(batch.latents, torch.cat([first, second, second]))
    assert batch.flow_at.tolist() == [3, 4, 5, 9, 10]
    assert torch.equal(batch.flow_target, torch.cat([first, second]))
    assert batch.exit_at.tolist() == [4, 5, 6, 10]
    assert batch.exit_target.tolist() == [0, 0, 1, 0]
    assert batch.text_at.tolist() == [13 + 4, 13 + 5]
    assert batch.text_target.tolist() == [5, 2]
    assert batch.start_at.tolist() == [1, 2, 8, 13 + 5, 13 + 6]
    assert batch.start_target.tolist() == [0, 1, 1, 0, 0]


def test_motion_that_goes_on_has_no_end() -> None:
    batch = pack([[Segment(torch.zeros(2, 5))], [Segment(torch.empty(0, 0))]], [], 5, still=True)
    assert batch.kinds.tolist() == [[BOM, LATENT, LATENT], [BOM, 0, 0]]


def test_sequences_that_are_none(make: Make) -> None:
    model = make()
    with pytest.raises(LmmError, match="without text and motion"):
        model.pack([[]])
    with pytest.raises(LmmError, match="without text and motion"):
        model.pack([])
    with pytest.raises(LmmError, match=r"latents of shape \(3, 4\) were given. Give \(N, 5\)"):
        model.pack([[Segment(torch.zeros(3, 4))]])
    with pytest.raises(LmmError, match="a sequence of 202 tokens is longer than the 128 that are read"):
        model.pack([[motion(200)]])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_is_the_model_at_the_shape_of_one_that_is_used() -> None:
    """Qwen2.5-0.5B with random weights, in bfloat16: parity by either set, a stream, a description."""
    shape = {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14}
    shape |= {"num_key_value_heads": 2, "vocab_size": 151_936, "tie_word_embeddings": True}
    config = transformers.Qwen2Config(
        **shape, rms_norm_eps=1e-6, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    )
    llm = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model = MotionLanguageModel(MotionLanguageConfig(size="base", width=896, **MotionLanguageModel.sizes["base"]), llm)
    assert sum(p.numel() for p in model.part("branch")) == pytest.approx(358e6, rel=0.01)
    ids = torch.randint(0, 151_000, (2, 12))
    kinds = torch.tensor([TEXT, LATENT])[torch.randint(0, 2, (2, 12))]
    with torch.inference_mode():
        expected = llm(ids).logits.float()
        found = llm.lm_head(model(kinds, llm.get_input_embeddings()(ids))).float()
        assert float((found - expected).norm() / expected.norm()) < 0.03
        stream = list(model.generate([Segment(ids[0])], torch.Generator().manual_seed(0), min_latents=3, max_latents=3))
        assert all(bool(x.isfinite().all()) for x in stream)
        assert len(model.describe([Segment(torch.stack(stream))], max_tokens=3)) == 3


# losses and gradients


def test_losses_are_those_of_the_places(make: Make) -> None:
    """Against the states, one place after another; and text alone is the language model's own loss."""
    model = make(noise=0.0, draws=3)
    sequences = [[text(3), motion(4)], [motion(3, learn=False), text(4, learn=True)]]
    with torch.no_grad():
        torch.manual_seed(0)
        losses = model.losses(sequences)
        batch = model.pack(sequences)
        states = model(batch.kinds, model.embed(batch))
        assert {k: int(n) for k, (_, n) in losses.items()} == {"flow": 4 * 5 * 3, "exit": 4, "text": 4, "start": 7}
        torch.manual_seed(0)
        flow, _ = model.motion.flow.loss(sequences[0][1].tokens, states[0, 3:7], 3)
        torch.testing.assert_close(losses["flow"][0], flow)
        ends = torch.sigmoid(model.motion.exit(states[0, 4:8]))[:, 0]
        torch.testing.assert_close(losses["exit"][0], -(1 - ends[:3]).log().sum() - ends[3].log())
        logits = model.llm.get_output_embeddings()(states[1, 4:8]).log_softmax(-1)
        expected = -sum(logits[i, int(t)] for i, t in enumerate(sequences[1][1].tokens))
        torch.testing.assert_close(losses["text"][0], expected)
        starts = torch.sigmoid(model.motion.start(torch.cat([states[0, :3], states[1, 5:9]])))[:, 0]
        torch.testing.assert_close(
            losses["start"][0], -(1 - starts).log().sum() - starts[2].log() + (1 - starts[2]).log()
        )
        alone = text(9, learn=True)
        total, count = model.losses([[alone]])["text"]
        torch.testing.assert_close(total / count, model.llm(alone.tokens[None], labels=alone.tokens[None]).loss)


def test_loss_is_the_weighted_sum_of_what_is_told(make: Make) -> None:
    weights = {"flow": 2.0, "exit": 0.5, "text": 0.25, "start": 0.125}
    model = make(weights=weights)
    batch = [[text(3), motion(4)], [motion(3), text(4, learn=True)], [text(2), motion(2)]]
    total, count = model.loss(batch, 0.0)
    assert int(count) == 3
    assert float(total.detach() / count) == pytest.approx(sum(weights[k] * v for k, v in model.told.items()), rel=1e-5)
    torch.manual_seed(0)
    first = model.validation(batch)[0]
    torch.manual_seed(0)
    assert torch.equal(model.train().validation(batch)[0], first)
    assert not model.training


def test_training_sees_noise_and_goes_without_text(make: Make) -> None:
    model = make(noise=0.0, drop_text=0.0)
    batch = [[text(4), motion(3)]]
    quiet = told(batch, model.train())
    assert told(batch, model.eval()) == quiet
    noisy = make(noise=1.0, drop_text=0.0).train()
    noisy.load_state_dict(model.state_dict())
    assert told(batch, noisy)["exit"] != quiet["exit"]
    free = make(noise=0.0, drop_text=0.999).train()
    free.load_state_dict(model.state_dict())
    assert told(batch, free)["exit"] == told([batch[0][1:]], model)["exit"]
    assert told(batch, free.eval())["exit"] == quiet["exit"]


def test_only_motion_learns(make: Make, family: str) -> None:
    """All of it does, at once; text behind motion teaches the branch through the frozen set, text before nothing."""
    model = make(family).train()
    assert {k for k, p in model.named_parameters() if p.requires_grad} == {
        f"motion.{k}" for k, _ in model.motion.named_parameters()
    }
    model.loss([[text(4), motion(6), text(5, learn=True)]], 0.0)[0].backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None and bool(p.grad.any())) == name.startswith("motion."), name
    model.zero_grad()
    model.losses([[motion(3, learn=False), text(3, learn=True)]])["text"][0].backward()
    for name in PARTS:
        grads = [p.grad for p in model.part(name)]
        assert any(g is not None and bool(g.any()) for g in grads) == (name in ("adapter", "markers", "branch")), name


def test_gradients_are_those_of_no_shortcut(make: Make) -> None:
    """Text before motion is kept out of the graph only because it has no gradient: were all thawed, all is the same."""
    model = make(noise=0.0, drop_text=0.0).train()
    batch = [[text(4), motion(6), text(5, learn=True), motion(2)], [text(2), motion(3)]]
    found = []
    for thawed in (False, True):
        model.llm.requires_grad_(thawed)
        model.zero_grad()
        torch.manual_seed(0)
        model.loss(batch, 0.0)[0].backward()
        found.append([p.grad.clone() for p in model.motion.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    assert all(p.grad is not None and bool(p.grad.any()) for p in model.llm.parameters())


def test_gradient_through_the_frozen_set_is_exact(make: Make) -> None:
    model = make(dtype=torch.float64, noise=0.0)
    batch = [[motion(3, learn=False), text(4, learn=True)]]
    model.losses(batch)["text"][0].backward()
    weight = model.motion.layers[0].self_attn.v_proj.weight
    grad, step = float(weight.grad[1, 2]), 1e-3
    values = []
    with torch.no_grad():
        for sign in (1, -2):
            weight[1, 2] += sign * step
            values.append(float(model.losses(batch)["text"][0]))
    assert abs(grad) > 1e-4
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(grad, rel=0.01)


def test_parts_and_groups(make: Make) -> None:
    model = make()
    everything = [id(p) for name in PARTS for p in model.part(name)]
    assert len(everything) == len(set(everything))
    assert set(everything) == {id(p) for p in model.motion.parameters()}
    model.train_only("adapter", "markers", "flow", "exit")
    groups = model.parameter_groups({"flow": 0.1})
    assert [(g["name"], g["scale"]) for g in groups] == [("adapter", 1), ("markers", 1), ("flow", 0.1), ("exit", 1)]
    model.train().loss([[text(4), motion(6), text(5, learn=True)]], 0.0)[0].backward()
    learnt = {id(p) for p in model.parameters() if p.grad is not None and bool(p.grad.any())}
    assert learnt == {id(p) for g in groups for p in g["params"]}
    model.train_only(*PARTS)
    assert all(p.requires_grad for p in model.motion.parameters())
    assert not any(p.requires_grad for p in model.llm.parameters())
    with pytest.raises(LmmError, match="no part 'head'; it has adapter, markers, branch"):
        model.train_only("head")
    assert all(p.requires_grad for p in model.motion.parameters())


def test_a_step_in_bfloat16(make: Make, family: str) -> None:
    model = make(family).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = model.loss([[text(4), motion(6), text(5, learn=True)], [text(2), motion(3)]], 0.0)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert all(bool(p.grad.isfinite().all()) for p in model.motion.parameters() if p.grad is not None)


def test_it_learns_which_motion_belongs_to_which_words(make: Make) -> None:
    """Two words, two motions of different lengths: after training each word gives its own, which gives it back."""
    torch.manual_seed(0)
    model = make(shaken=False, draws=8, noise=0.05, weights={"flow": 1, "exit": 1, "text": 1, "start": 1})
    motions = {5: torch.full((3, LATENTS), 1.5), 6: torch.full((5, LATENTS), -1.5)}
    batch = []
    for word, latents in motions.items():
        batch.append([Segment(torch.tensor([word]), False), Segment(latents)])
        batch.append([Segment(latents, False), Segment(torch.tensor([word, 2]))])
    optimizer = torch.optim.AdamW(model.motion.parameters(), 3e-3)
    model.train()
    for _ in range(150):
        loss, count = model.loss(batch, 0.0)
        optimizer.zero_grad()
        (loss / count).backward()
        optimizer.step()
    for word, latents in motions.items():
        prompt = [Segment(torch.tensor([word]))]
        found = torch.stack(list(model.generate(prompt, torch.Generator().manual_seed(0), quantile=0.5)))
        assert len(found) == len(latents)
        torch.testing.assert_close(found, latents, rtol=0, atol=0.6)
        assert model.describe([Segment(latents)]) == [word]
        assert model.starts(prompt) > 0.5


# streams


def recomputed(
    model: MotionLanguageModel,
    prompt: list[Segment],
    number: int,
    guidance: float = 1.0,
    steps: int = 10,
    solver: Any = "euler",
    row: int = 0,
    rows: int = 1,
) -> Tensor:
    """Return a stream's latents, each with everything before it read anew; `row` of a batch of `rows`, seed 0."""
    random, found = torch.Generator().manual_seed(0), torch.empty(0, LATENTS)
    torch.rand(rows, generator=random)

    def state(segments: list[Segment]) -> Tensor:
        before = [*segments[:-1], Segment(torch.cat([segments[-1].tokens, found]))]
        batch = model.pack([before], still=True)
        return model(batch.kinds, model.embed(batch))[:, -1]

    def open_(segments: list[Segment]) -> list[Segment]:
        return segments if segments and segments[-1].is_motion else [*segments, Segment(torch.empty(0, LATENTS))]

    free = [s for s in open_(prompt) if s.is_motion]  # what training leaves of a sequence without its text
    head: FlowHead = model.motion.flow
    with torch.no_grad():
        for _ in range(number):
            noise = torch.randn(rows, LATENTS, generator=random)[row : row + 1]
            a, b = state(open_(prompt)), state(free)

            def velocity(x: Tensor, t: float, a: Tensor = a, b: Tensor = b) -> Tensor:
                time = torch.full((1,), t, dtype=torch.float64)
                u, v = head(x, time, a), head(x, time, b)
                return v + guidance * (u - v)

            found = torch.cat([found, solve(velocity, noise, steps, solver)])
    return found


@pytest.mark.parametrize(("guidance", "steps", "solver"), [(1.0, 10, "euler"), (2.0, 4, "midpoint"), (0.0, 3, "euler")])
def test_a_stream_is_what_reading_it_anew_gives(
    make: Make, family: str, guidance: float, steps: int, solver: Any
) -> None:
    model = make(family, window=6)  # later, a shaken model's rounding grows with each latent
    given = {"steps": steps, "solver": solver, "guidance": guidance, "min_latents": 6, "max_latents": 6}
    for prompt in ([text(5)], [text(3), motion(4), text(2)], [text(3), motion(4)]):
        found = torch.stack(list(model.generate(prompt, torch.Generator().manual_seed(0), **given)))
        expected = recomputed(model, prompt, 6, guidance, steps, solver)
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


def test_copies_of_weights_are_no_more_with_every_setting(make: Make) -> None:
    model = make()
    for steps in (1, 2, 3):
        list(model.generate([text(2)], torch.Generator().manual_seed(0), steps=steps, max_latents=1))
    assert sum(isinstance(made, tuple) and isinstance(made[-1], Sampler) for made in model._ready.values()) == 1


def test_rows_of_a_batch_are_streams_alone(make: Make) -> None:
    model = make(window=12)
    prompts = [[text(6)], [text(2)], [text(1), motion(2)]]
    given = {"guidance": 1.5, "min_latents": 8, "max_latents": 8}
    found = model.generate_batch(prompts, torch.Generator().manual_seed(0), **given)
    for row, prompt in enumerate(prompts):
        expected = recomputed(model, prompt, 8, 1.5, row=row, rows=3)
        torch.testing.assert_close(found[row], expected, rtol=2e-3, atol=2e-3)


def test_beyond_the_window_the_prompt_and_the_last_are_seen(make: Make, family: str) -> None:
    """Against lists of unrotated keys, cut to the window and rotated by their place in it at every step."""
    model, window, length = make(family), 4, torch.tensor([3])
    a, llm = model.llm.model.layers[0].self_attn, model.llm.model
    size = a.head_dim
    ids, x = torch.randint(0, WORDS, (1, 3)), torch.randn(11, WIDTH)
    angles = llm.rotary_emb.inv_freq

    def turned(v: Tensor, place: int) -> Tensor:
        turn = torch.polar(torch.ones(size // 2), place * angles)
        y = torch.complex(v[:, : size // 2], v[:, size // 2 :]) * turn
        return torch.cat([y.real, y.imag], dim=-1)

    with torch.inference_mode():
        cache = Cache(2, 2, size, length, window, llm.rotary_emb, model.motion.begin)
        model(torch.full((1, 3), TEXT), llm.embed_tokens(ids), cache)
        prompts = [(cache.keys[i, 0, :, :3].clone(), cache.values[i, 0, :, :3].clone()) for i in range(2)]
        kept: list[list[tuple[Tensor, Tensor]]] = [[], []]
        step = Steps(model.motion.layers, model.motion.norm)
        for t in range(len(x)):
            found, y = step(x[t : t + 1], cache)[0], x[t]
            for i, layer in enumerate(model.motion.layers):
                attention, z = layer.self_attn, layer.input_layernorm(y)
                q, k, v = (p(z).view(-1, size) for p in (attention.q_proj, attention.k_proj, attention.v_proj))
                if hasattr(attention, "q_norm"):
                    q, k = attention.q_norm(q), attention.k_norm(k)
                kept[i] = [*kept[i], (k, v)][-window:]
                keys = [*prompts[i][0].unbind(1), *(turned(k, 3 + s) for s, (k, _) in enumerate(kept[i]))]
                values = [*prompts[i][1].unbind(1), *(v for _, v in kept[i])]
                q, heads = turned(q, 3 + len(kept[i]) - 1), []
                for h in range(4):
                    scores = torch.stack([q[h] @ k[h // 2] for k in keys]) / math.sqrt(size)
                    heads.append(sum(w * v[h // 2] for w, v in zip(scores.softmax(0), values, strict=True)))
                y = y + attention.o_proj(torch.cat(heads))
                y = y + layer.mlp(layer.post_attention_layernorm(y))
            torch.testing.assert_close(found, model.motion.norm(y), rtol=1e-4, atol=1e-4)


def test_a_long_stream_takes_no_more_memory(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """All storages that a cache holds are taken once, and stay in number and size."""
    model, caches = make(window=6), []
    made = Cache.__init__
    monkeypatch.setattr(Cache, "__init__", lambda self, *a, **k: (caches.append(self), made(self, *a, **k))[1])

    def held() -> dict[str, Any]:
        tensors = {k: v for k, v in vars(caches[0]).items() if isinstance(v, Tensor)}
        return {k: (v.untyped_storage().data_ptr(), v.untyped_storage().nbytes()) for k, v in tensors.items()}

    stream = model.generate([text(4)], torch.Generator().manual_seed(0), steps=1, min_latents=400, max_latents=400)
    first = list(itertools.islice(stream, 20))
    after = held()
    rest = list(stream)
    assert held() == after
    assert caches[0].keys.shape[-2] == 4 + 1 + 6
    assert len(first) + len(rest) == 400
    assert all(x.isfinite().all() and x.shape == (LATENTS,) for x in rest)


def constant_exit(model: MotionLanguageModel, chance: float) -> None:
    with torch.no_grad():
        model.motion.exit.weight.zero_()
        model.motion.exit.bias.fill_(math.log(chance / (1 - chance)))


def test_the_exit_head_ends_it(make: Make) -> None:
    model, random = make(), torch.Generator()

    def lengths(number: int, chance: float, **given: Any) -> list[int]:
        constant_exit(model, chance)
        return [len(x) for x in model.generate_batch([[text(2)]] * number, random, steps=1, **given)]

    assert lengths(2, 1 - 1e-6) == [1, 1]
    assert lengths(2, 1 - 1e-6, min_latents=3) == [3, 3]
    assert lengths(2, 1e-9, max_latents=7) == [7, 7]
    assert lengths(1, 0.2, quantile=0.5) == [4]  # 0.8³ > 0.5 ≥ 0.8⁴
    drawn = lengths(400, 0.2)
    assert sum(drawn) / 400 == pytest.approx(5, abs=0.7)  # a geometric distribution: mean 1 / 0.2
    assert drawn.count(1) / 400 == pytest.approx(0.2, abs=0.06)


def test_a_seed_gives_the_same_stream_and_weights_that_change_another(make: Make) -> None:
    model, prompt = make(), [text(3)]

    def stream(model: MotionLanguageModel) -> Tensor:
        given = {"min_latents": 4, "max_latents": 4}
        return torch.stack(list(model.generate(prompt, torch.Generator().manual_seed(0), **given)))

    first = stream(model)
    assert first.dtype == torch.float32
    assert torch.equal(stream(model), first)
    twin = copy.deepcopy(model)
    assert torch.equal(stream(twin), first)
    with torch.no_grad():
        model.motion.flow.leave.bias += 1
    assert not torch.equal(stream(model), first)
    assert torch.equal(stream(twin), first)


def test_a_stream_in_bfloat16_is_near(make: Make) -> None:
    model = make(window=10)
    half = MotionLanguageModel(model.config, copy.deepcopy(model.llm).bfloat16())
    half.motion.load_state_dict(model.motion.state_dict())
    given = {"min_latents": 3, "max_latents": 3}
    prompt = [text(4)]
    a, b = (torch.stack(list(m.generate(prompt, torch.Generator().manual_seed(0), **given))) for m in (model, half))
    assert b.dtype == torch.float32
    assert float((a - b).norm() / a.norm()) < 0.1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"max_latents": 0}, "1 to 0 latents were asked for"),
        ({"min_latents": 0}, "0 to 1500 latents were asked for"),
        ({"guidance": -1.0}, "a guidance of -1.0 was asked for"),
        ({"guidance": math.nan}, "a guidance of nan was asked for"),
        ({"quantile": 1.0}, "quantile 1.0 of the length was asked for"),
        ({"steps": 0}, "0 steps of flow were asked for"),
        ({"solver": "heun"}, "unknown solver 'heun'"),
    ],
)
def test_what_cannot_be_generated_is_refused_at_once(make: Make, given: dict[str, Any], message: str) -> None:
    with pytest.raises(LmmError, match=message):
        make().generate([text(2)], **given)


def test_prompts_that_are_empty_or_too_long(make: Make, tokenizer: Any) -> None:
    model = make()
    assert len(list(model.generate([], max_latents=2, min_latents=2))) == 2
    model.tokenizer = tokenizer
    assert len(list(model.generate([model.text("")], max_latents=2, min_latents=2))) == 2
    assert len(list(model.generate([model.text("人が歩く 🚶")], max_latents=2, min_latents=2))) == 2
    with pytest.raises(LmmError, match="is longer than the 128 that are read") as e:
        model.generate([model.text("a person walks " * 667)])
    assert "\n" not in str(e.value)
    with pytest.raises(LmmError, match="a prompt of 82 tokens is too long: the language model reads 128, of which 75"):
        model.generate([model.text("a " * 80)])


# text behind motion


def test_descriptions_are_what_reading_anew_gives(make: Make, family: str) -> None:
    model = make(family)
    prompt = [text(2), motion(5)]
    found = model.describe(prompt, max_tokens=8)
    expected: list[int] = []
    with torch.no_grad():
        while len(expected) < 8:
            batch = model.pack([[*prompt, Segment(torch.tensor(expected, dtype=torch.int64))]])
            logits = model.llm.get_output_embeddings()(model(batch.kinds, model.embed(batch))[0, -1])
            if int(logits.argmax()) == 2:
                break
            expected.append(int(logits.argmax()))
    assert found == expected
    drawn = [model.describe(prompt, torch.Generator().manual_seed(s), 8, temperature=3.0) for s in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_descriptions_end(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make()
    free = model.describe([motion(3)], torch.Generator().manual_seed(0), 20, temperature=50.0)
    for stops in (free[4], [free[4], 39]):
        model.llm.config.eos_token_id = stops
        ended = model.describe([motion(3)], torch.Generator().manual_seed(0), 20, temperature=50.0)
        assert ended == free[: len(ended)]
        assert len(ended) <= free.index(free[4])
    for given in ({"max_tokens": 0}, {"temperature": -1.0}):
        with pytest.raises(LmmError, match="tokens at temperature"):
            model.describe([motion(3)], **given)
    with pytest.raises(LmmError, match="is too long"):
        model.describe([motion(100)], max_tokens=64)


def test_whether_motion_follows_is_asked_of_text(make: Make) -> None:
    model = make()
    segment = text(4)
    with torch.no_grad():
        states = model.llm.model(segment.tokens[None]).last_hidden_state
        expected = float(torch.sigmoid(model.motion.start(states[0, -1])))
    assert model.starts([segment]) == pytest.approx(expected, rel=1e-4)
    with pytest.raises(LmmError, match="ends with text"):
        model.starts([segment, motion(2)])


# files


def test_saved_and_loaded(make: Make, family: str, tokenizer: Any, tmp_path: Path) -> None:
    model = make(family)
    model.tokenizer = tokenizer
    model.save_pretrained(tmp_path)
    found = MotionLanguageModel.from_pretrained(tmp_path)
    assert found.config == model.config.model_copy(update={"parameters": found.config.parameters})
    assert found.config.parameters == sum(p.numel() for p in model.motion.parameters())
    for (name, a), (other, b) in zip(model.state_dict().items(), found.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(a, b), name
    assert not found.training
    assert not any(p.requires_grad for p in found.llm.parameters())
    assert found.tokenizer("a person walks").input_ids == [1, 3, 4, 5]
    assert found.bos == [1]
    assert found.text("walks left", end=True).tokens.tolist() == [5, 9, 2]
    assert "Licence: Apache-2.0" in (tmp_path / "README.md").read_text("utf-8")
    half = MotionLanguageModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}
    assert half.llm.model.rotary_emb.inv_freq.dtype == torch.float32


def test_a_new_model_around_a_folder(tmp_path: Path, tokenizer: Any) -> None:
    llm = language_model("llama")
    llm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    model = MotionLanguageModel.from_llm(tmp_path, "tiny", window=20)
    assert (model.config.width, model.config.llm, model.config.window) == (WIDTH, None, 20)
    assert torch.equal(model.motion.layers[1].mlp.up_proj.weight, llm.model.layers[1].mlp.up_proj.weight)
    assert model.tokenizer.eos_token == "</s>"
    with pytest.raises(LmmError, match="no size 'huge'; it has tiny, small, base"):
        MotionLanguageModel.from_llm(tmp_path, "huge")


def test_text_without_a_tokenizer(make: Make, tokenizer: Any) -> None:
    model = make()
    with pytest.raises(LmmError, match="has no tokenizer"):
        model.text("walks")
    model.tokenizer = copy.deepcopy(tokenizer)
    model.tokenizer.eos_token = None
    assert model.text("walks").tokens.tolist() == [5]
    with pytest.raises(LmmError, match="has no end of text"):
        model.text("walks", end=True)


def test_heads_that_are_too_large() -> None:
    with pytest.raises(ValueError, match="a head of 64 blocks of width 8192 is too large"):
        MotionLanguageConfig(size="base", width=24, head_blocks=64, head_width=8192)


def test_a_language_model_of_the_hub_is_not_written(make: Make, tmp_path: Path) -> None:
    make(llm="someone/model").save_pretrained(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_a_name_that_is_nowhere_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Transformers alone asks a hub that is not there six times, for 47 s."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    start = time.monotonic()
    with pytest.raises(InputError, match=r"no/such-model: is no folder, and the hub .*Give a folder") as e:
        MotionLanguageModel.from_llm("no/such-model")
    with pytest.raises(InputError, match="is no folder"):
        MotionLanguageModel.from_llm("no/such/folder")
    assert "\n" not in str(e.value)
    assert time.monotonic() - start < 10


def test_a_name_that_was_fetched_before_needs_no_network(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    folder = tmp_path / "models--some--model"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    model = make()
    save_language_model(model.llm, None, folder / "snapshots" / ("0" * 40), "1MB")
    start = time.monotonic()
    found, _ = load_language_model("some/model", torch.float32)
    assert time.monotonic() - start < 10
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), model.llm.parameters(), strict=True))


@pytest.mark.parametrize("where", [".", "llm"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "other"])
def test_weights_that_are_damaged(make: Make, tmp_path: Path, where: str, damage: str) -> None:
    make().save_pretrained(tmp_path)
    weights = tmp_path / where / "model.safetensors"
    if damage == "missing":
        weights.unlink()
    elif damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        weights.write_bytes((tmp_path / ("llm" if where == "." else ".") / "model.safetensors").read_bytes())
    with pytest.raises(InputError, match="Copy it again") as e:
        MotionLanguageModel.from_pretrained(tmp_path)
    assert "\n" not in str(e.value)
    assert len(str(e.value)) < 700


def test_models_that_do_not_fit(make: Make, tmp_path: Path) -> None:
    make().save_pretrained(tmp_path)
    language_model("qwen2", hidden_size=16).save_pretrained(tmp_path / "llm")
    with pytest.raises(InputError, match="is 24 wide, and its language model 16"):
        MotionLanguageModel.from_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace("motion-language", "diffusion"))
    with pytest.raises(InputError, match="is no model of lmm"):
        MotionLanguageModel.from_pretrained(tmp_path)


def test_language_models_of_other_kinds(tmp_path: Path, tokenizer: Any) -> None:
    transformers.GPT2LMHeadModel(transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=9)).save_pretrained(
        tmp_path / "gpt2"
    )
    language_model("qwen2", use_sliding_window=True, sliding_window=4, max_window_layers=1).save_pretrained(
        tmp_path / "sliding"
    )
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    language_model("llama", rope_parameters=dynamic).save_pretrained(tmp_path / "dynamic")
    (tmp_path / "empty").mkdir()
    language_model("llama").save_pretrained(tmp_path / "huge")
    config = tmp_path / "huge" / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 24', '"hidden_size": 24000000000'))
    language_model("llama", vocab_size=10).save_pretrained(tmp_path / "few")
    tokenizer.save_pretrained(tmp_path / "few")
    for name, message in {
        "gpt2": "of the family gpt2. Give one of llama, qwen2, qwen3",
        "sliding": "attend to a window only",
        "dynamic": "rotary positions of type dynamic",
        "huge": "states a hidden_size of 24000000000. Give a model with 16384 at most",
        "few": "has a tokenizer of 15 tokens for 10 embeddings",
        "empty": "holds no language model that can be read",
    }.items():
        with pytest.raises(InputError, match=message) as e:
            MotionLanguageModel.from_llm(tmp_path / name)
        assert "\n" not in str(e.value)
