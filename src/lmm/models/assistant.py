"""The motion assistant: questions about a person's movement, answered in words from motion, video and text together.

After "Human Motion Instruction Tuning", CVPR 2025 (no code released): native motion through a spatio-temporal encoder,
enhanced by video, through the Cross Talker into a language model, which reads

    BOS  earlier turns  question  (marker  key frames  segments  quantity) of each motion  answer marker  answer

Words enter as the language model has them, those of the question with what motion told them (F_T', equation 6 of
`cross_talker`) added; all else by projections that are learned. The quantity token holds Fourier features of the sum of
the gates (equation 7). Ours besides is the gist: from key frames, segments, question and quantity come logits over the
words of all answers in training, which are taught the words that this answer holds. The mixture of embeddings that they
expect is added to the answer marker, and they to the language model's own logits where a gate lets them in. So what was
seen is said in words before it is put in a sentence, and a small language model has only to copy them.

The language model is tuned whole, by LoRA, or left frozen; on a motion-language model (``branch``) words go through its
untouched text weights and the assistant's own tokens through a set of weights that begins as its motion branch: no word
of text without motion changes, and it still makes motion.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lmm.core.errors import InputError, LmmError
from lmm.core.motion import Motion
from lmm.models.assistant_config import AssistantConfig
from lmm.models.config import read_config
from lmm.models.conversation import (
    Asked,
    KeyFrame,
    Looked,
    Read,
    bumps,
    lay_out,
    own_tokens,
    padded,
)
from lmm.models.files import SHARD, load_weights, save_model
from lmm.models.language import load_language_model, save_language_model
from lmm.models.lora import add_lora, lora_parameters, merged
from lmm.models.mixture import mixed_states
from lmm.models.motion_encoder import Clip, read_clip
from lmm.models.motion_language import MotionLanguageModel
from lmm.models.one_token import Cache, Steps
from lmm.models.parts import Parted
from lmm.models.perception import MOST_MOTIONS, Perception
from lmm.models.video_encoder import load_vision, small_vision

LLM, BASE = "llm", "motion-language"  # folders beside the weights
Part = Literal["projection", "motion", "video", "enhancer", "talker", "branch", "llm", "lora"]
PARTS: tuple[Part, ...] = get_args(Part)
LONGEST_QUESTION = 96  # tokens at the end of what was said that the Cross Talker reads
LEAST = 1e-9
TOTAL = 0.1  # weight of the error of the quantity, against that of the gates


class Assistant(Parted):
    """See the module.

    llm         a causal model of transformers' Llama, Qwen2 or Qwen3 family; one of the hub is frozen at first
    tokenizer   its tokenizer, which knows an end of text
    perception  all else that is trained, but for the branch
    base        the motion-language model that it sits on, left as it is, or None
    told        the parts of the last loss, by name
    """

    architecture: ClassVar[str] = "assistant"
    parts = PARTS
    lexicon: Tensor
    sizes: ClassVar[dict[str, dict[str, int]]] = {
        "tiny": {
            "joint_width": 16, "joint_heads": 2, "joint_layers": 1,
            "width": 32, "heads": 2, "hidden": 64, "layers": 1, "keys": 4, "vision_width": 32,
        },
        "small": {
            "joint_width": 32, "joint_heads": 4, "joint_layers": 1,
            "width": 128, "heads": 4, "hidden": 256, "layers": 3,
        },
        "base": {
            "joint_width": 64, "joint_heads": 4, "joint_layers": 2,
            "width": 384, "heads": 8, "hidden": 1536, "layers": 6, "keys": 16, "vision_width": 384,
        },
    }  # fmt: skip

    def __init__(
        self,
        config: AssistantConfig,
        llm: Any,
        tokenizer: Any,
        base: MotionLanguageModel | None = None,
        vision: Any = None,
    ) -> None:
        super().__init__()
        if tokenizer is None or tokenizer.eos_token_id is None:
            raise LmmError("the language model has no tokenizer that knows an end of text. Add it to it.")
        self.config, self.tokenizer = config, tokenizer
        self.llm, self.base = llm.eval().requires_grad_(base is None and config.llm is None), base
        if config.lora_rank:
            add_lora(self.llm.model.layers, config.lora_rank)
        size = float(llm.get_input_embeddings().weight.detach().float().std())
        self.own = nn.ModuleDict({"perception": Perception(config, size, vision)})
        self.own["copy"] = nn.Linear(config.llm_width, 1)
        self.register_buffer("lexicon", torch.tensor(config.lexicon, dtype=torch.int64), persistent=False)
        self.own.register_parameter("answer", nn.Parameter(torch.randn(config.llm_width)))
        if base is not None:
            base.requires_grad_(False).eval()
            self.own["layers"] = copy.deepcopy(base.motion.layers).requires_grad_(True)
            self.own["norm"] = copy.deepcopy(base.motion.norm).requires_grad_(True)
        self.own.to(llm.dtype)
        self.told = dict.fromkeys(("text", "gist", "moments"), float("nan"))

    @classmethod
    def from_llm(
        cls,
        llm: str | Path | None = None,
        size: str = "small",
        *,
        branch: str | Path | None = None,
        vision: str | Path | None = None,
        answers: Iterable[str] = (),
        dtype: torch.dtype = torch.float32,
        **changes: Any,
    ) -> Assistant:
        """Return a new assistant around the language model in a folder or of a name on the hub, or around the
        motion-language model in the folder `branch`. `vision` is a vision model's folder or name on the hub. The
        tokens of `answers` are the lexicon.

        `changes` are fields of the config. Raises InputError if the language model is of no family that is known,
        LmmError if there is no such size, or not one of `llm` and `branch` is given.
        """
        if size not in cls.sizes:
            raise LmmError(f"assistant has no size {size!r}; it has {', '.join(cls.sizes)}.")
        if (llm is None) == (branch is None):
            raise LmmError("an assistant begins with a language model or a motion-language model: give one of them.")
        base, name = None, None
        if branch is not None:
            base = MotionLanguageModel.from_pretrained(branch, dtype)
            model, tokenizer = base.llm, base.tokenizer
        else:
            model, tokenizer = load_language_model(str(llm), dtype)
            name = None if Path(str(llm)).is_dir() else str(llm)
        told: dict[str, Any] = {
            "size": size,
            "llm": name,
            "branch": base is not None,
            "llm_width": model.config.hidden_size,
        }
        if tokenizer is not None:
            ids = (tokenizer(a.strip(), add_special_tokens=False)["input_ids"] for a in answers)
            told["lexicon"] = tuple(sorted({i for some in ids for i in some}))
        told |= {**cls.sizes[size], **changes}
        seen = None
        if vision is not None:
            told["vision"], seen = load_vision(vision, dtype)
        elif told.get("video"):
            told.setdefault("vision", small_vision(told.get("vision_width", 96)))
        return cls(AssistantConfig(**told), model, tokenizer, base, seen)

    @property
    def perception(self) -> Perception:
        found: Any = self.own["perception"]
        return found

    def read(self, motion: Motion, video: Tensor | None = None) -> Clip:
        """Return a BODY_25 motion in metres as a clip; of a long one its last `longest_frames`.

        Raises MotionError if it is in pixels or another skeleton, or neither mid-hip nor neck is ever seen.
        """
        return read_clip(motion, self.config.spec, self.config.longest_frames, video)

    def train(self, mode: bool = True) -> Assistant:
        super().train(mode)
        self.llm.eval()  # language models of these families have no dropout of their own
        if self.base is not None:
            self.base.eval()
        return self

    # what is trained

    def part(self, name: str) -> list[nn.Parameter]:
        """Return the parameters of one of `PARTS`, none where it has no such part. Raises LmmError for another name."""
        p = self.perception
        lora = lora_parameters(self.llm)
        modules: dict[str, list[Any]] = {
            "projection": [
                p.words_in,
                p.key_out,
                p.segment_out,
                p.quantity_out,
                p.marker_out,
                p.heard_out,
                p.video_in,
                p.gist_in,
                p.gist_gate,
                p.gist_out,
                self.own["copy"],
                p.key_norm,
                p.segment_norm,
            ],
            "motion": [p.motion, p.levels],
            "video": [p.video],
            "enhancer": [p.enhancer],
            "talker": [p.talker],
            "branch": [self.own["layers"], self.own["norm"]] if "layers" in self.own else [],
            "llm": [] if self.base is not None else [self.llm],
            "lora": [],
        }
        if name == "lora":
            return lora
        if name not in modules:
            raise LmmError(f"an assistant has no part {name!r}; it has {', '.join(PARTS)}.")
        added = {id(q) for q in lora}
        found = [q for m in modules[name] if m is not None for q in m.parameters() if id(q) not in added]
        answer: Any = self.own.answer
        return [*found, p.marker, answer] if name == "projection" else found

    def train_only(self, *parts: str) -> None:
        """Let these of `PARTS` learn and freeze the others. Raises LmmError if there is no such part.

        A language model of the hub that learns becomes the assistant's own, and is saved with it.
        """
        super().train_only(*parts)
        if {"llm", "lora"} & set(parts):
            self.config = self.config.model_copy(update={"llm": None})

    # all tokens at once

    def pack(self, asked: list[Asked]) -> Read:
        """Return conversations as the language model takes them, with their answers where they have one.

        Raises LmmError if there is none, a question is empty, or one is too long for the language model or has more
        motions than are understood.
        """
        device, sees = self.perception.marker.device, self.config.motion or self.config.video
        texts = [self._words(a) for a in asked]
        before, after = [b for b, _ in texts], [a for _, a in texts]
        for a in asked:
            if not a.question.strip():
                raise LmmError("an empty question was asked. Ask something.")
            if len(a.clips) > MOST_MOTIONS:
                raise LmmError(f"{len(a.clips)} motions were asked about at once. Give {MOST_MOTIONS} at most.")
        if not asked:
            raise LmmError("nothing was asked.")
        pairs = [(row, which) for row, a in enumerate(asked) for which in range(len(a.clips) if sees else 0)]
        percepts, is_word, kept = None, None, list[list[bool]]()
        if pairs:
            clips = list({id(c): c for a in asked for c in a.clips}.values())
            number = {id(c): i for i, c in enumerate(clips)}
            asks = [before[row][-LONGEST_QUESTION:] for row, _ in pairs]
            ids, is_word = (t.to(device) for t in padded(asks))
            of = [number[id(asked[row].clips[which])] for row, which in pairs]
            embedded = self.llm.get_input_embeddings()(ids)
            percepts = self.perception(clips, of, [which for _, which in pairs], embedded, is_word)
            kept = percepts.is_token.tolist()
        rows = lay_out(before, after, own_tokens(len(asked), pairs, kept))
        most, longest = int(self.llm.config.max_position_embeddings), rows.ids.shape[1]
        if longest > most:
            raise LmmError(f"a conversation of {longest} tokens is longer than the {most} that are read. Shorten it.")
        rows = rows.to(device)
        x = self.llm.get_input_embeddings()(rows.ids).flatten(0, 1)
        answer: Any = self.own.answer
        tokens = self.perception.word_size * answer[None]
        if percepts is not None and is_word is not None:
            tokens = torch.cat([tokens, percepts.tokens.flatten(0, 1)])
            number = is_word.sum(1).tolist()  # words that the talker read, at the end of each question
            begin = [row * longest + len(before[row]) - n for (row, _), n in zip(pairs, number, strict=True)]
            at = torch.cat([torch.arange(b, b + n) for b, n in zip(begin, number, strict=True)]).to(device)
            x = x.index_add(0, at, percepts.heard[is_word].to(x.dtype))
        x = x.index_copy(0, rows.own_at, tokens[rows.own].to(x.dtype))
        said = None
        if percepts is not None and self.config.lexicon:
            words = self.llm.get_input_embeddings().weight.detach()[self.lexicon].float()
            asker = torch.tensor([row for row, _ in pairs], device=device)
            looked = asker.unique()  # of a question without motion nothing is known
            said = torch.zeros(len(asked), len(words), device=device)
            said = said.index_copy(0, looked, self.perception.said(percepts, asker, len(asked))[looked].float())
            meant = F.rms_norm(torch.softmax(said, dim=-1) @ words, words.shape[-1:])
            ends = rows.own_at[rows.own == 0][looked]
            x = x.index_add(0, ends, (self.perception.word_size * meant[looked]).to(x.dtype))
        x = x.unflatten(0, rows.ids.shape)
        is_own = torch.zeros_like(rows.exists).flatten().index_fill(0, rows.own_at, True).view_as(rows.exists)
        return Read(x, is_own, rows.exists, rows.learn_at, rows.learn, percepts, pairs, said)

    def forward(self, read: Read, cache: Cache | None = None) -> Tensor:
        """Return the normed states (B, T, llm_width); a `cache` keeps keys and values. States of padding are 0."""
        llm = self.llm.model
        text = (llm.layers, llm.norm)
        second: Any = (self.own["layers"], self.own["norm"]) if "layers" in self.own else text
        return mixed_states(text, second, llm.rotary_emb, read.own, read.exists, read.embedded, cache, still=False)

    def logits(self, states: Tensor, read: Read, rows: Tensor) -> Tensor:
        """Return the logits (X, vocabulary) of the words after `states` (X, llm_width) of the conversations `rows` (X).

        They are the language model's own, and those of the gist on top where a gate, read off the state, lets them in.
        """
        logits: Tensor = self.llm.get_output_embeddings()(states).float()
        if read.said is None:
            return logits
        copied = torch.sigmoid(self.own["copy"](states).float()) * read.said[rows]
        return logits.index_add(1, self.lexicon, copied)

    # training

    def losses(self, asked: list[Asked]) -> dict[str, Tensor]:
        """Return the mean of each part of the loss.

        text     cross-entropy in nats of each token of an answer; without its weight the language model is not run
        gist     cross-entropy in nats of the words of an answer, whatever their order, by `Perception.said`: words that
                 few answers of the batch hold weigh more (log of answers over those that hold it)
        moments  of the gates, where it is told on which moments an answer rests: for each motion the mean binary
                 cross-entropy to bumps of unit mass on its moments, plus `TOTAL` times the smooth L1 error of quantity
        """
        read, out = self.pack(asked), dict[str, Tensor]()
        if self.config.text:
            states = self(read).flatten(0, 1)[read.learn_at]
            logits = self.logits(states, read, read.learn_at // read.own.shape[1])
            out["text"] = F.cross_entropy(logits, read.learn)
        if self.config.gist and read.said is not None:
            held = torch.zeros(len(asked), self.llm.config.vocab_size, device=read.learn.device)
            held[read.learn_at // read.own.shape[1], read.learn] = 1
            looked = torch.tensor([row for row, _ in read.pairs], device=held.device).unique()
            held, said = held[looked][:, self.lexicon], read.said[looked]
            held = held * (len(held) / held.sum(0).clamp(min=1)).log()
            total = held.sum(1, keepdim=True)
            share = held / total.clamp(min=LEAST)
            each = -(share * torch.log_softmax(said, dim=-1)).sum(1)
            out["gist"] = each.sum() / (total > 0).sum().clamp(min=1)
        told = [
            (p, asked[row].moments_s[which])
            for p, (row, which) in enumerate(read.pairs)
            if which < len(asked[row].moments_s) and asked[row].moments_s[which] is not None
        ]
        if self.config.moments and told and read.percepts is not None:
            talk, seconds = read.percepts.talk, read.percepts.seconds
            rows = torch.tensor([p for p, _ in told], device=seconds.device)
            exists = talk.exists[rows]
            wanted = torch.stack([bumps(m or (), seconds) for _, m in told]) * exists
            each = F.binary_cross_entropy_with_logits(talk.gate_logits[rows], wanted.clamp(max=1), reduction="none")
            mean = (each * exists).sum(1) / exists.sum(1)
            total = wanted.sum(1)
            miss = F.smooth_l1_loss(talk.quantity[rows], total, reduction="none")
            out["moments"] = (mean + TOTAL * miss).mean()
        return out

    def loss(self, batch: list[Asked], progress: float) -> tuple[Tensor, Tensor]:
        """Return the weighted sum of all parts, times the number of conversations, and that number."""
        means = self.losses(batch)
        self.told |= {k: float(v.detach()) for k, v in means.items()}
        weights = {"text": self.config.text, "gist": self.config.gist, "moments": self.config.moments}
        total = torch.stack([weights[name] * mean for name, mean in means.items()]).sum()
        return total * len(batch), torch.tensor(len(batch), device=total.device)

    def validation(self, batch: list[Asked]) -> tuple[Tensor, Tensor]:
        self.eval()
        return self.loss(batch, 1.0)

    # answers

    def answer(
        self, asked: Asked, generator: torch.Generator | None = None, max_tokens: int = 96, temperature: float = 0.0
    ) -> Iterator[int]:
        """Return the token ids of the answer, one after another, up to the end of text, which is left out.

        At temperature 0 each is the likeliest; above, they are drawn with `generator`. Raises LmmError for numbers out
        of range and as `pack` does.
        """
        self._check(max_tokens, temperature)
        return (int(ids[0]) for ids, alive in self._stream([asked], generator, max_tokens, temperature) if alive[0])

    def answers(
        self,
        asked: list[Asked],
        generator: torch.Generator | None = None,
        max_tokens: int = 96,
        temperature: float = 0.0,
    ) -> list[str]:
        """Return the answers to several questions, side by side: each as `answer` would give it."""
        self._check(max_tokens, temperature)
        kept: list[list[int]] = [[] for _ in asked]
        for ids, alive in self._stream(asked, generator, max_tokens, temperature):
            for row in alive.nonzero()[:, 0].tolist():
                kept[row].append(int(ids[row]))
        return [self.text(k) for k in kept]

    def text(self, ids: list[int]) -> str:
        """Return the text of an answer's token ids."""
        return str(self.tokenizer.decode(ids, skip_special_tokens=True)).strip()

    @torch.inference_mode()
    def look(self, asked: Asked) -> list[Looked]:
        """Return for each motion on which moments the answer to a question rests; none where nothing is looked at."""
        self.eval()
        percepts = self.pack([replace(asked, answer=None)]).percepts
        if percepts is None:
            return []
        talk, out = percepts.talk, []
        for p, clip in enumerate(asked.clips):
            frames = [
                KeyFrame(
                    clip.start_s + float(percepts.seconds[j]), float(talk.scores[p, j]), float(talk.radius_s[p, k])
                )
                for k, j in enumerate(talk.chosen[p].tolist())
                if talk.is_key[p, k]
            ]
            frames.sort(key=lambda f: -f.weight)
            out.append(Looked(tuple(frames), float(talk.quantity[p])))
        return out

    def key_frames(self, asked: Asked) -> list[list[KeyFrame]]:
        """Return the key frames of each motion, those of the highest scores first."""
        return [list(seen.key_frames) for seen in self.look(asked)]

    @torch.inference_mode()
    def _stream(
        self, asked: list[Asked], generator: torch.Generator | None, max_tokens: int, temperature: float
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the next token (B,) of each answer, and which rows still have one (B,), until none has."""
        self.eval()
        read = self.pack([replace(a, answer=None) for a in asked])
        lengths, device = read.exists.sum(1), read.exists.device
        most = int(self.llm.config.max_position_embeddings)
        if int(lengths.max()) + max_tokens > most:
            raise LmmError(
                f"a conversation of {int(lengths.max())} tokens is too long: the language model reads {most}, of which "
                f"{max_tokens} are for the answer. Shorten it."
            )
        layers, norm = self.llm.model.layers, self.llm.model.norm
        a = layers[0].self_attn
        heads = a.k_proj.out_features // a.head_dim
        cache = Cache(len(layers), heads, a.head_dim, lengths, max_tokens, self.llm.model.rotary_emb, read.embedded)
        states = self(read, cache)[torch.arange(len(asked), device=device), lengths - 1]
        step = Steps(layers, norm, packed=False)
        alive = torch.ones(len(asked), dtype=torch.bool, device=device)
        ends = torch.tensor(sorted(self._ends()), device=device)
        for _ in range(max_tokens):
            logits = self.logits(states, read, torch.arange(len(asked), device=device))
            if temperature:
                shares = torch.softmax((logits - logits.amax(1, keepdim=True)).double() / temperature, dim=-1)
                ids = torch.multinomial(shares, 1, generator=generator)[:, 0]
            else:
                ids = logits.argmax(1)
            alive = alive & ~torch.isin(ids, ends)
            if not alive.any():
                return
            yield ids, alive
            states = step(self.llm.get_input_embeddings()(ids), cache)

    def _check(self, max_tokens: int, temperature: float) -> None:
        if max_tokens < 1 or not 0 <= temperature <= 100:
            raise LmmError(
                f"{max_tokens} tokens at temperature {temperature} were asked for. Give at least 1, and 0 to 100."
            )

    def _words(self, asked: Asked) -> tuple[list[int], list[int]]:
        """Return the token ids of all that was said up to the question, and of the answer."""

        def ids(text: str) -> list[int]:
            return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

        said = "".join(f"{question.strip()}\n{answer.strip()}\n" for question, answer in asked.history)
        before = [*self.tokenizer("")["input_ids"], *ids(said + asked.question.strip() + "\n")]
        return before, [] if asked.answer is None else [*ids(asked.answer.strip()), self.tokenizer.eos_token_id]

    def _ends(self) -> set[int]:
        ends = [self.llm.config.eos_token_id, self.tokenizer.eos_token_id]
        return {i for e in ends if e is not None for i in (e if isinstance(e, list) else [e])}

    # files

    def save_pretrained(self, folder: str | Path) -> None:
        """Write config.json, the weights (in shards under 16 MiB), the language model in the folder ``llm`` (unless the
        config names one of the hub) or the motion-language model in ``motion-language`` and, where there is none, a
        README.md.
        """
        save_model(self.own, self.config, Path(folder), self.config.name)
        if self.base is not None:
            self.base.save_pretrained(Path(folder) / BASE)
        elif self.config.llm is None:
            save_language_model(merged(self.llm), self.tokenizer, Path(folder) / LLM, SHARD)

    @classmethod
    def from_pretrained(cls, folder: str | Path, dtype: torch.dtype = torch.float32, **changes: Any) -> Assistant:
        """Return the assistant of a folder, ready to use, with weights as `dtype`.

        `changes` are fields of the config that take other values. Raises InputError if there is none, its language
        model is of another width, or weights are missing or damaged.
        """
        config, base = read_config(Path(folder), AssistantConfig), None
        if changes:
            config = AssistantConfig.model_validate(config.model_dump() | changes)
        if config.branch:
            base = MotionLanguageModel.from_pretrained(Path(folder) / BASE, dtype)
            llm, tokenizer = base.llm, base.tokenizer
        else:
            llm, tokenizer = load_language_model(Path(folder) / LLM if config.llm is None else config.llm, dtype)
        if config.llm_width != llm.config.hidden_size:
            raise InputError(
                folder,
                f"is made for a language model {config.llm_width} wide, and its own is {llm.config.hidden_size}",
                "Copy both again, as they were saved",
            )
        model = cls(config, llm, tokenizer, base)
        load_weights(model.own, Path(folder))
        return model.eval()
