"""diffusers' pipelines: made from files, and with another scheduler or task around the same networks."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

try:
    import diffusers
except ImportError as error:
    raise ImportError("This needs diffusers and transformers: pip install diffusers transformers") from error

from ...errors import EditError

SAMPLERS = {  # ComfyUI's names
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lms": ("LMSDiscreteScheduler", {}),
    "ddim": ("DDIMScheduler", {"set_alpha_to_one": True, "clip_sample": False}),
    "uni_pc": ("UniPCMultistepScheduler", {}),
}
SCHEDULES = {  # ComfyUI's names
    "sgm_uniform": {"timestep_spacing": "linspace", "final_sigmas_type": "zero"},
    "karras": {"timestep_spacing": "linspace", "final_sigmas_type": "zero", "use_karras_sigmas": True},
}


def load(path: str | Path, dtype: torch.dtype | None = None):
    """A pipeline from a single-file checkpoint of SD 1.x, 2.x or SDXL, or from a folder that diffusers saved.

    Raises:
        EditError: there is no such file, or diffusers can't read it.
    """
    path = Path(path)
    options = {} if dtype is None else {"torch_dtype": dtype}
    if not path.exists():
        raise EditError("model", f"there is no file or folder {path}.")
    try:
        if path.is_dir():
            return diffusers.DiffusionPipeline.from_pretrained(path, local_files_only=True, **options)
        return _single_file_class(path).from_single_file(str(path), **options)
    except (OSError, ValueError, KeyError) as error:
        raise EditError(
            "model",
            f"diffusers can't read {path} ({error}). A single file also needs its configuration, which diffusers looks "
            "up on the model hub.",
            "Without a connection, use a folder made by save_pretrained.",
        ) from error


def _single_file_class(path: Path):
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), "pt") as file:
            if any(name.startswith("conditioner.embedders.1") for name in file.keys()):  # noqa: SIM118
                return diffusers.StableDiffusionXLPipeline
    return diffusers.StableDiffusionPipeline


def with_scheduler(pipe, name: str, from_image: bool = False, **settings):
    """A pipeline of the same networks, for text or for an image to start from; `pipe` stays as it is.

    Args:
        name: a scheduler's class; its training settings are those of the pipeline's own.
    """
    if not hasattr(diffusers, name):
        raise EditError("scheduler", f"diffusers has no '{name}'.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about settings that the model came with
        scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **settings)
    task = diffusers.AutoPipelineForImage2Image if from_image else diffusers.AutoPipelineForText2Image
    made = task.from_pipe(pipe, scheduler=scheduler)
    made.set_progress_bar_config(**getattr(pipe, "_progress_bar_config", {}))
    return made


def sampled_by(pipe, sampler_name: str, schedule: str, from_image: bool = False):
    """A pipeline of the same networks that samples as ComfyUI does under these names, for text or from an image."""
    for input_name, name, known in (("sampler_name", sampler_name, SAMPLERS), ("scheduler", schedule, SCHEDULES)):
        if name not in known:
            raise EditError(input_name, f"'{name}' is not one of: {', '.join(known)}.")
    scheduler, settings = SAMPLERS[sampler_name]
    return with_scheduler(pipe, scheduler, from_image, **SCHEDULES[schedule], **settings)


def demo(device="cpu", dtype: torch.dtype = torch.float32):
    """The model that ships with the pack."""
    from ...demo.pipeline import load_pipeline

    return load_pipeline(device, dtype)


def generator(seed: int) -> torch.Generator:
    """On the CPU: the same picture on every machine, and the same noise as in ComfyUI."""
    return torch.Generator().manual_seed(seed)
