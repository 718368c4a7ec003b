"""Word maps gathered as attention outputs equal the columns of the maps themselves."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.alignment import align
from prompt_to_prompt.p2p_core.architecture import Architecture
from prompt_to_prompt.p2p_core.attention import Call, Injection, Neighbour, Pair
from prompt_to_prompt.p2p_core.blend import LocalBlend
from prompt_to_prompt.p2p_core.edit import Edit, Reweight, Variant
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.layers import Layer, halved
from prompt_to_prompt.p2p_core.maps import MapRecorder, PromptMaps, grid, word_maps
from prompt_to_prompt.p2p_core.rows import Evaluation, Rows
from prompt_to_prompt.p2p_core.run import Run
from prompt_to_prompt.p2p_core.schedule import InjectSchedule
from prompt_to_prompt.p2p_core.values import Mix, Weigh
from reference import map_space
from reference.prompts import tokenised

# Maps are at most 1 and kept in float32, whose rounding is 6e-8 of that for each of a few operations.
FLOAT32 = {"rtol": 0, "atol": 5e-7}


def tensors(*shapes: tuple[int, ...], seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, dtype=torch.float64, generator=random) for shape in shapes]


def call_of(q: torch.Tensor, k: torch.Tensor, heads: int) -> Call:
    where = Layer("middle", 0, 0, ("text",), 0, heads, q.shape[-1] // heads)
    return Call(q, k, k, where, (Evaluation(),), (8, 8))


def attention(heads: int):
    return lambda q, k, v, mask: map_space.attention(q, k, v, heads)


@settings(deadline=None)
@given(
    st.tuples(*[st.integers(1, 3)] * 4),
    st.lists(st.tuples(st.integers(1, 4), st.data()), min_size=1, max_size=3),
    st.integers(0, 2**32),
)
def test_word_maps(sizes, prompts, seed):
    """Of any tokens of each row's own prompt, more of them than a head is wide; tiled prompts have the copies' sum."""
    heads, head_dim, n, copies = sizes
    tokens = 12 * copies  # whatever the prompt's length, 1 to 4
    q, k = tensors((len(prompts), n, heads * head_dim), (len(prompts), tokens, heads * head_dim), seed=seed)
    wanted = [
        (slice(row, row + 1), length, data.draw(st.lists(st.integers(0, length - 1), unique=True)))
        for row, (length, data) in enumerate(prompts)
    ]
    if not any(positions for _, _, positions in wanted):
        return
    made = word_maps(call_of(q, k, heads), wanted, [], attention(heads))
    assert made.dtype == torch.float32
    for row, length, positions in wanted:
        folded = map_space.folded(map_space.attention_map(q[row], k[row], heads), length)
        literal = map_space.word_map(folded, positions)
        torch.testing.assert_close(made[row, :, : len(positions)].double(), literal, **FLOAT32)
        assert not made[row, :, len(positions) :].any()


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(0, 2**32), st.floats(0, 1))
def test_word_maps_of_an_edit_are_the_edited_ones(heads, seed, strength):
    q, k = tensors((2, 4, heads * 2), (2, 6, heads * 2), seed=seed)
    [a] = tensors((6, 6), seed=seed)
    keep = Weigh(torch.full((6,), 1 - strength, dtype=torch.float64))
    pair = Pair(Neighbour(slice(0, 1)), slice(1, 2), Injection(Mix(a * strength), keep))
    wanted = [(slice(0, 1), 6, (1, 2)), (slice(1, 2), 6, (0, 3, 5))]
    made = word_maps(call_of(q, k, heads), wanted, [pair], attention(heads))
    source, own = (map_space.attention_map(q[row : row + 1], k[row : row + 1], heads) for row in (0, 1))
    edited = map_space.refined(source, own, a, torch.full((6,), strength, dtype=torch.float64))
    torch.testing.assert_close(made[1:].double(), map_space.word_map(edited, [0, 3, 5]), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(made[:1, :, :2].double(), map_space.word_map(source, [1, 2]), **FLOAT32)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 7))
def test_grid_lays_out_a_layers_queries_as_the_latent(height, width, level):
    size = halved(height, width, level)
    rows, columns = grid(size[0] * size[1], height, width)
    assert rows * columns == size[0] * size[1]
    if size[0] * size[1] > 1:
        assert (rows, columns) == size


def test_queries_of_no_layout_are_an_error_that_names_the_likely_cause():
    with pytest.raises(EditError, match=r"55 positions for a latent of 16 x 16.*Deep Shrink"):
        grid(55, 16, 16)


def layer(number: int, index: int = 0, level: int = 0) -> Layer:
    return Layer("output", number, index, ("text",), level, 2, 4)


def test_a_recorder_averages_over_steps_and_the_layers_of_a_block():
    prompt = tokenised("a cat", chunk=6)
    edit = Edit(prompt).add(prompt)
    where = Architecture("", (layer(3), layer(3, index=1), layer(5, level=1)), 8, 6)
    recorder = MapRecorder(edit, Rows(1, batch=2), where, (8, 8), keep=True)
    a, b, c = torch.rand(3, 4, 64, 4)  # of start, a, cat, end
    for maps, at in ((a, layer(3)), (b, layer(3, index=1)), (c, layer(3))):
        recorder.add(at, maps)
    recorder.add(layer(5, level=1), torch.ones(4, 16, 4))

    source = recorder.maps().source
    assert source.layers == {"output:3": 2, "output:5": 1}
    assert source.blocks["output:5"].shape == (2, 4, 4, 4)
    expected = ((a + b + c) / 3)[:2].movedim(1, 2).unflatten(-1, (8, 8))
    torch.testing.assert_close(source.blocks["output:3"], expected)
    summed = recorder.blend_map(1, (2,))
    torch.testing.assert_close(summed, (a + b + c)[2:, :, 2].unflatten(-1, (8, 8)))


def test_a_blend_has_no_map_before_its_layers_were_seen():
    recorder = MapRecorder(Edit(SOURCE).add(EDIT), Rows(1), Architecture("", (layer(3),), 8, 6), (8, 8), keep=True)
    assert recorder.blend_map(1, (2,)) is None


def test_maps_of_several_blocks_are_averaged_by_layers_at_the_finest_resolution():
    blocks = {"middle:0": torch.full((1, 2, 2, 2), 0.1), "output:3": torch.full((1, 2, 8, 8), 0.4)}
    maps = PromptMaps(tokenised("a cat", chunk=6), (1, 2), blocks, {"middle:0": 1, "output:3": 2})
    torch.testing.assert_close(maps.of((1,)), torch.full((1, 8, 8), 0.3))
    torch.testing.assert_close(maps.of((1, 2), "output"), torch.full((1, 8, 8), 0.8))
    torch.testing.assert_close(maps.of((2,), "middle"), torch.full((1, 2, 2), 0.1))
    with pytest.raises(EditError, match=r"layers: no maps of 'input' were kept. Blocks with maps: middle:0, output:3"):
        maps.of((1,), "input")


# --- in a run ---

SOURCE, EDIT = tokenised("a cat", chunk=6), tokenised("a dog", chunk=6)


def recorded(reweights=(), kernel=None, **more) -> Run:
    """A run of one step of one layer, on 8 x 8 places. `kernel`: in place of attention in float64."""
    variant = Variant(EDIT, align(SOURCE, EDIT), InjectSchedule(), reweights, more.pop("blend", None))
    run = Run(Edit(SOURCE, (variant,)), Architecture("", (layer(3),), 8, 6), 1, (8, 8), **more)
    q, k, v = tensors((2, 64, 8), (2, 6, 8), (2, 6, 8), seed=1)
    run.calls = []

    def attend(q, k, v, mask):
        run.calls.append(len(q))
        return map_space.attention(q, k, v, 2)

    run.begin_step(0, 1)
    run.attention(Call(q, k, v, layer(3), (Evaluation(),), (8, 8)), kernel or attend)
    return run


def test_maps_are_kept_of_all_words_when_asked_for():
    maps = recorded(keep_maps=True).maps()
    assert maps.source.positions == maps.variants[0].positions == (0, 1, 2, 3)
    torch.testing.assert_close(maps.source.of((2,)), maps.variants[0].of((2,)))  # the dog has the cat's


def test_maps_are_never_computed_when_nobody_asks():
    run = recorded()
    assert run.maps() is None
    assert run.calls == [2]
    assert len(recorded(blend=LocalBlend(mask=torch.ones(8, 8))).calls) == 1


def test_a_words_weight_does_not_move_its_map():
    """A negative one would turn its place inside out."""
    plain, weighted = (recorded(r, keep_maps=True).maps() for r in ((), (Reweight("dog", (2,), -5.0),)))
    assert torch.equal(plain.variants[0].blocks["output:3"], weighted.variants[0].blocks["output:3"])


def test_a_blend_keeps_the_maps_of_its_own_words():
    blend = LocalBlend(source_positions=(2,), edit_positions=(2,), edit_subtract=(1,), threshold=0.9, start=0.0)
    run = recorded(blend=blend)
    run.predictions(torch.zeros(2, 4, 8, 8))
    assert 0 < run.masks().mean() < 1


def in_eight_bits(q, k, v, mask):
    """A kernel that scales each channel of the values to its largest: of one that is all zero it makes NaN."""
    scale = v.abs().amax(1, keepdim=True)
    return map_space.attention(q, k, v / scale, 2) * scale


@pytest.mark.parametrize("positions", [(1,), (0, 2), (0, 1, 2, 3, 4)])
def test_a_kernel_that_scales_channels_gives_the_same_maps(positions):
    q, k = tensors((2, 4, 8), (2, 6, 8), seed=1)
    tokens = [(slice(0, 1), 6, (0, 1, 2)), (slice(1, 2), 6, positions)]
    matrix = torch.zeros(6, 6, dtype=torch.float64)  # the edit's token 1 stands for none of the source's
    matrix[0, 0] = matrix[2, 2] = matrix[3, 3] = 1
    pairs = [Pair(Neighbour(slice(0, 1)), slice(1, 2), Injection(Mix(matrix), None))]
    made = [word_maps(call_of(q, k, 2), tokens, pairs, kernel) for kernel in (in_eight_bits, attention(2))]
    assert torch.isfinite(made[0]).all()
    torch.testing.assert_close(*made, **FLOAT32)


@pytest.mark.parametrize("of", ["blend_map", "maps"])
def test_maps_that_are_no_numbers_are_an_error_that_names_the_kernel(of):
    def attention_of_some_pack(q, k, v, mask):
        return torch.full_like(q, float("nan"))

    finished = recorded(keep_maps=True, kernel=attention_of_some_pack)
    with pytest.raises(EditError, match=r"^model: the attention kernel attention_of_some_pack gave maps"):
        finished.maps() if of == "maps" else finished._recorder.blend_map(0, (1,))
