"""ComfyUI's CONDITIONING, `[[embeddings [rows, tokens, width], options], ...]`, with a row per prompt."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from comfy.hooks import Hook, HookGroup, HookKeyframe, HookKeyframeGroup
from comfy.weight_adapter import WeightAdapterBase

from ...edit import Edit
from ...errors import EditError
from ...tokens import Prompt

Conditioning = list[list[Any]]
NAMES = {
    "control": "their ControlNet",
    "conditioning_llama3": "how many of Llama's tokens they have",
    "hooks": "their hooks, such as a scheduled LoRA or an attention couple in the prompt",
}
MADE_ANEW = (HookGroup, Hook, HookKeyframeGroup, HookKeyframe, WeightAdapterBase)
"""What nodes make anew each time, and the host compares by identity."""
PACKED = "prompt_to_prompt_tokens"
BY_ROW = {"pooled_output", "conditioning_llama3", PACKED}
"""Options with a row for each prompt."""
LABELS = {"prompt"}
"""Options that only say what was encoded, for people to read: prompt-control notes the prompt."""


def tile(prompts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """[rows, tokens, width] of each, repeated to the least common length, as the host does between chunks for UNets."""
    length = math.lcm(*(embeddings.shape[1] for embeddings in prompts))
    return [embeddings.repeat(1, length // embeddings.shape[1], 1) for embeddings in prompts]


def pad(prompts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """[rows, tokens, width] of each, with zeros up to the longest's length."""
    length = max(embeddings.shape[1] for embeddings in prompts)
    return [torch.nn.functional.pad(embeddings, (0, 0, 0, length - embeddings.shape[1])) for embeddings in prompts]


def stack(
    conditionings: Sequence[Conditioning],
    join: Callable = torch.cat,
    lengthen: Callable[[Sequence[torch.Tensor]], list[torch.Tensor]] = tile,
) -> Conditioning:
    """Several conditionings as one with a row for each of theirs, entry by entry.

    Args:
        join: how the rows are put together, from a list of [rows, ...]; also for pooled outputs.
        lengthen: makes prompts equally long.

    Raises:
        EditError: they differ in the number of entries, or in anything but text.
    """
    counts = {len(conditioning) for conditioning in conditionings}
    if len(counts) > 1:
        raise EditError(
            "source and edited",
            f"they have different numbers of conditioning entries ({_listed(counts)}).",
            "Where one goes through Combine, an area or a schedule, send the other through the same nodes.",
        )
    return [_stack_entries(entries, join, lengthen) for entries in zip(*conditionings)]


