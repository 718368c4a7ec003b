"""The command and the notebook-style example, run as a user does; the workflow in a picture, read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy
import pytest
import torch
from bootstrap import CHECKOUT
from PIL import Image
from prompt_to_prompt.p2p_core.command import run as command
from prompt_to_prompt.p2p_core.command import workflow
from prompt_to_prompt.p2p_core.command.arguments import as_nodes, parser
from prompt_to_prompt.p2p_core.command.photograph import laid_in, opened, size_for
from prompt_to_prompt.p2p_core.command.workflow import as_prompt, edit_workflow
from prompt_to_prompt.p2p_core.hosts.diffusers.loading import demo
from prompt_to_prompt.p2p_core.hosts.diffusers.real_picture import encoded

from support.small_pipelines import small_pipeline

SOURCE, EDIT = "a cat sitting on a car", "a dog sitting on a red car"


def run(folder, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)  # noqa: S603


def test_the_command_makes_a_picture_that_carries_its_workflow(tmp_path):
    options = [
        "--reweight",
        "red",
        "1.5",
        "--source_words",
        "cat",
        "--edit_words",
        "dog",
        "--steps",
        "2",
        "--seed",
        "8",
    ]
    files = ["-o", "edit.png", "--source", "source.png", "--maps", "maps.png", "--report"]
    done = run(tmp_path, "-m", "p2p_core", SOURCE, EDIT, *options, *files)
    assert done.returncode == 0, done.stderr
    assert "seed 8" in done.stdout
    assert "10 self-attention and 10 cross-attention layers" in done.stdout
    picture = Image.open(tmp_path / "edit.png")
    assert picture.size == (128, 128)
    assert picture.tobytes() != Image.open(tmp_path / "source.png").tobytes()
    assert Image.open(tmp_path / "maps.png").width > 128
    prompt = {node["class_type"]: node["inputs"] for node in json.loads(picture.info["prompt"]).values()}
    assert prompt["PromptPairAlign"]["edit_prompt"] == EDIT
    assert prompt["AttentionReweight"]["scale"] == 1.5
    assert (prompt["P2PSampler"]["seed"], prompt["P2PSampler"]["steps"]) == (8, 2)
    assert json.loads(picture.info["workflow"])["nodes"]


def photograph(width: int = 200, height: int = 120) -> Image.Image:
    colours = torch.stack([torch.linspace(0, 255, width).expand(height, -1)] * 3, -1)
    colours[..., 1] = torch.linspace(255, 0, height)[:, None]
    return Image.fromarray(colours.byte().numpy())


@pytest.mark.parametrize("denoise", ["1", "0.6"])
def test_a_picture_is_edited_and_keeps_its_size(tmp_path, denoise):
    photograph().save(tmp_path / "photo.png")
    how = ["--image", str(tmp_path / "photo.png"), "--steps", "3", "--denoise", denoise, "--source_cfg", "2"]
    where = ["-o", str(tmp_path / "edit.png"), "--source", str(tmp_path / "source.png")]
    assert command.main([SOURCE, EDIT, *how, *where, "--maps", str(tmp_path / "maps.png")]) == 0
    edited = Image.open(tmp_path / "edit.png")
    assert edited.size == (200, 120)
    assert Image.open(tmp_path / "source.png").tobytes() == photograph().tobytes() != edited.tobytes()


def test_the_same_words_give_the_picture_back_as_the_vae_has_it(tmp_path):
    photograph(128, 128).save(tmp_path / "photo.png")
    how = ["--image", str(tmp_path / "photo.png"), "--steps", "3", "-o", str(tmp_path / "edit.png"), "--cfg", "1.5"]
    assert command.main([SOURCE, SOURCE, *how]) == 0
    pipe = demo()
    latents = encoded(pipe, photograph(128, 128)) / pipe.vae.config.scaling_factor
    expected = pipe.image_processor.postprocess(pipe.vae.decode(latents).sample.detach(), "np")[0]
    back = numpy.asarray(Image.open(tmp_path / "edit.png"), float) / 255
    assert numpy.abs(back - expected).max() < 0.02


def test_outside_of_the_edit_every_pixel_is_the_photographs():
    mask = torch.zeros(8, 16)
    mask[2:6, 10:14] = 1
    whole, edited = photograph(400, 200), Image.new("RGB", (128, 64), "red")
    made = laid_in(whole, edited, mask)
    assert made.size == whole.size
    assert made.crop((0, 0, 180, 200)).tobytes() == whole.crop((0, 0, 180, 200)).tobytes()
    assert made.getpixel((300, 100)) == (255, 0, 0)
    assert laid_in(whole, edited, torch.ones(8, 16)).getextrema() == ((255, 255), (0, 0), (0, 0))


def test_a_picture_is_resized_in_its_proportions():
    assert size_for(photograph(3000, 2000), 512) == (640, 448)
    assert size_for(photograph(500, 500), 128) == (128, 128)


def test_a_picture_is_upright_and_on_white(tmp_path):
    sideways = Image.new("RGB", (20, 10), "red")
    exif = sideways.getexif()
    exif[0x0112] = 6  # the camera was turned
    sideways.save(tmp_path / "sideways.png", exif=exif)
    assert opened(tmp_path / "sideways.png").size == (10, 20)
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert opened(tmp_path / "clear.png").getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([SOURCE, EDIT, "--image", "nowhere.jpg"], "image: there is no file nowhere.jpg"),
        ([SOURCE, EDIT, "--image", __file__], "can't be read as a picture"),
        ([SOURCE, EDIT, "--denoise", "0.5"], "only with --image"),
        ([], "source_prompt"),
        ([SOURCE, EDIT, "--reweight", "bird", "2"], "bird"),
        ([SOURCE, EDIT, "--reweight", "2", "dog"], "reweight"),
        ([SOURCE, EDIT, "--cross_end", "2"], "cross_end"),
        ([SOURCE, EDIT, "--sampler_name", "magic"], "sampler_name"),
        ([SOURCE, EDIT, "--scheduler", "magic"], "scheduler"),
        ([SOURCE, EDIT, "--model", "nowhere.safetensors"], "nowhere"),
    ],
)
def test_mistakes_are_told_in_a_sentence(arguments, message, capsys):
    assert command.main(arguments) == 1
    said = capsys.readouterr().err
    assert said.startswith("prompt-to-prompt: ") or "\nprompt-to-prompt: " in said
    assert message in said


def test_words_that_the_demo_does_not_know_are_told(capsys):
    command.main(["a zebra on a car", EDIT, "--cross_end", "2"])
    assert "does not know zebra. Its words: a, an," in capsys.readouterr().err


def test_an_edit_that_edits_nothing_says_so(tmp_path, caplog):
    never = ["--cross_end", "0", "--self_end", "0", "--steps", "1", "-o", str(tmp_path / "edit.png")]
    assert command.main([SOURCE, EDIT, *never]) == 0
    assert "Nothing was edited: the only step does not lie in a window" in caplog.text


def test_without_diffusers_there_is_a_sentence(monkeypatch, capsys):
    for name in [
        name for name in sys.modules if name.startswith(("diffusers", "prompt_to_prompt.p2p_core.hosts.diff"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert command.main([SOURCE, EDIT]) == 1
    assert "pip install diffusers transformers" in capsys.readouterr().err


def test_every_link_of_a_workflow_with_more_nodes_holds():
    blend = {"source_words": "cat", "edit_words": "dog", "threshold": 0.3, "start": 0.2, "subtract_words": ""}
    weight = {"words": "dog", "scale": 2.0, "start": 0.0, "end": 1.0}
    made = edit_workflow({}, [("AttentionReweight", weight), ("AttentionLocalBlend", blend)])
    nodes = {node["id"]: node for node in made["nodes"]}
    assert len(nodes) == len(made["nodes"])
    for link, origin, slot, target, place, kind in made["links"]:
        assert link in nodes[origin]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][place]["link"] == link
        assert nodes[origin]["outputs"][slot]["type"] == kind
    prompt = as_prompt(made)
    passed, at = [], next(node["inputs"]["edit"][0] for node in prompt.values() if node["class_type"] == "P2PSampler")
    while at:
        passed.append(prompt[at]["class_type"])
        at = prompt[at]["inputs"].get("edit", [None])[0]
    assert passed == ["AttentionInjectSchedule", "AttentionLocalBlend", "AttentionReweight", "PromptPairAlign"]


def test_every_setting_of_an_edit_gets_into_its_workflow():
    options = ["--source_words", "cat", "--reweight", "dog", "2", "--blocks", "middle", "--word_windows", "dog: 0-0.3"]
    values, inserted = as_nodes(parser().parse_args([SOURCE, EDIT, *options]))
    contract = json.loads((CHECKOUT / "tests/host/node_contract.json").read_text(encoding="utf-8"))
    for node, given in [("AttentionInjectSchedule", values["AttentionInjectSchedule"]), *inserted]:
        assert set(given) == set(contract[node]["inputs"]) - {"edit", "mask"}
    assert values["AttentionInjectSchedule"]["blocks"] == "middle"


def test_the_template_is_what_the_api_form_says():
    api = json.loads((workflow.TEMPLATE.parent / "api" / workflow.TEMPLATE.name).read_text())
    mine = as_prompt(edit_workflow({}))
    assert {k: (n["class_type"], n["inputs"]) for k, n in mine.items()} == {
        k: (n["class_type"], n["inputs"]) for k, n in api.items()
    }


def test_a_model_of_the_users_own_is_loaded_by_its_name(tmp_path):
    single = edit_workflow({}, model=tmp_path / "sd.safetensors")
    folder = edit_workflow({}, model=tmp_path)
    loaders = [next(node for node in made["nodes"] if node["id"] == 1) for made in (single, folder)]
    assert [(node["type"], node["widgets_values"]) for node in loaders] == [
        ("CheckpointLoaderSimple", ["sd.safetensors"]),
        ("DiffusersLoader", [tmp_path.name]),
    ]
    assert [output["name"] for output in loaders[0]["outputs"]] == ["MODEL", "CLIP", "VAE"]


def test_a_folder_that_diffusers_saved_is_a_model(tmp_path):
    small_pipeline("text").save_pretrained(tmp_path / "model")
    files = ["--model", str(tmp_path / "model"), "-o", str(tmp_path / "edit.png")]
    assert command.main([SOURCE, EDIT, "--steps", "2", "--width", "64", "--height", "64", *files]) == 0
    info = Image.open(tmp_path / "edit.png").info
    assert any(node["class_type"] == "DiffusersLoader" for node in json.loads(info["prompt"]).values())


def test_without_the_examples_there_is_no_workflow(monkeypatch, tmp_path):
    monkeypatch.setattr(workflow, "TEMPLATE", tmp_path / "none.json")
    assert edit_workflow({}) is None


def test_the_notebook_runs_from_end_to_end(tmp_path):
    done = run(tmp_path, str(CHECKOUT / "tests/examples/cross_attention_control.py"), "4")
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "cross_attention_control.png").size == (640, 128)


class TestRecorded:
    """--record and --from."""

    @pytest.fixture(scope="class")
    def folder(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("recorded")
        options = ["--record", "cat.safetensors", "-o", "cat.png", "--seed", "8", "--steps", "6", "--negative", "red"]
        done = run(folder, "-m", "p2p_core", SOURCE, *options, "--self_layers", "half")
        assert done.returncode == 0, done.stderr
        return folder

    def test_the_edit_is_the_one_that_is_sampled_beside_its_source(self, folder):
        words = ["--source_words", "cat", "--edit_words", "dog", "--reweight", "red", "1.5"]
        done = run(folder, "-m", "p2p_core", SOURCE, EDIT, *words, "--from", "cat.safetensors", "-o", "dog.png")
        assert done.returncode == 0, done.stderr
        assert "seed 8" in done.stdout
        sampling = ["--seed", "8", "--steps", "6", "--negative", "red"]
        done = run(folder, "-m", "p2p_core", SOURCE, EDIT, *words, *sampling, "--source", "s.png", "-o", "e.png")
        assert done.returncode == 0, done.stderr
        assert _off(folder / "s.png", folder / "cat.png") <= 1
        assert _off(folder / "e.png", folder / "dog.png") <= 1
        assert _off(folder / "dog.png", folder / "cat.png") > 30
        mine, theirs = (json.loads(Image.open(folder / name).info["prompt"]) for name in ("dog.png", "e.png"))
        assert mine == theirs

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (
                [SOURCE, EDIT, "--from", "cat.safetensors", "--seed", "9"],
                "seed: the source was recorded with 8, not with 9",
            ),
            ([SOURCE, EDIT, "--from", "cat.safetensors", "--width", "192"], "width: the source was recorded with"),
            (
                ["a fox", EDIT, "--from", "cat.safetensors"],
                "source_prompt: the source was recorded with 'a cat sitting",
            ),
            ([SOURCE, EDIT, "--from", "cat.safetensors", "--maps", "m.png"], "maps: --from makes the edit alone"),
            ([SOURCE, EDIT, "--from", "cat.safetensors", "--trajectory", "shared"], "trajectory: 'shared' asks for"),
            ([SOURCE, EDIT, "--from", "cat.png"], "cat.png is cut off, or no safetensors file"),
            ([SOURCE, EDIT, "--from", "none"], "there is no file none"),
            ([SOURCE, EDIT, "--record", "other"], "edit_prompt: --record samples the source alone"),
            ([SOURCE, "--record", "other", "--image", "cat.png"], "image: it can't be combined with --record"),
            ([SOURCE, "--record", "nowhere/other"], "can't be written"),
        ],
    )
    def test_what_differs_from_the_recording_is_said(self, folder, monkeypatch, capsys, arguments, said):
        monkeypatch.chdir(folder)
        assert command.main([*arguments, "-o", "refused.png"]) == 1
        assert said in capsys.readouterr().err
        assert not (folder / "refused.png").exists()


def _off(one, other) -> float:
    """The greatest difference of two pictures, in 255ths."""
    pixels = [numpy.asarray(Image.open(path).convert("RGB"), float) for path in (one, other)]
    return float(numpy.abs(pixels[0] - pixels[1]).max())
