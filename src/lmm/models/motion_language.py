"""Motion and language in one model: a second set of weights beside a pretrained language model's, for motion.

After "LLaMo: Scaling Pretrained Language Models for Unified Motion Understanding and Generation with Continuous
Autoregressive Tokens", 2026 (no code released), and W. Liang et al., "Mixture-of-Transformers", 2024. A sequence is
text and motion by turns, ``text BOM latents EOM text …``. In every layer norms, projections and feed-forward exist
twice; attention is one causal softmax over both. The text set is the untouched model of `transformers`, frozen: given
text alone, it is what runs. The motion set begins as a copy. BOM and EOM are parameters of their own and motion tokens;
from the state at BOM or at a latent, `FlowHead` makes the latent that follows, and the exit head says whether one does.
From the state at EOM the frozen head makes text.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.core.errors import InputError, LmmError
from lmm.generative.flow import Solver, times
from lmm.models.config import read_config
from lmm.models.files import SHARD, load_weights, save_model
from lmm.models.flow_head import FlowHead, Sampler
from lmm.models.language import load_language_model, save_language_model
from lmm.models.mixture import mixed_states
from lmm.models.motion_language_config import MotionLanguageConfig
from lmm.models.one_token import Cache, Steps
from lmm.models.parts import Parted
from lmm.models.sequences import LATENT, TEXT, Batch, Segment, Sequence, pack

LLM, CODEC = "llm", "codec"  # folders of the language model, and of the codec whose latents these are
Part = Literal["adapter", "markers", "branch", "flow", "exit", "start"]
PARTS: tuple[Part, ...] = get_args(Part)


class MotionBranch(nn.Module):
    """All that is trained: the motion set of weights, what latents enter by, and the heads."""

    def __init__(self, config: MotionLanguageConfig, llm: Any) -> None:
        super().__init__()
        width, size = llm.config.hidden_size, float(llm.get_input_embeddings().weight.detach().float().std())
        self.layers = copy.deepcopy(llm.model.layers)
        self.norm = copy.deepcopy(llm.model.norm)
        self.adapter = nn.Sequential(nn.Linear(config.latent_width, width), nn.GELU(), nn.Linear(width, width))
        nn.init.normal_(self.adapter[2].weight, std=2 * size * width**-0.5)  # as large as words
        self.begin, self.end = (nn.Parameter(size * torch.randn(width)) for _ in range(2))  # BOM and EOM
        self.flow = FlowHead(width, config.latent_width, config.head_blocks, config.head_width)
        self.exit, self.start = nn.Linear(width, 1), nn.Linear(width, 1)
        self.to(llm.dtype).requires_grad_(True)


class MotionLanguageModel(Parted):
    """See the module.

    llm        a causal model of transformers' Llama, Qwen2 or Qwen3 family; it is frozen, and otherwise left as it is
    tokenizer  the language model's, or None where token ids are all that is given and asked
    told       the parts of the last loss, by name
    """

    architecture: ClassVar[str] = "motion-language"
    parts = PARTS
    sizes: ClassVar[dict[str, dict[str, int]]] = {
        "tiny": {"head_blocks": 2, "head_width": 64},
        "small": {"head_blocks": 3, "head_width": 256},
        "base": {"head_blocks": 6, "head_width": 1024},
    }

    def __init__(self, config: MotionLanguageConfig, llm: Any, tokenizer: Any = None) -> None:
        super().__init__()
        self.config, self.tokenizer = config, tokenizer
        self.llm = llm.requires_grad_(False).eval()
        self.motion = MotionBranch(config, llm)
        self.told = dict.fromkeys(("flow", "exit", "text", "start"), float("nan"))
        self._ready: dict[Any, Any] = {}

    @classmethod
    def from_llm(
        cls, llm: str | Path, size: str = "small", dtype: torch.dtype = torch.float32, **changes: Any
    ) -> MotionLanguageModel:
        """Return a new model around the language model in a folder, or of a name on the hub.

        `size` is that of the flow head, `changes` are fields of the config. Raises InputError if it is none of a
        family that is known, LmmError if there is no such size.
        """
        if size not in cls.sizes:
            raise LmmError(f"motion-language has no size {size!r}; it has {', '.join(cls.sizes)}.")
        model, tokenizer = load_language_model(llm, dtype)
        name = None if Path(llm).is_dir() else str(llm)
        known = {"size": size, "llm": name, "width": model.config.hidden_size, **cls.sizes[size], **changes}
        return cls(MotionLanguageConfig(**known), model, tokenizer)

    def train(self, mode: bool = True) -> MotionLanguageModel:
        super().train(mode)
        self.llm.eval()
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_ready": {}}  # what was laid out anew is no part of a copy

    # what is trained

    def part(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of one of `PARTS`. Raises LmmError if there is none of that name."""
        m = self.motion
        if name == "markers":
            return [m.begin, m.end]
        if name == "branch":
            return [*m.layers.parameters(), *m.norm.parameters()]
        if name not in PARTS:
            raise LmmError(f"a motion-language model has no part {name!r}; it has {', '.join(PARTS)}.")
        return list(getattr(m, name).parameters())

    # sequences

    @property
    def bos(self) -> list[int]:
        """The token ids that the tokenizer begins every text with: those of an empty text."""
        return [] if self.tokenizer is None else list(self.tokenizer("")["input_ids"])

    def text(self, text: str, learn: bool = False, end: bool = False) -> Segment:
        """Return a segment of text, without special tokens but for the end of text, if it is to `end` there.

        Raises LmmError if the model has no tokenizer, or its tokenizer no end of text.
        """
        if self.tokenizer is None or (end and self.tokenizer.eos_token_id is None):
            raise LmmError(
                f"the language model has no {'end of text' if self.tokenizer else 'tokenizer'}. Add it to it."
            )
        ids = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        ids += [self.tokenizer.eos_token_id] * end
        return Segment(torch.tensor(ids, dtype=torch.int64), learn)

    def pack(self, sequences: Iterable[Sequence], still: bool = False) -> Batch:
        """Return sequences as one batch on the model's device; `still` leaves motion at the end without EOM.

        Raises LmmError if one is longer than the language model reads, empty, or has latents of another width.
        """
        like = self.motion.begin
        batch = pack(sequences, self.bos, self.config.latent_width, still)
        most = int(self.llm.config.max_position_embeddings)
        if batch.kinds.shape[1] > most:
            raise LmmError(f"a sequence of {batch.kinds.shape[1]} tokens is longer than the {most} that are read.")
        return batch.to(like.device, like.dtype)

    # all tokens at once

    def text_logits(self, ids: Tensor, **given: Any) -> Tensor:
        """Return the untouched language model's logits (B, T, vocabulary) of text alone; `given` goes to it."""
        logits: Tensor = self.llm(ids, **given).logits
        return logits

    def embed(self, batch: Batch) -> Tensor:
        """Return what enters the first layer (B, T, width); in training, latents with noise."""
        x = self.llm.get_input_embeddings()(batch.ids)
        latents = batch.latents
        if self.training and self.config.noise > 0:
            latents = latents + self.config.noise * torch.randn_like(latents)
        own = torch.stack([self.motion.begin, self.motion.end]).to(x.dtype)
        x = torch.where((batch.kinds > LATENT)[..., None], own[(batch.kinds - LATENT - 1).clamp(min=0)], x)
        at = (batch.kinds == LATENT).flatten().nonzero()[:, 0]
        moved = self.motion.adapter(latents).to(x.dtype)
        return x.flatten(0, 1).index_copy(0, at, moved).view(x.shape)

    def forward(self, kinds: Tensor, embedded: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the normed states (B, T, width) of embedded tokens, each through the set of its kind (B, T).

        A `cache` keeps the keys and values. States of padding are 0.
        """
        llm, m = self.llm.model, self.motion
        return mixed_states(
            (llm.layers, llm.norm), (m.layers, m.norm), llm.rotary_emb, kinds > TEXT, kinds > 0, embedded, cache
        )

    # training

    def losses(self, batch: list[Sequence]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the sum and count of each part of the loss, of sequences as they are.

        flow   squared error of velocity, for every number of a latent and each of `draws` times
        exit   cross-entropy in nats of whether the motion ends, for every latent
        text   cross-entropy in nats of the next token, for every token of text that is to be learnt
        start  cross-entropy in nats of whether motion follows, for every token of text
        """
        packed = self.pack(batch)
        states = self(packed.kinds, self.embed(packed)).flatten(0, 1)
        m, out = self.motion, {}
        out["flow"] = m.flow.loss(packed.flow_target, states[packed.flow_at], self.config.draws)
        out["exit"] = _binary(m.exit(states[packed.exit_at]), packed.exit_target)
        logits = self.llm.get_output_embeddings()(states[packed.text_at])
        out["text"] = F.cross_entropy(logits.float(), packed.text_target, reduction="sum"), _count(packed.text_target)
        out["start"] = _binary(m.start(states[packed.start_at].detach()), packed.start_target)
        return out

    def loss(self, batch: list[Sequence], progress: float) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of the means of all parts, times the number of sequences, and that number.

        In training the text of a sequence is left out `drop_text` of the time, for guidance. Random numbers come from
        torch's global generator.
        """
        if self.training and self.config.drop_text:
            drop = torch.rand(len(batch)) < self.config.drop_text
            batch = [_without_text(s) if d else s for s, d in zip(batch, drop.tolist(), strict=True)]
        means = {k: total / count.clamp(min=1) for k, (total, count) in self.losses(batch).items()}
        self.told = {k: float(v.detach()) for k, v in means.items()}
        weighted = torch.stack([getattr(self.config.weights, k) * v for k, v in means.items()]).sum()
        return weighted * len(batch), torch.tensor(len(batch), device=weighted.device)

    def validation(self, batch: list[Sequence]) -> tuple[Tensor, Tensor]:
        """Return the loss without noise on the inputs and with all text."""
        self.eval()
        return self.loss(batch, 1.0)

    # one token after another

    def generate(self, segments: Sequence, generator: torch.Generator | None = None, **given: Any) -> Iterator[Tensor]:
        """Return latents (latent_width,), float32, one after another, of the motion that follows `segments`.

        Motion at the end of `segments` is continued. For what may be `given`, see `generate_batch`.
        """
        return (latents[0] for latents, _ in self._latents([segments], generator, **given))

    def generate_batch(
        self, sequences: list[Sequence], generator: torch.Generator | None = None, **given: Any
    ) -> list[Tensor]:
        """Return the motion (N, latent_width) that follows each of several sequences.

        steps, solver            of the flow: 10, ``euler``
        guidance                 how far to go from what no text would give, beyond what the text gives at 1
        max_latents, min_latents   of each motion: 1500 (200 s) and 1
        quantile                 0.5 ends each motion at the median of the length that the exit head expects; without
                                 it, at a quantile drawn for each, so that lengths are distributed as expected

        Random numbers come from `generator`. Raises LmmError for numbers out of range or sequences too long.
        """
        kept: list[list[Tensor]] = [[] for _ in sequences]
        for latents, alive in self._latents(sequences, generator, **given):
            for row in alive.nonzero()[:, 0].tolist():
                kept[row].append(latents[row])
        return [torch.stack(k) for k in kept]

    def _latents(
        self,
        sequences: list[Sequence],
        generator: torch.Generator | None = None,
        *,
        steps: int = 10,
        solver: Solver = "euler",
        guidance: float = 1.0,
        max_latents: int = 1500,
        min_latents: int = 1,
        quantile: float | None = None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return latents (B, latent_width) and which rows they are still part of (B,), until none is."""
        if not 1 <= min_latents <= max_latents:
            raise LmmError(
                f"{min_latents} to {max_latents} latents were asked for. Give 1 or more, and at most as many."
            )
        if not 0 <= guidance <= 100:
            raise LmmError(f"a guidance of {guidance} was asked for. Give 0 to 100; 1 is none.")
        if quantile is not None and not 0 < quantile < 1:
            raise LmmError(f"quantile {quantile} of the length was asked for. Give one between 0 and 1.")
        times(steps, solver)
        opened = [_open(s) for s in sequences]
        free = [_without_text(s) for s in opened] if guidance != 1 else []  # an earlier motion keeps its EOM
        packed = self.pack([*opened, *free], still=True)
        self._check_length(packed, self.config.window)
        return self._stream(packed, generator, steps, solver, guidance, max_latents, min_latents, quantile)

    @torch.inference_mode()
    def _stream(
        self,
        packed: Batch,
        generator: torch.Generator | None,
        steps: int,
        solver: Solver,
        guidance: float,
        max_latents: int,
        min_latents: int,
        quantile: float | None,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        self.eval()
        copies = 1 if guidance == 1 else 2
        number, device, dtype = len(packed.kinds) // copies, self.motion.begin.device, self.motion.begin.dtype
        state, cache = self._read(packed, self.config.window)
        step, sampler = self._made_ready("motion"), self._made_ready("flow", steps, solver)
        random = {"generator": generator, "device": device if generator is None else generator.device}
        ends = torch.rand(number, **random).to(device) if quantile is None else quantile
        going, alive = torch.ones(number, device=device), torch.ones(number, dtype=torch.bool, device=device)
        for i in range(1, max_latents + 1):
            noise = torch.randn(number, self.config.latent_width, **random).to(device)
            latents = sampler(noise, state, guidance)
            yield latents, alive
            state = step(self.motion.adapter(latents.to(dtype).repeat(copies, 1)), cache)
            going = going * torch.sigmoid(
                -self.motion.exit(state[:number]).float()[:, 0]
            )  # the chance to come this far
            if i >= min_latents:
                alive = alive & (going > 1 - ends)
                if not alive.any():
                    return

    @torch.inference_mode()
    def describe(
        self,
        segments: Sequence,
        generator: torch.Generator | None = None,
        max_tokens: int = 64,
        temperature: float = 0.0,
    ) -> list[int]:
        """Return the token ids of the text that follows `segments`, up to the end of text, which is left out.

        At temperature 0 each is the likeliest; above, they are drawn. Raises LmmError as `generate_batch` does.
        """
        if max_tokens < 1 or not 0 <= temperature <= 100:
            raise LmmError(
                f"{max_tokens} tokens at temperature {temperature} were asked for. Give at least 1, and 0 to 100."
            )
        self.eval()
        packed = self.pack([segments])
        self._check_length(packed, max_tokens)
        states, cache = self._read(packed, max_tokens)
        step, ended = self._made_ready("text"), self._ends()
        ids: list[int] = []
        while True:
            logits = self.llm.get_output_embeddings()(states)[0].float()
            if temperature:
                shares = torch.softmax((logits - logits.max()).double() / temperature, dim=-1)
                chosen = int(torch.multinomial(shares, 1, generator=generator))
            else:
                chosen = int(logits.argmax())
            if chosen in ended:
                return ids
            ids.append(chosen)
            if len(ids) == max_tokens:
                return ids
            states = step(self.llm.get_input_embeddings()(torch.tensor([chosen], device=states.device)), cache)

    @torch.inference_mode()
    def starts(self, segments: Sequence) -> float:
        """Return the probability that motion follows `segments`, which end with text."""
        self.eval()
        packed = self.pack([segments])
        if int(packed.kinds[0, -1]) != TEXT:
            raise LmmError("whether motion follows is asked of text. Give a sequence that ends with text.")
        return float(torch.sigmoid(self.motion.start(self(packed.kinds, self.embed(packed))[0, -1]).float()))

    def _read(self, packed: Batch, window: int) -> tuple[Tensor, Cache]:
        """Return the state (B, width) at the end of each row, and the cache for `window` tokens that follow."""
        lengths = (packed.kinds > 0).sum(1)
        a = self.llm.model.layers[0].self_attn
        heads, like = a.k_proj.out_features // a.head_dim, self.motion.begin
        cache = Cache(len(self.motion.layers), heads, a.head_dim, lengths, window, self.llm.model.rotary_emb, like)
        states = self(packed.kinds, self.embed(packed), cache)
        return states[torch.arange(len(lengths), device=states.device), lengths - 1], cache

    def _check_length(self, packed: Batch, window: int) -> None:
        most, longest = int(self.llm.config.max_position_embeddings), packed.kinds.shape[1]
        if longest + window > most:
            raise LmmError(
                f"a prompt of {longest} tokens is too long: the language model reads {most}, of which {window} are for "
                "what follows. Shorten it."
            )

    def _made_ready(self, *what: Any) -> Any:
        """Return layers made ready for one token, made again where weights have changed since; the last of each kind
        are kept, since they hold a copy of the weights.
        """
        now = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in self.parameters())
        ready = self._ready  # looked up once: another thread may lay out anew meanwhile
        if ready.get("weights") != now:
            ready = self._ready = {"weights": now}
        kept, made = ready.get(what[0], (None, None))
        if kept != what:
            if what[0] == "motion":
                made = Steps(self.motion.layers, self.motion.norm)
            elif what[0] == "text":
                made = Steps(self.llm.model.layers, self.llm.model.norm, packed=False)
            else:
                made = Sampler(self.motion.flow, *what[1:])
            ready[what[0]] = what, made
        return made

    def _ends(self) -> set[int]:
        ends = [self.llm.config.eos_token_id, None if self.tokenizer is None else self.tokenizer.eos_token_id]
        return {i for e in ends if e is not None for i in (e if isinstance(e, list) else [e])}

    # files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, motion's weights (in shards under 16 MiB), the language model in the folder ``llm`` unless
        the config names one of the hub, and, where there is none, a README.md.
        """
        save_model(self.motion, self.config, Path(folder), self.config.name)
        if self.config.llm is None:
            save_language_model(self.llm, self.tokenizer, Path(folder) / LLM, SHARD)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype = torch.float32) -> MotionLanguageModel:
        """Return the model of a folder, ready to use, with weights as `dtype`.

        To be preferred to a conversion afterwards, which would round the angles of positions too. Raises InputError if
        there is no model, the language model is of another family or width, or weights are missing or damaged.
        """
        config = read_config(Path(folder), MotionLanguageConfig)
        llm, tokenizer = load_language_model(Path(folder) / LLM if config.llm is None else config.llm, dtype)
        if config.width != llm.config.hidden_size:
            raise InputError(
                folder,
                f"is {config.width} wide, and its language model {llm.config.hidden_size}",
                "Copy both again, as they were saved",
            )
        model = cls(config, llm, tokenizer)
        load_weights(model.motion, Path(folder))
        return model.eval()


def _open(segments: Sequence) -> Sequence:
    """Return segments that end with motion, of no latents if they ended with text."""
    return segments if segments and segments[-1].is_motion else [*segments, Segment(torch.empty(0, 0))]


def _without_text(segments: Sequence) -> Sequence:
    return [s for s in segments if s.is_motion or s.learn]


def _binary(logits: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    loss = F.binary_cross_entropy_with_logits(logits.float()[:, 0], wanted.float(), reduction="sum")
    return loss, _count(wanted)


def _count(x: Tensor) -> Tensor:
    return torch.tensor(len(x), device=x.device)
