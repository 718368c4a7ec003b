"""Attention edited on values equals attention edited on maps, to 1e-9 in float64, whatever the edit."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.alignment import Alignment, Link
from prompt_to_prompt.p2p_core.architecture import Architecture
from prompt_to_prompt.p2p_core.attention import Call, Injection, Neighbour, Pair, edited_attention
from prompt_to_prompt.p2p_core.edit import Edit, Reweight, Variant
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer
from prompt_to_prompt.p2p_core.rows import Evaluation
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule, Window, WordWindow
from prompt_to_prompt.p2p_core.tokens import Prompt, Stream, Token
from prompt_to_prompt.p2p_core.values import Mix, Weigh
from reference import map_space

EXACT = {"rtol": 1e-9, "atol": 1e-9}
STEPS = 10
HEAD_DIM = 3


def prompt(length: int) -> Prompt:
    return Prompt("", (Stream(tuple(Token(i, "text", f"w{i}", i) for i in range(length)), length),))


@st.composite
def alignments(draw, source: int) -> Alignment:
    """Any tokens of the edit, alone or several together, taking any tokens of the source."""
    length = draw(st.integers(1, 6))
    groups = draw(st.lists(st.integers(-1, 2), min_size=length, max_size=length))
    links = []
    for group in sorted(set(groups) - {-1}):
        sources = draw(st.sets(st.integers(0, source - 1), min_size=1))
        links.append(Link(tuple(sorted(sources)), tuple(i for i, g in enumerate(groups) if g == group)))
    return Alignment(source, length, tuple(links))


windows = st.lists(st.sampled_from([i / 10 for i in range(11)]), min_size=2, max_size=2).map(
    lambda ends: Window(*sorted(ends))
)
strengths = st.one_of(st.just(1.0), st.floats(0, 1))


@st.composite
def variants(draw, source: int) -> Variant:
    alignment = draw(alignments(source))
    tokens = st.integers(0, alignment.edit_length - 1)
    words = st.builds(WordWindow, st.just("word"), windows, st.tuples(tokens))
    schedule = draw(
        st.builds(
            InjectSchedule,
            windows,
            windows,
            strengths,
            strengths,
            self_layers=st.just("all"),
            self_mode=st.sampled_from(["map", "key_value", "output"]),
            word_windows=st.lists(words, max_size=2).map(tuple),
        )
    )
    reweights = st.builds(Reweight, st.just("word"), st.tuples(tokens), st.floats(-20, 20), windows)
    return Variant(prompt(alignment.edit_length), alignment, schedule, draw(st.lists(reweights, max_size=3).map(tuple)))


def layer(kind: str, heads: int) -> Layer:
    return Layer("middle", 0, 0, {"cross": ("text",), "self": ("image",)}[kind], 0, heads, HEAD_DIM)


def architecture(heads: int) -> Architecture:
    return Architecture("", (layer("cross", heads), layer("self", heads)), 8, 77)


@dataclass
class Case:
    """One call of one attention layer within a run, and its plain output."""

    run: Run
    step: int
    heads: int
    evaluation: Evaluation
    q: torch.Tensor
    k: torch.Tensor
    v: torch.Tensor

    def edited(self, kind: str, **more) -> torch.Tensor:
        self.run.begin_step(self.step, STEPS)
        call = Call(self.q, self.k, self.v, layer(kind, self.heads), (self.evaluation,), (8, 8))
        return self.run.attention(call, more.pop("attend", self.plain), **more)

    def plain(self, q, k, v, mask=None) -> torch.Tensor:
        return map_space.attention(q, k, v, self.heads)

    def rows(self, i: int) -> tuple[slice, slice]:
        """The source's rows and the edit's, of variant `i`."""
        rows, base = self.run.rows, self.evaluation.base
        return rows.of(rows.partner_of(i), base), rows.of(rows.place_of(i), base)

    def everything_else(self) -> list[int]:
        edited = {row for i in range(len(self.run.edit.variants)) for row in range(len(self.q))[self.rows(i)[1]]}
        return [row for row in range(len(self.q)) if row not in edited]


@st.composite
def calls(draw, cross: bool) -> Case:
    """A batch of several images, several edits of each and rows that are none of the run's."""
    source = draw(st.integers(1, 5))
    edit = Edit(prompt(source), tuple(draw(st.lists(variants(source), min_size=1, max_size=3))))
    heads, batch, n = (draw(st.integers(1, most)) for most in (3, 2, 5))
    run = Run(edit, architecture(heads), batch, (8, 8), draw(st.sampled_from(["dual", "shared"])))
    before, after = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    rows = before + len(run.rows) + after
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))

    def tensor(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, heads * HEAD_DIM, dtype=torch.float64, generator=random)

    if not cross:
        q, k, v = (tensor(rows, n) for _ in range(3))
    else:
        lengths = [source, *(len(variant.prompt) for variant in edit.variants)]
        m = lcm(*lengths) * draw(st.integers(1, 2))
        of_row = [m] * rows
        for place, length in enumerate([source] * run.rows.first + lengths[1:]):
            of_row[run.rows.of(place, before)] = [length] * batch
        q = tensor(rows, n)
        k, v = (torch.cat([tensor(1, length).repeat(1, m // length, 1) for length in of_row]) for _ in range(2))
    return Case(run, draw(st.integers(0, STEPS - 1)), heads, Evaluation(before), q, k, v)


def holds(window: Window, step: int) -> bool:
    return window.start <= step / STEPS < window.end


def literal_cross(call: Case, i: int) -> torch.Tensor:
    """((P_s A) diag(a) + P_e diag(1 - a)) diag(w) v_e."""
    variant = call.run.edit.variants[i]
    length, schedule = len(variant.prompt), variant.schedule
    a = torch.zeros(len(call.run.edit.source), length, dtype=torch.float64)
    share = torch.zeros(length, dtype=torch.float64)
    for link in variant.alignment.links:
        for e in link.edits:
            a[list(link.sources), e] += 1 / len(link.edits)
            share[e] = schedule.cross_strength * holds(schedule.cross_window, call.step)
    taken = {e for link in variant.alignment.links for e in link.edits}
    for word in schedule.word_windows:
        for e in taken.intersection(word.positions):
            share[e] = schedule.cross_strength * holds(word.window, call.step)
    weights = torch.ones(length, dtype=torch.float64)
    for reweight in variant.reweights:
        if holds(reweight.window, call.step):
            weights[list(reweight.positions)] *= reweight.scale

    source, edit = call.rows(i)
    of_source, own = (map_space.attention_map(call.q[rows], call.k[rows], call.heads) for rows in (source, edit))
    of_source, own = map_space.folded(of_source, len(a)), map_space.folded(own, length)
    maps = map_space.reweighted(map_space.refined(of_source, own, a, share), weights)
    return map_space.applied(maps, call.v[edit][:, :length])


@settings(deadline=None)
@given(calls(cross=True))
def test_cross_attention(call):
    """Word swap, refinement with strengths, word windows, weights; several edits, batches, tiled keys."""
    out = call.edited("cross")
    for i in range(len(call.run.edit.variants)):
        torch.testing.assert_close(out[call.rows(i)[1]], literal_cross(call, i), **EXACT)
    rest = call.everything_else()
    torch.testing.assert_close(out[rest], call.plain(call.q, call.k, call.v)[rest], **EXACT)


@settings(deadline=None)
@given(calls(cross=False))
def test_self_attention(call):
    """The source's maps, its keys and values, or its output, each with a strength."""
    out = call.edited("self")
    for i, variant in enumerate(call.run.edit.variants):
        schedule, rows = variant.schedule, call.rows(i)
        literal = map_space.self_attention(
            *([x[part] for part in rows] for x in (call.q, call.k, call.v)),
            call.heads,
            schedule.self_mode,
            schedule.self_strength * holds(schedule.self_window, call.step),
        )
        torch.testing.assert_close(out[rows[1]], literal, **EXACT)
    rest = call.everything_else()
    torch.testing.assert_close(out[rest], call.plain(call.q, call.k, call.v)[rest], **EXACT)


@settings(deadline=None)
@given(calls(cross=False))
def test_cross_attention_to_one_encoding_that_all_prompts_share(call):
    """Where a conditioning entry is the same for source and edits, each token is its own partner, and has no weight."""
    call.evaluation = Evaluation(call.evaluation.base, shares_prompt=True)
    out = call.edited("cross")
    for i, variant in enumerate(call.run.edit.variants):
        schedule, rows = variant.schedule, call.rows(i)
        strength = schedule.cross_strength * holds(schedule.cross_window, call.step)
        q, k, v = ([x[part] for part in rows] for x in (call.q, call.k, call.v))
        literal = map_space.self_attention(q, k, v, call.heads, "map", strength)
        torch.testing.assert_close(out[rows[1]], literal, **EXACT)


@settings(deadline=None)
@given(st.one_of(st.tuples(calls(cross=True), st.just("cross")), st.tuples(calls(cross=False), st.just("self"))))
def test_inputs_are_not_written_to(call_and_kind):
    call, kind = call_and_kind
    before = [x.clone() for x in (call.q, call.k, call.v)]
    call.edited(kind)
    assert all(torch.equal(old, new) for old, new in zip(before, (call.q, call.k, call.v)))


@settings(deadline=None)
@given(calls(cross=True))
def test_what_another_patch_made_of_it_stays(call):
    """The edit is added to another patch's output, in the edits' rows alone."""
    other = torch.randn(call.q.shape, dtype=torch.float64)
    out = call.edited("cross", previous=lambda q, k, v, mask: call.plain(q, k, v) + other)
    torch.testing.assert_close(out, call.edited("cross") + other, **EXACT)


# --- how much is computed ---


class Counted:
    def __init__(self, heads: int):
        self.heads = heads
        self.rows: list[int] = []

    def __call__(self, q, k, v, mask):
        self.rows.append(len(q))
        return map_space.attention(q, k, v, self.heads)


def full(length: int, **more) -> Case:
    """A run of one edit, every token of which is taken, at the first of its steps."""
    alignment = Alignment(length, length, tuple(Link((i,), (i,)) for i in range(length)))
    variant = Variant(prompt(length), alignment, InjectSchedule(**more))
    run = Run(Edit(prompt(length), (variant,)), architecture(2), 1, (8, 8))
    q, k, v = (torch.randn(4, length, 2 * HEAD_DIM, dtype=torch.float64) for _ in range(3))
    return Case(run, 0, 2, Evaluation(2), q, k, v)


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_a_whole_row_injected_is_the_one_call_that_the_host_would_have_made(kind):
    call, attend = full(5, self_layers="all"), Counted(2)
    call.edited(kind, attend=attend)
    assert attend.rows == [4]


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_a_part_kept_beside_it_is_a_second_call_of_the_edits_rows(kind):
    call, attend = full(5, self_layers="all", cross_strength=0.5, self_strength=0.5), Counted(2)
    call.edited(kind, attend=attend)
    assert sorted(attend.rows) == [1, 4]


@pytest.mark.parametrize("kind", ["self", "cross"])
def test_outside_of_the_window_the_host_is_given_its_own_tensors(kind):
    call, seen = full(5, cross_window=Window(0.5, 1.0), self_window=Window(0.5, 1.0)), []
    call.edited(kind, attend=lambda *qkv: seen.append(qkv[:3]) or qkv[0])
    [qkv] = seen
    assert all(given is own for given, own in zip(qkv, (call.q, call.k, call.v)))


def test_the_same_prompt_and_latent_under_full_injection_give_the_source():
    call = full(5)
    call.q[3], call.k[3], call.v[3] = call.q[2], call.k[2], call.v[2]
    out = call.edited("cross")
    assert torch.equal(out[3], out[2])


@pytest.mark.parametrize("keep", [None, Weigh(torch.full((5,), 0.5))])
def test_a_prompt_lengthened_after_its_alignment_is_an_error_that_names_the_cause(keep):
    call = Call(torch.randn(2, 3, 4), *torch.randn(2, 2, 7, 4), layer("cross", 1), (), (8, 8))
    pair = Pair(Neighbour(slice(0, 1)), slice(1, 2), Injection(Mix(torch.eye(5)), keep))
    with pytest.raises(EditError, match=r"attends to 7 tokens, but the prompts of this edit have 5.*changed in length"):
        edited_attention(call, [pair], lambda q, k, v, mask: q)
