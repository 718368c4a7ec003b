"""CrossAttentionControl's notebook, with this pack and the small model that comes with it.

Run it from the pack's folder:  python tests/examples/cross_attention_control.py
"""

# %% The pack's folder is not an installed package: it is found beside this one.
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

from p2p_core.demo.pipeline import load_pipeline
from p2p_core.edit_image import edit_image

# %% Any StableDiffusionPipeline or StableDiffusionXLPipeline will do. With a real one: width and height 512, 50 steps.
pipe = load_pipeline()
settings = {"seed": 8, "width": 128, "height": 128, "guidance_scale": 4.0, "steps": int((sys.argv[1:] or [30])[0])}
pictures = {}

# %% The picture of a prompt
pictures["source"] = edit_image(pipe, "a cat sitting on a car", **settings)

# %% Another word, same layout. Attention is the source prompt's all along.
pictures["swap"] = edit_image(pipe, "a cat sitting on a car", "a dog sitting on a car", **settings)

# %% More freedom of shape: self-attention is taken for the first steps alone, while t / 1000 is above 0.7.
pictures["freer"] = edit_image(
    pipe, "a cat sitting on a car", "a dog sitting on a car", prompt_edit_spatial_start=0.7, **settings
)

# %% A word more, and more of that word: token 6, "blue", the start token being 0
pictures["weight"] = edit_image(
    pipe,
    "a cat sitting on a car",
    "a cat sitting on a blue car",
    prompt_edit_token_weights=[(6, 2.0)],
    prompt_edit_spatial_start=0.7,
    **settings,
)

# %% From a picture
pictures["from a picture"] = edit_image(
    pipe,
    "a cat sitting on a car",
    "a fox sitting on a car",
    init_image=pictures["source"],
    init_image_strength=0.8,
    **settings,
)

# %% Side by side
from PIL import Image  # noqa: E402

sheet = Image.new("RGB", (128 * len(pictures), 128))
for place, picture in enumerate(pictures.values()):
    sheet.paste(picture, (128 * place, 0))
sheet.save("cross_attention_control.png")
