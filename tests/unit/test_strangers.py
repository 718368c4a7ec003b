"""What the engine has never heard of runs through it: another architecture, and a source without rows.

The architecture has joint attention, text and image keys in one call, blocks named `double` and `single`,
16 pixels a token, 256 text positions and latents with an axis of frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.architecture import Architecture
from prompt_to_prompt.p2p_core.attention import Call
from prompt_to_prompt.p2p_core.blend import fit_mask, word_mask
from prompt_to_prompt.p2p_core.edit import Edit
from prompt_to_prompt.p2p_core.layers import Layer, parse_blocks
from prompt_to_prompt.p2p_core.rows import Evaluation
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token
from reference import joint_maps, map_space

EXACT = {"rtol": 1e-9, "atol": 1e-9}
TEXT = 256
HEADS, HEAD_DIM = 2, 4
SIZE = (4, 3)
PLACES = SIZE[0] * SIZE[1]
STEPS = 10


def prompt(*words: str) -> Prompt:
    """As T5 has it: words, end, and padding that is attended to."""
    tokens = [Token(word, "text", word, i) for i, word in enumerate(words)] + [Token(1, "end")]
    return Prompt(" ".join(words), (Stream((*tokens, *[Token(0, "pad")] * (TEXT - len(tokens))), TEXT),))


LAYERS = tuple(
    Layer(block, i, 0, ("text", "image"), 0, HEADS, HEAD_DIM) for block in ("double", "single") for i in (0, 1)
)
MODEL = Architecture("a stranger", LAYERS, pixels=16, prompt_length=TEXT, blend_blocks=("double:1", "single:0"))
SOURCE, EDIT = prompt("a", "cat", "on", "a", "car"), prompt("a", "big", "dog", "on", "a", "car")


def attend(q, k, v, mask):
    """The host's attention, with a key mask, True for what is seen."""
    q, k, v = (x.unflatten(-1, (-1, HEAD_DIM)).transpose(1, 2) for x in (q, k, v))
    logits = q @ k.mT / HEAD_DIM**0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, float("-inf"))
    return (logits.softmax(-1) @ v).transpose(1, 2).flatten(2)


@dataclass(frozen=True)
class Forward:
    """One evaluation of the model: a call of each layer, for rows [source, edit], text before image or after."""

    calls: tuple[Call, ...]

    @classmethod
    def drawn(cls, seed: int, text_first: bool, masked: bool) -> Forward:
        generator = torch.Generator().manual_seed(seed)
        length = TEXT + PLACES
        text = slice(0, TEXT) if text_first else slice(PLACES, None)
        image = slice(TEXT, None) if text_first else slice(0, PLACES)
        mask = None
        if masked:
            mask = torch.ones(2, 1, 1, length, dtype=torch.bool)
            mask[0, ..., text.start + 200 : text.start + TEXT] = False
            mask[1, ..., text.start + 220 : text.start + TEXT] = False
        return cls(
            tuple(
                Call(
                    *(
                        torch.randn(2, length, HEADS * HEAD_DIM, dtype=torch.float64, generator=generator)
                        for _ in range(3)
                    ),
                    layer,
                    (Evaluation(),),
                    SIZE,
                    mask,
                    image,
                    text,
                )
                for layer in LAYERS
            )
        )


def row(call: Call, number: int) -> joint_maps.Row:
    hidden = torch.zeros(call.k.shape[1], dtype=torch.bool) if call.mask is None else ~call.mask[number, 0, 0]
    return joint_maps.Row(call.q[number], call.k[number], call.v[number], hidden)


def literal(call: Call, edit: Edit, step: int, mode: str | None = None) -> torch.Tensor:
    """What the edit's row should give, on explicit maps."""
    variant = edit.variants[0]
    schedule = variant.schedule
    words = not schedule.blocks or any(b.holds(call.layer.block, call.layer.number) for b in schedule.blocks)
    inside = {
        name: words and window.start <= step / STEPS < window.end
        for name, window in (("cross", schedule.cross_window), ("self", schedule.self_window))
    }
    return joint_maps.edited(
        row(call, 0),
        row(call, 1),
        HEADS,
        call.text_keys,
        call.image,
        variant.alignment.matrix,
        variant.alignment.taken * schedule.cross_strength * inside["cross"],
        torch.tensor(variant.weights(step, STEPS), dtype=torch.float64),
        schedule.self_strength * inside["self"],
        mode or schedule.self_mode,
    )


