"""The command "Edit this prompt" on a sampler: it draws the same picture again, and one undo takes it all away."""

from __future__ import annotations

import pytest
from PIL import ImageChops

PLAIN = {
    "demo": ("P2PDemoModel", {}, [0, 0]),
    "positive": ("CLIPTextEncode", {"text": "a cat sitting on a car"}, [400, 0]),
    "negative": ("CLIPTextEncode", {"text": "snow"}, [400, 260]),
    "latent": ("EmptyLatentImage", {"width": 128, "height": 128}, [400, 520]),
    "sampler": (
        "KSampler",
        {"seed": 5, "control_after_generate": "fixed", "steps": 3, "cfg": 4.0, "sampler_name": "dpmpp_2m"},
        [860, 0],
    ),
    "one": ("LatentFromBatch", {"batch_index": 0, "length": 1}, [1240, 340]),
    "decoded": ("VAEDecode", {}, [1240, 0]),
    "shown": ("PreviewImage", {}, [1240, 160]),
}
PLAIN_LINKS = [
    ("demo", "clip", "positive", "clip"),
    ("demo", "clip", "negative", "clip"),
    ("demo", "model", "sampler", "model"),
    ("positive", "CONDITIONING", "sampler", "positive"),
    ("negative", "CONDITIONING", "sampler", "negative"),
    ("latent", "LATENT", "sampler", "latent_image"),
    ("sampler", "LATENT", "one", "samples"),
    ("one", "LATENT", "decoded", "samples"),
    ("demo", "vae", "decoded", "vae"),
    ("decoded", "IMAGE", "shown", "images"),
]
SAMPLER = str(list(PLAIN).index("sampler") + 1)
LATENT = str(list(PLAIN).index("latent") + 1)
SHOWN = str(list(PLAIN).index("shown") + 1)
MENU = "(node) => window.app.canvas.getNodeMenuOptions(node).filter((item) => item?.content?.includes('(P2P)'))"
CHOOSE = f"async (node) => {{ const [item] = ({MENU})(node); await item.callback.call(node, item); }}"

BUTTON = ".selection-toolbox .pi-pencil"


def edit_this_prompt(canvas, node: str = SAMPLER) -> None:
    canvas.on(node, CHOOSE)
    canvas.page.wait_for_function("() => document.body.innerText.includes('Edit this prompt (P2P)')")
    canvas.frames(4)


def click(canvas, node: str) -> None:
    """On its title: it is selected then."""
    canvas.show(node)
    canvas.page.wait_for_timeout(500)  # or it is the second one of a double click
    canvas.page.mouse.click(220, 157)


def with_node(name: str, kind: str, values: dict, into: tuple[str, str], output: str, by: str) -> tuple[dict, list]:
    """The plain workflow with a node between two others."""
    nodes = {**PLAIN, name: (kind, values, [630, 0])}
    links = [link for link in PLAIN_LINKS if link[2:] != into]
    (old,) = (link for link in PLAIN_LINKS if link[2:] == into)
    return nodes, [*links, (old[0], old[1], name, by), (name, output, *into)]


def made(canvas, kind: str) -> list[str]:
    return [str(node["id"]) for node in canvas.saved()["nodes"] if node["type"] == kind]


def picture(canvas, node: str, key: str, number: int = 0):
    outputs = canvas.page.evaluate("() => window.app.nodeOutputs")
    found = outputs[node][key]
    while isinstance(found, list) and isinstance(found[0], list):
        (found,) = found
    files = found[0]["source"] if key == "p2p_compare" else found
    return canvas.server.image(files[number]).convert("RGB")


def drawn(canvas):
    """The sampler's picture, as it draws it beside another one.

    How many pictures a model is asked for at once changes their last digits, also in KSampler alone; the source is
    drawn beside its edit. So is a VAE's, and it decodes one. The latent's size is changed back afterwards.
    """
    if canvas.rendering == "nodes2":
        pytest.skip("what is built is looked at in both renderings, but drawn in one: the server is the same")
    canvas.set(LATENT, "batch_size", 2)
    canvas.run()
    canvas.set(LATENT, "batch_size", 1)
    return picture(canvas, SHOWN, "images")


def assert_same(theirs, source) -> None:
    assert ImageChops.difference(theirs, source).getbbox() is None


