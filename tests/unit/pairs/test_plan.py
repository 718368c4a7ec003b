"""What is drawn, decided beforehand: from a request and a sample's number alone."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.pairs.plan import PAIRS_A_TASK, Draws, batches, filled, samples, tasks
from prompt_to_prompt.p2p_core.pairs.request import read_request

CAT = read_request({"source": "a cat on a car", "edit": "a dog on a car"})
RED = read_request({"source": "a cat on a car", "edit": "a cat on a red car"})
OWN = read_request({"source": "a fox", "edit": "an owl", "self_end": 0.5, "seed": 8})


def test_seeds_and_shares_are_the_requests_own():
    first, more = samples(CAT, Draws(samples=3)), samples(CAT, Draws(samples=9))
    assert more[:3] == first
    assert len({sample.seed for sample in more}) == len({sample.p for sample in more}) == 9
    assert samples(CAT, Draws(samples=3, seed=1)) != first


def test_a_sample_is_what_it_was_when_it_was_first_planned():
    """Rows that people have must be drawn alike for ever: these numbers are never to change."""
    first = samples(CAT, Draws())[0]
    assert (first.seed, first.p) == (2205685452485679872, 0.6945)


def test_edits_of_one_source_share_its_pictures_but_not_their_share():
    cat, red = samples(CAT, Draws(samples=4)), samples(RED, Draws(samples=4))
    assert [sample.seed for sample in cat] == [sample.seed for sample in red]
    assert all(a.p != b.p for a, b in zip(cat, red))


def test_the_share_is_uniform_in_its_range():
    shares = [sample.p for sample in samples(CAT, Draws(samples=2000))]
    assert min(shares) >= 0.1 and max(shares) <= 0.9
    counts = Counter(int((share - 0.1) * 10) for share in shares)
    assert all(abs(counts[tenth] - 250) < 75 for tenth in range(8))  # five standard deviations


def test_windows_and_seeds_of_ones_own_are_kept():
    assert [(sample.seed, sample.p) for sample in samples(OWN, Draws(samples=2))] == [(8, None), (9, None)]


@given(st.lists(st.sampled_from([CAT, RED, OWN]), unique=True), st.integers(1, 7), st.integers(2, 12))
def test_batches_hold_every_sample_once_and_are_filled(chosen, number, rows):
    wanted = [sample for request in chosen for sample in samples(request, Draws(samples=number))]
    made = list(batches(wanted, rows))
    assert Counter(sample for batch in made for group in batch for sample in group) == Counter(wanted)
    assert all(filled(batch) <= rows for batch in made)
    assert all(
        len({(sample.request.source, sample.seed) for sample in group}) == 1 for batch in made for group in batch
    )
    assert all(filled(batch) > rows - 2 for batch in made[:-1])  # no room for another pair


def test_several_edits_of_one_source_have_it_once_in_a_batch():
    both = samples(CAT, Draws(samples=2)) + samples(RED, Draws(samples=2))
    (batch,) = batches(both, 16)
    assert [len(group) for group in batch] == [2, 2] and filled(batch) == 6


def test_tasks_take_requests_in_their_order():
    lines = list(enumerate([CAT, RED, OWN] * 7))
    made = list(tasks(lines))
    assert [task.number for task in made] == list(range(len(made)))
    assert [one for task in made for one in task.requests] == lines
    assert all(len(task.requests) == PAIRS_A_TASK for task in made[:-1])