fractions = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0, 1))
schedules = st.builds(
    InjectSchedule,
    st.just(Window(0.0, 0.8, "cross")),
    st.just(Window(0.0, 0.4, "self")),
    fractions,
    fractions,
    self_mode=st.sampled_from(["map", "key_value", "output", "layout"]),
    blocks=st.sampled_from([(), parse_blocks("double, single:1")]),
)


@settings(deadline=None)
@given(
    schedules,
    st.sampled_from([1.0, -2.0, 3.0]),
    st.sampled_from([0, 5, 9]),
    st.integers(0, 99),
    st.booleans(),
    st.booleans(),
)
def test_joint_attention_is_edited_as_its_maps_would_be(schedule, weight, step, seed, text_first, masked):
    edit = Edit(SOURCE).add(EDIT).reweight("dog", weight).schedule(schedule)
    run = Run(edit, MODEL, 1, SIZE)
    run.begin_step(step, STEPS)
    for call in Forward.drawn(seed, text_first, masked).calls:
        out = run.attention(call, attend)
        torch.testing.assert_close(out[1], literal(call, edit, step), **EXACT)
        assert torch.equal(out[0], call.attend(attend)[0]), "the source is touched by nothing"


def test_two_edits_of_a_batch_of_two_each_take_their_own_source():
    schedule = InjectSchedule(cross_strength=0.5, self_mode="map")
    edit = Edit(SOURCE).add(EDIT).add(prompt("a", "fox", "on", "a", "car")).schedule(schedule)
    run = Run(edit, MODEL, 2, SIZE)
    run.begin_step(0, STEPS)
    whole = Forward.drawn(1, True, False).calls[0]
    q, k, v = torch.randn(3, 6, TEXT + PLACES, HEADS * HEAD_DIM, dtype=torch.float64)
    out = run.attention(replace(whole, q=q, k=k, v=v), attend)
    for i, variant in enumerate(edit.variants):
        for picture in range(2):
            rows = [picture, 2 * (1 + i) + picture]
            alone = replace(whole, q=q[rows], k=k[rows], v=v[rows])
            torch.testing.assert_close(out[rows[1]], literal(alone, replace(edit, variants=(variant,)), 0), **EXACT)


def test_maps_and_a_local_blend():
    """Maps are those of the picture's queries; latents may have an axis of frames."""
    schedule = InjectSchedule(self_strength=0.5, self_mode="map")
    edit = Edit(SOURCE).add(EDIT).schedule(schedule).local_blend("cat", "dog", threshold=0.6, start=0.0)
    run = Run(edit, MODEL, 1, SIZE, keep_maps=True)
    run.begin_step(0, STEPS)
    forward = Forward.drawn(3, True, False)
    for call in forward.calls:
        run.attention(call, attend)

    variant = edit.variants[0]
    of_words = {}
    for call in forward.calls:
        source, own = row(call, 0), row(call, 1)
        share = variant.alignment.taken * schedule.cross_strength
        maps = joint_maps.edited_maps(
            source, own, HEADS, call.text_keys, call.image, variant.alignment.matrix, share, schedule.self_strength
        )
        before = joint_maps.attention_map(source.q[call.image], source.k, source.hidden, HEADS)
        of_words[call.layer.name] = before.mean(0)[:, 1], maps.mean(0)[:, 2]  # cat, dog
    kept = run.maps()
    for name, (cat, dog) in of_words.items():
        tolerance = {"rtol": 0, "atol": 5e-7}  # kept in float32
        for prompt_maps, phrase, expected in ((kept.source, "cat", cat), (kept.variants[0], "dog", dog)):
            made = prompt_maps.of(prompt_maps.prompt.find(phrase)[0], name)
            torch.testing.assert_close(made.double(), expected.reshape(1, *SIZE), **tolerance)

    latents = torch.randn(2, 16, 1, *SIZE, dtype=torch.float64)
    (out,) = run.predictions(latents)
    mask = torch.zeros(1, 1, *SIZE)
    for i in (0, 1):
        together = sum(of_words[name][i] for name in MODEL.blend_blocks).reshape(1, *SIZE)
        mask = torch.maximum(mask, word_mask(together, SIZE, 0.6))
    assert 0 < mask.mean() < 1, "or the test says nothing"
    assert torch.equal(out[1], torch.where(mask[0, :, None] == 1, latents[1], latents[0]))
    assert torch.equal(run.final(latents)[1], out[1])