def test_it_is_offered_on_samplers_alone(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    assert [item["content"] for item in canvas.on(SAMPLER, MENU)] == ["Edit this prompt (P2P)"]
    assert canvas.on("2", MENU) == []
    click(canvas, SAMPLER)
    canvas.page.locator(BUTTON).wait_for()
    click(canvas, "2")
    canvas.page.locator(BUTTON).wait_for(state="detached")


def test_the_button_in_the_toolbox_builds_it(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    click(canvas, SAMPLER)
    canvas.page.locator(BUTTON).click()
    canvas.page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'P2PSampler')")


def test_a_right_click_offers_it(canvas):
    if (canvas.front_end, canvas.rendering) == ("stock", "nodes2"):
        pytest.skip("the menu of Nodes 2.0 in that front end has nothing of extensions; the toolbox has it")
    canvas.build(PLAIN, PLAIN_LINKS)
    click(canvas, SAMPLER)
    canvas.page.mouse.click(220, 157, button="right")
    canvas.page.get_by_text("Edit this prompt (P2P)", exact=True).first.click()
    canvas.page.wait_for_function("() => window.app.graph.nodes.some((node) => node.type === 'P2PSampler')")


def test_one_undo_takes_all_of_it_away(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    before = canvas.prompt()
    edit_this_prompt(canvas)
    assert len(canvas.saved()["nodes"]) == len(PLAIN) + 5
    after = canvas.prompt()
    assert {id: after[id] for id in before} == before  # nothing that was there is touched
    canvas.undo()
    assert canvas.prompt() == before
    assert len(canvas.saved()["nodes"]) == len(PLAIN)


def test_the_source_is_the_sampler_s_picture_in_every_pixel(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    theirs = drawn(canvas)
    edit_this_prompt(canvas)
    (align,), (sampled,), (compare,) = (made(canvas, kind) for kind in ("PromptPairAlign", "P2PSampler", "P2PCompare"))
    assert canvas.value(align, "source_prompt") == canvas.value(align, "edit_prompt") == "a cat sitting on a car"
    settings = ("seed", "steps", "cfg", "sampler_name", "scheduler", "denoise")
    assert [canvas.value(sampled, name) for name in settings] == [canvas.value(SAMPLER, name) for name in settings]
    canvas.set(align, "edit_prompt", "a dog sitting on a car")
    canvas.run()
    assert_same(theirs, picture(canvas, compare, "p2p_compare"))


def test_no_new_node_lies_over_another(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    edit_this_prompt(canvas)
    boxes = [(*node["pos"], *node["size"]) for node in canvas.saved()["nodes"]]
    for i, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[:i]:
            beside = x >= other_x + other_width or other_x >= x + width
            assert beside or y >= other_y + other_height or other_y >= y + height


def test_the_seed_is_that_of_the_picture_that_was_drawn(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    canvas.set(SAMPLER, "control_after_generate", "increment")
    canvas.run()
    assert canvas.value(SAMPLER, "seed") == 6
    edit_this_prompt(canvas)
    (sampled,) = made(canvas, "P2PSampler")
    assert canvas.value(sampled, "seed") == 5
    assert canvas.value(sampled, "control_after_generate") == "fixed"


def test_both_renderings_build_the_same(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    edit_this_prompt(canvas)
    (align,), (sampled,), (compare,) = (made(canvas, kind) for kind in ("PromptPairAlign", "P2PSampler", "P2PCompare"))
    queued = canvas.prompt()
    assert queued[align]["inputs"]["clip"] == ["1", 1]
    assert queued[sampled]["inputs"]["negative"] == ["3", 0]
    assert queued[sampled]["inputs"]["latent_image"] == [LATENT, 0]
    assert queued[sampled]["inputs"]["edit"] == queued[compare]["inputs"]["edit"] == [align, 0]


@pytest.mark.parametrize("connected", ["FluxGuidance", "Reroute", "text"])
def test_the_prompt_is_found_upstream(canvas, connected):
    nodes, links = {
        "FluxGuidance": lambda: with_node(
            "between", "FluxGuidance", {"guidance": 3.0}, ("sampler", "positive"), "CONDITIONING", "conditioning"
        ),
        "Reroute": lambda: with_node("between", "Reroute", {}, ("sampler", "positive"), "", ""),
        "text": lambda: (
            {**PLAIN, "text": ("PrimitiveStringMultiline", {"value": "a fox on a box"}, [0, 400])},
            [*PLAIN_LINKS, ("text", "STRING", "positive", "text")],
        ),
    }[connected]()
    canvas.build(nodes, links)
    theirs = drawn(canvas)
    edit_this_prompt(canvas)
    (align,), (compare,) = made(canvas, "PromptPairAlign"), made(canvas, "P2PCompare")
    text = "a fox on a box" if connected == "text" else "a cat sitting on a car"
    assert canvas.value(align, "edit_prompt") == text
    queued = canvas.prompt()
    (sampled,) = made(canvas, "P2PSampler")
    copies = made(canvas, "FluxGuidance")[1:]
    assert [queued[sampled]["inputs"].get(name) for name in ("source", "edited")] == (
        [[copy, 0] for copy in copies] if copies else [None, None]
    )
    assert len(copies) == 2 * (connected == "FluxGuidance")
    canvas.run()
    assert_same(theirs, picture(canvas, compare, "p2p_compare"))


def test_a_prompt_inside_of_a_subgraph_is_found(canvas):
    canvas.build(PLAIN, PLAIN_LINKS)
    canvas.on("2", "(node) => { node.graph.convertToSubgraph(new Set([node])); }")
    canvas.frames(4)
    edit_this_prompt(canvas)
    (align,) = made(canvas, "PromptPairAlign")
    assert canvas.value(align, "source_prompt") == "a cat sitting on a car"
    assert canvas.prompt()[align]["inputs"]["clip"] == ["1", 1]


ADVANCED = {
    "noise_seed": 5,
    "control_after_generate": "fixed",
    "steps": 3,
    "cfg": 4.0,
    "sampler_name": "dpmpp_2m",
    "scheduler": "normal",
}


def test_ksampler_advanced_that_makes_all_steps(canvas):
    canvas.build({**PLAIN, "sampler": ("KSamplerAdvanced", ADVANCED, [860, 0])}, PLAIN_LINKS)
    theirs = drawn(canvas)
    edit_this_prompt(canvas)
    (compare,) = made(canvas, "P2PCompare")
    canvas.run()
    assert_same(theirs, picture(canvas, compare, "p2p_compare"))


def test_sampler_custom_advanced(canvas):
    nodes = {
        **PLAIN,
        "sampler": ("SamplerCustomAdvanced", {}, [860, 0]),
        "noise": ("RandomNoise", {"noise_seed": 5, "control_after_generate": "fixed"}, [860, 200]),
        "guider": ("CFGGuider", {"cfg": 4.0}, [860, 400]),
        "how": ("KSamplerSelect", {"sampler_name": "euler"}, [860, 600]),
        "sigmas": ("BasicScheduler", {"steps": 3}, [860, 800]),
    }
    links = [
        *[link for link in PLAIN_LINKS if link[2] not in ("sampler", "decoded") and link[0] != "sampler"],
        ("latent", "LATENT", "sampler", "latent_image"),
        ("sampler", "output", "decoded", "samples"),  # both at once, as the guider's source and edit are
        ("demo", "vae", "decoded", "vae"),
        ("noise", "NOISE", "sampler", "noise"),
        ("guider", "GUIDER", "sampler", "guider"),
        ("how", "SAMPLER", "sampler", "sampler"),
        ("sigmas", "SIGMAS", "sampler", "sigmas"),
        ("demo", "model", "guider", "model"),
        ("demo", "model", "sigmas", "model"),
        ("positive", "CONDITIONING", "guider", "positive"),
        ("negative", "CONDITIONING", "guider", "negative"),
    ]
    canvas.build(nodes, links)
    theirs = drawn(canvas)
    edit_this_prompt(canvas)
    both = made(canvas, "PreviewImage")[-1]
    canvas.run()
    assert_same(theirs, picture(canvas, both, "images"))


@pytest.mark.parametrize(
    ("kind", "values", "said"),
    [
        ("KSampler", {}, "makes one prompt of several"),
        ("KSamplerAdvanced", {"end_at_step": 2}, "a part of the steps"),
    ],
)
def test_what_it_cannot_do_it_says_and_leaves_nothing_behind(canvas, kind, values, said):
    nodes, links = {**PLAIN, "sampler": (kind, values, [860, 0])}, PLAIN_LINKS
    if kind == "KSampler":
        _, links = with_node(
            "both", "ConditioningCombine", {}, ("sampler", "positive"), "CONDITIONING", "conditioning_1"
        )
        links = [*links, ("negative", "CONDITIONING", "both", "conditioning_2")]
        nodes = {**nodes, "both": ("ConditioningCombine", {}, [630, 0])}
    canvas.build(nodes, links)
    before = canvas.saved()["nodes"]
    canvas.on(SAMPLER, CHOOSE)
    canvas.page.get_by_text(said).first.wait_for()
    assert [node["id"] for node in canvas.saved()["nodes"]] == [node["id"] for node in before]
