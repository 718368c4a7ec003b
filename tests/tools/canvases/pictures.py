"""Edits of a picture that is there already."""

from __future__ import annotations

from tools.workflow_builder import Canvas

from .demo import SAMPLING, Demo


def real_picture(canvas: Canvas) -> None:
    demo = Demo(canvas)
    prompt = "a cat sitting on a car in the snow"
    positive = canvas.add("CLIPTextEncode", 0, "the picture's prompt", clip=demo.model["clip"], text=prompt)
    drawn = {"positive": positive["CONDITIONING"], **demo.inputs, **SAMPLING, "seed": 4}
    first = canvas.add("KSampler", 1, "stands for a picture of yours", **drawn)
    picture = demo.decode(first["LATENT"], 1)
    encoded = canvas.add("VAEEncode", 1, pixels=picture, vae=demo.model["vae"])
    edit = demo.align(prompt, "a dog sitting on a car in the snow", 2)
    blended = canvas.add(
        "AttentionLocalBlend", 2, "only where the words are", edit=edit["edit"], source_words="cat", edit_words="dog"
    )
    real = canvas.add("P2PRealPicture", 2, "the source is the picture", edit=blended["edit"], source_cfg=2.4)
    how = {"sampler_name": "euler", "seed": 2}
    sampled = demo.sample(real["edit"], 3, latent_image=encoded["LATENT"], **how)
    edited = demo.decode(sampled["edited"], 4, "decode the edit")
    grown = canvas.add("GrowMask", 4, "a little more", mask=sampled["blend_mask"], expand=6, tapered_corners=True)
    shown = canvas.add("MaskToImage", 4, "", mask=grown["MASK"])
    soft = canvas.add("ImageBlur", 4, "soft edges", image=shown["IMAGE"], blur_radius=4, sigma=2.0)
    mask = canvas.add("ImageToMask", 4, "", image=soft["IMAGE"], channel="red")
    whole = canvas.add(
        "ImageCompositeMasked",
        5,
        "all else is the picture itself",
        destination=picture,
        source=edited,
        mask=mask["MASK"],
        x=0,
        y=0,
        resize_source=False,
    )
    compared = canvas.add("P2PCompare", 5, "", source=picture, edited=whole["IMAGE"], edit=blended["edit"])
    demo.save(compared["comparison"], 6)
    canvas.note("""
### A picture of yours, edited by words

*P2PRealPicture* says that the source is the picture in `latent_image`. The source that comes out is that picture,
exactly, and the edit moves away from it only by what the two prompts differ in.

- **Your own picture:** *LoadImage* in place of the first sampler, resized to what the model was trained on.
- **No prompt for it?** One plain sentence with the word to be changed is enough. An empty one works as well: then only
  the source's self-attention holds the picture.
- **Too weak:** lower `source_cfg`, which here is 0.6 times `cfg`, or shorten the windows with *AttentionInjectSchedule*.
- **Too strong:** set `source_cfg` to 0, which is the sampler's `cfg`; then lower `denoise`.
- **Another try:** another seed. Samplers that do not look back, such as `euler`, suit the fresh noise best.

On the right the edit is laid into the picture under the mask of *AttentionLocalBlend*, grown and softened: outside of
it every pixel is the picture's own, whatever the VAE does to colours.
""")


def painted_mask(canvas: Canvas) -> None:
    demo = Demo(canvas)
    photograph = canvas.add("LoadImage", 1, "a picture, a mask painted on it", image="cat_on_a_car.png")
    size = {"width": 128, "height": 128, "crop": "disabled"}
    small = canvas.add("ImageScale", 1, "the model's size", image=photograph["IMAGE"], upscale_method="lanczos", **size)
    encoded = canvas.add("VAEEncode", 1, pixels=small["IMAGE"], vae=demo.model["vae"])
    edit = demo.align("a cat sitting on a car on the grass", "a dog sitting on a car on the grass", 2)
    blended = canvas.add("AttentionLocalBlend", 2, "only in the mask", edit=edit["edit"], mask=photograph["MASK"])
    real = canvas.add("P2PRealPicture", 2, "the source is the picture", edit=blended["edit"], source_cfg=2.4)
    sampled = demo.sample(real["edit"], 3, latent_image=encoded["LATENT"], sampler_name="euler")
    edited = demo.decode(sampled["edited"], 4, "decode the edit")
    shown = canvas.add("MaskToImage", 4, "", mask=photograph["MASK"])
    soft = canvas.add("ImageBlur", 4, "soft edges", image=shown["IMAGE"], blur_radius=6, sigma=3.0)
    edges = canvas.add("ImageToMask", 4, "", image=soft["IMAGE"], channel="red")
    within = canvas.add(
        "MaskComposite",
        4,
        "but inside of the mask",
        destination=edges["MASK"],
        source=photograph["MASK"],
        operation="multiply",
    )
    whole = canvas.add(
        "ImageCompositeMasked",
        5,
        "in the picture's own size",
        destination=photograph["IMAGE"],
        source=edited,
        mask=within["MASK"],
        resize_source=True,
    )
    compared = canvas.add("P2PCompare", 5, "", source=photograph["IMAGE"], edited=whole["IMAGE"], edit=blended["edit"])
    demo.save(compared["comparison"], 6)
    canvas.note("""
### A picture of yours, edited where you have painted

Only what lies under the painted mask changes. Every other pixel of the result is the picture's own: the edit is sampled
at the model's size, enlarged, and laid into the picture within the mask.

- **The picture:** *cat_on_a_car.png* lies in the pack's `example_workflows/inputs`. Choose it in *LoadImage*, or take one
  of yours. To paint the mask, right-click the node and choose *Open in MaskEditor*.
- **The size:** *ImageScale* brings the picture to what the model was trained on, 512 or 1024 pixels. Give it the
  picture's proportions, in multiples of 8.
- **A model of yours:** *Load Checkpoint* in place of the first node.
- **Paint generously:** the new thing has to fit in. A mask that ends in the old thing's ears leaves them there.
- **`source_cfg`** of about 0.6 times `cfg` edits better than 0, but is a little less like the picture.
""")