# --- a source that has no row ---


@dataclass(frozen=True)
class FromAList:
    """The source's queries, keys and values of one call."""

    tensors: tuple[torch.Tensor, ...]

    def q(self, call: Call) -> torch.Tensor:
        return self.tensors[0]

    def k(self, call: Call) -> torch.Tensor:
        return self.tensors[1]

    def v(self, call: Call) -> torch.Tensor:
        return self.tensors[2]

    def mask(self, call: Call) -> torch.Tensor | None:
        return None


@dataclass(frozen=True)
class Recorded:
    """A source sampled before: what its layers computed, one list for all its steps."""

    calls: dict[Layer, tuple[torch.Tensor, ...]]

    def source(self, call: Call, evaluation: Evaluation) -> FromAList:
        return FromAList(self.calls[call.layer])


UNET = Architecture(
    "a UNet",
    tuple(Layer("middle", 0, 0, part, 0, HEADS, HEAD_DIM) for part in (("image",), ("text",))),
    pixels=8,
    prompt_length=TEXT,
)


@pytest.mark.parametrize("model", [MODEL, UNET], ids=lambda model: model.name)
@pytest.mark.parametrize("mode", ["map", "key_value", "output", "layout"])
def test_an_edit_of_a_source_that_has_no_row_is_the_edit_beside_it(model, mode):
    schedule = InjectSchedule(cross_strength=0.7, self_strength=0.6, self_layers="all", self_mode=mode)
    edit = Edit(SOURCE).add(EDIT).reweight("dog", 2.0).schedule(schedule).local_blend("cat", "dog", start=0.0)
    lengths = {("text",): (PLACES, TEXT), ("image",): (PLACES, PLACES), ("text", "image"): (TEXT + PLACES,) * 2}
    calls = []
    for layer in model.layers:
        n, m = lengths[layer.attends_to]
        q, k, v = (torch.randn(2, length, HEADS * HEAD_DIM, dtype=torch.float64) for length in (n, m, m))
        joint = {"image": slice(TEXT, None), "text": slice(0, TEXT)} if n > PLACES else {}
        calls.append(Call(q, k, v, layer, (Evaluation(),), SIZE, **joint))
    latents = torch.randn(2, 4, *SIZE, dtype=torch.float64)
    beside = Run(edit, model, 1, SIZE)
    recording = {c.layer: (c.q[:1, c.image], c.k[:1], c.v[:1]) for c in calls}
    alone = Run(edit, model, 1, SIZE, recorded=Recorded(recording))
    for run in (beside, alone):
        run.begin_step(0, STEPS)
    for call in calls:
        expected = beside.attention(call, attend)
        made = alone.attention(replace(call, q=call.q[1:], k=call.k[1:], v=call.v[1:]), attend)
        torch.testing.assert_close(made, expected[1:], **EXACT)
    (expected,), (made,) = beside.predictions(latents), alone.predictions(latents[1:], sources=[latents[:1]])
    assert torch.equal(made, expected[1:])
    assert torch.equal(alone.masks(), beside.masks())


def test_what_the_oracle_says_without_any_edit_is_plain_attention():
    """Tests the test."""
    call = Forward.drawn(0, True, False).calls[0]
    nothing = torch.zeros(TEXT, dtype=torch.float64)
    out = joint_maps.edited(
        row(call, 0),
        row(call, 1),
        HEADS,
        call.text_keys,
        call.image,
        align(SOURCE, EDIT).matrix,
        nothing,
        nothing + 1,
        0.0,
        "map",
    )
    torch.testing.assert_close(out, call.attend(attend)[1], **EXACT)
    torch.testing.assert_close(out, map_space.attention(call.q, call.k, call.v, HEADS)[1], **EXACT)
    assert fit_mask(torch.ones(1, 1), 1, SIZE).all()
