"""What nearly all example workflows begin with."""

from __future__ import annotations

from tools.workflow_builder import Canvas, Placed

SAMPLING = {"seed": 1, "steps": 30, "cfg": 4.0, "sampler_name": "dpmpp_2m", "scheduler": "normal", "denoise": 1.0}
TRANSFORMER_SAMPLING = {"steps": 25, "cfg": 3.5, "sampler_name": "euler", "scheduler": "simple"}


class Demo:
    """What nearly all of them begin with: the demo model, an empty negative, an empty latent."""

    def __init__(self, canvas: Canvas, batch: int = 1, architecture: str = "unet"):
        self.canvas = canvas
        self.sampling = SAMPLING | (TRANSFORMER_SAMPLING if architecture == "transformer" else {})
        self.model = canvas.add("P2PDemoModel", 0, "the small model of this pack", architecture=architecture)
        size = {"width": 128, "height": 128, "batch_size": batch}
        self.latent = canvas.add("EmptyLatentImage", 0, **size)["LATENT"]
        self.negative = canvas.add("CLIPTextEncode", 0, "negative", clip=self.model["clip"], text="")["CONDITIONING"]

    def align(self, source: str, edited: str, column: int = 1, title: str = "the two prompts", **more) -> Placed:
        return self.canvas.add(
            "PromptPairAlign", column, title, clip=self.model["clip"], source_prompt=source, edit_prompt=edited, **more
        )

    @property
    def inputs(self) -> dict:
        return {"model": self.model["model"], "negative": self.negative, "latent_image": self.latent}

    def sample(self, edit: tuple, column: int, title: str = "source and edits", **changed) -> Placed:
        return self.canvas.add("P2PSampler", column, title, edit=edit, **{**self.inputs, **self.sampling, **changed})

    def decode(self, latent: tuple, column: int, title: str = "") -> tuple:
        return self.canvas.add("VAEDecode", column, title, samples=latent, vae=self.model["vae"])["IMAGE"]

    def compare(self, sampled: Placed, column: int, title: str = "", **more) -> Placed:
        """Decoded in `column`, compared in the next, and saved as one picture."""
        source = self.decode(sampled["source"], column, "decode the source")
        edited = self.decode(sampled["edited"], column, "decode the edits")
        compared = self.canvas.add("P2PCompare", column + 1, title, source=source, edited=edited, **more)
        self.save(compared["comparison"], column + 2)
        return compared

    def save(self, image: tuple, column: int, title: str = "", name: str = "") -> Placed:
        return self.canvas.add("SaveImage", column, title, images=image, filename_prefix=name or self.canvas.name)
