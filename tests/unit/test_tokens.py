"""Words are found in a prompt as a person means them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prompt_to_prompt.p2p_core.errors import EditError
from prompt_to_prompt.p2p_core.hosts.comfy import encode, load_demo
from prompt_to_prompt.p2p_core.spelling import sentencepiece
from prompt_to_prompt.p2p_core.spelling.clip import Piece
from prompt_to_prompt.p2p_core.tokens import Around, Prompt, Stream, Token, find_words
from prompt_to_prompt.p2p_core.words import letters, split_phrases
from reference.prompts import tokenised

PROMPT = tokenised("A cat, a bicycle and a Cat in the snow!")
#                   1 2  3 4 5-6     7   8 9  10  11  12   13


@pytest.mark.parametrize(
    ("phrase", "places"),
    [
        ("cat", [(2,), (9,)]),
        ("CAT", [(2,), (9,)]),
        ('"cat".', [(2,), (9,)]),
        ("cat#1", [(2,)]),
        ("cat#2", [(9,)]),
        (" cat#2 ", [(9,)]),
        ("cat#3", []),
        ("cat#0", []),
        ("bicycle", [(5, 6)]),
        ("a bicycle", [(4, 5, 6)]),
        ("in the  snow", [(10, 11, 12)]),
        ("a", [(1,), (4,), (8,)]),
        ("cyc", []),
        ("bicy", []),
        ("ca", []),
        ("dog", []),
        (",", []),
        ("", []),
        ("[0]", [(0,)]),
        ("[ 14 ]", [(14,)]),
        ("[77]", []),
    ],
)
def test_find(phrase, places):
    assert PROMPT.find(phrase) == places


words = st.sampled_from(["cat", "dog", "hippogriff", "red", ",", "."])
texts = st.lists(words, max_size=12).map(" ".join)


@given(texts)
def test_words_are_the_prompts_text_in_order(text):
    prompt = tokenised(text, chunk=6)
    assert [word.text for word in prompt.words] == text.split()
    assert [i for word in prompt.words for i in word.positions] == prompt.positions("text")


@given(texts)
def test_every_word_is_found_at_every_place_and_each_place_by_its_number(text):
    prompt = tokenised(text, chunk=6)
    for word in {word.text for word in prompt.words if not word.is_mark}:
        places = [own.positions for own in prompt.words if own.text == word]
        assert prompt.find(word.upper()) == places
        assert [prompt.find(f"{word}#{n}") for n in range(1, len(places) + 2)] == [*([p] for p in places), []]


@given(st.text(max_size=30))
def test_any_text_can_be_looked_for(text):
    for place in PROMPT.find(text):
        assert all(0 <= i < len(PROMPT) for i in place)
    split_phrases(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("Cat,", "cat"), ("t-shirt", "tshirt"), ("STRASSE", "strasse"), ("«雪»", "雪"), ("...", "")]
)
def test_letters(text, expected):
    assert letters(text) == expected


def test_phrases_are_separated_by_commas_and_lines():
    assert split_phrases(" cat, red car ,,\n[5]\n雪，dog#2") == ["cat", "red car", "[5]", "雪", "dog#2"]


def test_a_word_is_looked_for_in_every_prompt():
    other = tokenised("a dog")
    assert find_words([PROMPT, other], ["cat", "a"], "words") == [{"cat": (2, 9), "a": (1, 4, 8)}, {"a": (1,)}]


@pytest.mark.parametrize(
    ("phrase", "message"),
    [
        ("dog", "edit_words: 'dog' is not in the prompt. Its words are: A, cat, a, bicycle, and, Cat, in, the, snow."),
        ("cat#3", "edit_words: 'cat#3' is not in the prompt: 'cat' occurs only 2 times."),
        ("snow#2", "edit_words: 'snow#2' is not in the prompt: 'snow' occurs only once."),
        ("[90]", "edit_words: '[90]' is not a token position of the prompt. Positions go from [0] to [76]."),
    ],
)
def test_a_word_that_is_nowhere_is_named_with_what_there_is(phrase, message):
    with pytest.raises(EditError) as error:
        find_words([PROMPT], ["cat", phrase], "edit_words")
    assert str(error.value) == message


def test_an_empty_prompt_is_said_to_be_empty():
    with pytest.raises(EditError, match=r"^words: 'cat' is not in the prompt, which is empty"):
        find_words([tokenised("")], ["cat"], "words")


# --- as ComfyUI's text encoder has them ---


@pytest.fixture(scope="module")
def encoded():
    clip = load_demo()[1]
    return lambda text: encode(clip, text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a cat, sitting.", ["a", "cat", ",", "sitting", "."]),
        ("a (red car:1.2) in ((snow))", ["a", "red", "car", "in", "snow"]),
        ("hippogriff", ["hippogriff"]),
        ("", []),
    ],
)
def test_words_of_clip(encoded, text, words):
    prompt = encoded(text)
    assert [word.text for word in prompt.words] == words
    assert [token.kind for token in prompt.tokens].count("end") == 1
    assert len(prompt) == prompt.encoding[0][0].shape[1] == 77


def test_a_weight_changes_the_encoding_and_not_the_words(encoded):
    plain, weighted = encoded("a red car"), encoded("a (red:1.4) car")
    assert [token.id for token in plain.tokens] == [token.id for token in weighted.tokens]
    assert (plain.encoding[0][0] - weighted.encoding[0][0]).abs().max() > 1e-3


@pytest.mark.parametrize("word", ["hippogriff", "naïve", "雪", "🦊"])
def test_a_word_of_several_tokens_is_one_word(encoded, word):
    prompt = encoded(f"a {word} at night")
    [place] = prompt.find(word)
    assert place == tuple(range(2, 2 + len(place)))
    assert prompt.tokens[place[-1] + 1].text == "at"


def test_a_long_prompt_has_all_its_chunks(encoded):
    prompt = encoded("a cat and a dog " * 20)
    assert len(prompt) == 154 == prompt.encoding[0][0].shape[1]
    assert prompt.positions("start") == [0, 77]
    assert len(prompt.find("cat")) == 20
    assert prompt.find("cat#20")[0][0] > 77


# --- sentencepiece ---


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        ("▁cat s ▁on", "cats on"),
        ("▁cat , ▁dog", "cat , dog"),
        ("▁ t - shirt", "t - shirt"),
        ("▁don ' t", "don ' t"),
        ("▁ , ▁b", ", b"),
        ("▁( red ).", "( red )."),
    ],
)
def test_words_of_sentencepiece(spelled, expected):
    """A space begins a word; marks are words of their own, as with CLIP."""
    tokens = sentencepiece.spell([Piece(i, piece, 1) for i, piece in enumerate(spelled.split(" "))])
    assert " ".join(word.text for word in Stream(tuple(tokens), len(tokens)).words) == expected


def test_an_embedding_among_sentencepiece_s_is_a_word():
    pieces = [Piece(0, "▁a", 1), Piece("x", None, 2, "style"), Piece("y", None, 2), Piece(1, "▁b", 3)]
    tokens = sentencepiece.spell(pieces)
    assert [word.text for word in Stream(tuple(tokens), 4).words] == ["a", "style", "b"]


def test_hidden_positions_make_a_prompt_longer_and_nothing_else():
    prompt = Prompt("a cat", (Stream((Token(1, "text", "a", 0), Token(2, "text", "cat", 1), Token(0, "end")), 3),))
    hidden = (Token(0, "none"),) * 2
    longer = prompt.within(Around(after=hidden))
    assert (len(longer), longer.encoded, longer.positions("none")) == (5, 3, [3, 4])
    assert longer.find("cat") == prompt.find("cat") and longer.words == prompt.words
    moved = prompt.within(Around(before=hidden))
    assert (len(moved), moved.encoded, moved.positions("none"), moved.find("cat")) == (5, 3, [0, 1], [(3,)])
    assert prompt.within(Around()) is prompt