def _listed(numbers: set[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _stack_entries(entries: Sequence[list[Any]], join: Callable, lengthen: Callable) -> list[Any]:
    embeddings = [entry[0] for entry in entries]
    widths = {tensor.shape[-1] for tensor in embeddings}
    if len(widths) > 1:
        raise EditError(
            "source and edited",
            f"they come from different text encoders (widths {_listed(widths)}).",
            "Encode both with the CLIP that is connected to PromptPairAlign.",
        )
    joined = join(lengthen(embeddings))
    options = _unmasked([entry[1] for entry in entries], joined.shape[1])
    return [joined, {key: _stack_option(key, options, join) for key in dict.fromkeys(k for o in options for k in o)}]


def _unmasked(options: list[dict[str, Any]], length: int) -> list[dict[str, Any]]:
    """With one mask for prompts of different lengths, made equally long, where theirs hide nothing.

    The run hides what makes them so. Some models count the prompt's tokens by its mask.
    """
    masks = [one.get("attention_mask") for one in options]
    if all(same(masks[0], mask) for mask in masks) or not all(mask is None or mask.all() for mask in masks):
        return options
    ones = next(mask for mask in masks if mask is not None).new_ones(1, length)
    return [{**one, "attention_mask": ones} for one in options]


def _stack_option(key: str, options: Sequence[dict[str, Any]], join: Callable) -> Any:
    values = [option.get(key) for option in options]
    tensors = all(isinstance(value, torch.Tensor) for value in values)
    by_row = key in BY_ROW or (key == "attention_mask" and not all(map(same, values, values[1:])))
    if tensors and key == PACKED:
        return join(pad(values))
    if tensors and by_row and len({value.shape[1:] for value in values}) == 1:
        return join(values)
    if key not in LABELS and not all(same(values[0], value) for value in values[1:]):
        what = NAMES.get(key, f"'{key}'")
        raise EditError(
            "source and edited",
            f"they differ in {what}, but an edit is sampled together with its source.",
            "Apply the same nodes with the same settings to both.",
        )
    return values[0]


def same(a: Any, b: Any) -> bool:
    """Whether two conditioning options mean the same. Copies of one ControlNet with one hint are one."""
    if a is b:
        return True
    if isinstance(a, torch.Tensor) or isinstance(b, torch.Tensor):
        return type(a) is type(b) and a.shape == b.shape and torch.equal(a, b)
    if hasattr(a, "cond_hint_original") and type(a) is type(b):
        names = (
            "control_model",
            "t2i_model",
            "cond_hint_original",
            "strength",
            "strength_type",
            "timestep_percent_range",
        )
        return all(same(getattr(a, n, None), getattr(b, n, None)) for n in (*names, "previous_controlnet"))
    if isinstance(a, (list, tuple)) and type(a) is type(b):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, MADE_ANEW) and type(a) is type(b):
        return same(_content(a), _content(b))
    try:
        return bool(a == b)
    except (RuntimeError, ValueError):
        return False


def misfit(made: int, what: str, taken: int | None) -> str | None:
    """The sentence where a model expects another number than a text encoder makes; None takes any."""
    return None if taken in (None, made) else f"it has {what} of width {made}, but the model expects {taken}."


def _content(a: Any) -> dict[str, Any]:
    """What makes a hook what it is: not the name under which the host knows this very one."""
    return {name: value for name, value in vars(a).items() if name != "hook_ref"}


def is_own(edit: Edit, source: torch.Tensor, edited: torch.Tensor) -> bool:
    """Whether an entry is the edit's own prompts, and not one that source and edits have in common.

    Args:
        source: [1, tokens, width]; edited: [edits, tokens, width].
    """
    if any(not torch.equal(source[0], row) for row in edited):
        return True
    return any(_is(source[0], own[0][0]) for own in edit.source.encoding)


def check_texts(edit: Edit, source: Conditioning, edited: Conditioning) -> str | None:
    """What to say where `source` or `edited` looks like another text than the edit's: a sentence, or None.

    Conditioning that nodes have changed can't be told from that of another text, unless the other side is the edit's
    own to the bit.

    Raises:
        EditError: both are one text, where the edit's prompts differ.
    """
    own_source, own_edits = edit.source.encoding, [variant.prompt.encoding for variant in edit.variants]
    differ = any(not _equal(own_source, own) for own in own_edits)
    alike = all(torch.equal(of_source.expand_as(of_edits), of_edits) for of_source, of_edits in _texts(source, edited))
    if differ and alike:
        raise EditError(
            "source and edited",
            "they are one text, but the edit's prompts differ: nothing would be edited. A node that fills every free "
            "input does that.",
            "Disconnect both, or take both from PromptPairAlign.",
        )
    strangers = [] if _holds(source, own_source, 0) else ["source"]
    if not all(_holds(edited, own, row) for row, own in enumerate(own_edits)):
        strangers.append("edited")
    if not strangers or (len(strangers) == 2 and not alike):
        return None
    which, beside = " and ".join(strangers), ", while the other input is" if len(strangers) < 2 else ""
    return (
        f"{which}: not what the edit's prompts are encoded to{beside}. "
        "Words were taken to be where the edit's prompts have them. If a node that fills every free input made this "
        f"connection, disconnect {which}; else send source and edited through the same nodes."
    )


def check_source(edit: Edit, source: Conditioning) -> None:
    """Raise EditError where a recorded source is not the encoding of the edit's source prompt."""
    if not _holds(source, edit.source.encoding, 0):
        raise EditError(
            "recording",
            f"its source is another text than the edit's source prompt, '{edit.source.text}'.",
            "Record the source with that text, or write the recorded one as source prompt. Where nodes change what is "
            "recorded, send the edited conditioning through the same ones and connect it to edited.",
        )


def _texts(source: Conditioning, edited: Conditioning) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The embeddings of each pair of entries, where they can be compared."""
    pairs = [(of_source, of_edits) for (of_source, _), (of_edits, _) in zip(source, edited)]
    return [(a, b) if a.shape[1:] == b.shape[1:] else (a[:, :1, :1], a[:, :1, :1] + 1) for a, b in pairs]


def _equal(a: Conditioning, b: Conditioning) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for (x, _), (y, _) in zip(a, b))


def _holds(conditioning: Conditioning, own: Conditioning, row: int) -> bool:
    """Whether a row of any entry is a prompt's own encoding, tiled or not."""
    return any(_is(embeddings[row], text[0]) for embeddings, _ in conditioning for text, _ in own)


def _is(embeddings: torch.Tensor, text: torch.Tensor) -> bool:
    """Whether [tokens, width] are a prompt's encoding [n, width]: as it came, tiled, or with zeros around it."""
    text, repeats = text.to(embeddings), embeddings.shape[0] // max(text.shape[0], 1)
    if torch.equal(embeddings, text.repeat(repeats, 1)):
        return True
    (a, b), (start, stop) = written(embeddings), written(text)
    return torch.equal(embeddings[a:b], text[start:stop])


def written(prompt: torch.Tensor) -> tuple[int, int]:
    """Where an encoding [tokens, width] begins and ends within zeros."""
    places = prompt.any(-1).nonzero()[:, 0]
    return (int(places[0]), int(places[-1]) + 1) if len(places) else (0, len(prompt))


def check(edit: Edit, source: Conditioning, edited: Conditioning, negative: Conditioning, architecture) -> None:
    """Raise EditError where conditioning doesn't fit the edit, or a model of this architecture."""
    edits = len(edit.variants)
    for name, conditioning, rows in (("source", source, 1), ("edited", edited, edits)):
        for embeddings, _ in conditioning:
            if len(embeddings) != rows:
                raise EditError(
                    name,
                    f"it has {_counted(len(embeddings), 'row')}, but the edit has {_counted(edits, 'edited prompt')}.",
                    f"Take {name} from the last PromptPairAlign of the chain.",
                )
    together = architecture.stack([source, edited] if edits else [source])
    for name, conditioning in (("edit", together), ("negative", negative)):
        for embeddings, options in conditioning:
            if misfit := architecture.misfit(embeddings, options):
                raise EditError(name, misfit, "Use the CLIP that belongs to the model.")
    for (of_source, of_source_more), (of_edits, of_edits_more) in zip(source, edited):
        if of_source.shape == of_edits[:1].shape and not is_own(edit, of_source, of_edits):
            continue
        _check_length("source", of_source, of_source_more, edit.source, architecture)
        for row, variant in enumerate(edit.variants):
            own = {key: _row(value, row, edits) for key, value in of_edits_more.items()}
            _check_length("edited", of_edits[row : row + 1], own, variant.prompt, architecture)


def _row(value: Any, row: int, rows: int) -> Any:
    return value[row : row + 1] if isinstance(value, torch.Tensor) and len(value) == rows else value


def _check_length(name: str, embeddings: torch.Tensor, options: dict, prompt: Prompt, architecture) -> None:
    tokens, length = embeddings.shape[1], prompt.encoded
    if not architecture.fits(embeddings, options, length):
        raise EditError(
            name,
            f"it has {tokens} tokens, but its prompt in the edit has {length}. Either another text encoder made it, or "
            "it was lengthened on the way, for example by ConditioningConcat.",
            "Join the texts in PromptPairAlign instead.",
        )
