"""Captioned scenes that the demo model is trained on, and that the tests' judge reads back.

    scene = sample(random.Random(7))         # what is in it and where; needs no font
    picture = draw(scene, random.Random(8))  # PIL image, 128 x 128
    scene.caption                            # 'a smiling fox sitting on a red car in the snow'
    parse(scene.caption)                     # the same words as a Scene, without boxes

Everything the caption does not say (size, position, horizon, stars, houses, the backdrop of a scene without
a place) comes from the random generators, so a caption stands for many pictures.

Glyphs: Noto Color Emoji (Google, SIL Open Font License 1.1; Debian package fonts-noto-color-emoji), drawn only
while training and testing. Nobody who merely uses the model needs the font.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 as fractions of the picture, y downwards


@dataclass(frozen=True)
class Glyph:
    """An emoji and where its head is; points are fractions of the glyph's own box."""

    char: str
    aspect: float  # width / height of the inked box
    mouth: tuple[float, float] = (0.5, 0.5)  # centre of a smile
    crown: tuple[float, float] = (0.5, 0.0)  # where the lower edge of a hat rests
    grin: float = 0.48  # width of a smile / height of the glyph


SUBJECTS = {
    "cat": Glyph("🐈", 0.89, (0.29, 0.41), (0.46, 0.24), 0.36),
    "dog": Glyph("🐕", 0.94, (0.42, 0.50), (0.41, 0.14), 0.40),
    "rabbit": Glyph("🐇", 0.81, (0.24, 0.57), (0.36, 0.42), 0.36),
    "fox": Glyph("🦊", 1.06, (0.50, 0.82), (0.50, 0.32)),
    "bear": Glyph("🐻", 1.06, (0.50, 0.78), (0.50, 0.20)),
    "panda": Glyph("🐼", 1.11, (0.50, 0.78), (0.50, 0.18)),
    "lion": Glyph("🦁", 0.89, (0.50, 0.72), (0.50, 0.18)),
    "penguin": Glyph("🐧", 0.66, (0.44, 0.27), (0.47, 0.10), 0.38),
    "owl": Glyph("🦉", 0.73, (0.50, 0.48), (0.50, 0.18), 0.42),
    "cow": Glyph("🐄", 1.17, (0.19, 0.38), (0.29, 0.18), 0.36),
}
OBJECTS = {
    "car": Glyph("🚗", 1.58),
    "boat": Glyph("⛵", 0.91),
    "bus": Glyph("🚌", 1.47),
    "bicycle": Glyph("🚲", 1.39),
    "box": Glyph("📦", 0.93),
    "cake": Glyph("🎂", 0.77),
    "chair": Glyph("🪑", 0.64),
    "pumpkin": Glyph("🎃", 1.05),
}
HAT = 0.42  # height of what is worn / height of who wears it
WORN = {"hat": Glyph("🎩", 1.21), "crown": Glyph("👑", 1.05)}
COLOURS = {"red": 0, "yellow": 40, "green": 90, "blue": 160, "purple": 205}  # hue, 0..255
PLACES = {  # sky, ground
    "in the snow": ((225, 235, 245), (250, 252, 255)),
    "on the grass": ((135, 200, 250), (90, 170, 70)),
    "on the beach": ((130, 210, 245), (235, 215, 160)),
    "at night": ((15, 20, 60), (35, 40, 70)),
    "in the desert": ((250, 190, 120), (215, 150, 90)),
    "in the city": ((190, 200, 210), (110, 110, 115)),
}
NOWHERE = [((135, 200, 250), (90, 170, 70)), ((230, 230, 230), (200, 200, 200)), ((245, 240, 225), (225, 210, 190))]
RELATIONS = ("sitting on", "next to")
ADJECTIVES = ("smiling",)


@dataclass(frozen=True)
class Scene:
    """What a picture shows. None: the caption does not say it, or the thing is not there."""

    subject: str | None = None
    adjective: str | None = None
    worn: str | None = None
    relation: str | None = None
    colour: str | None = None  # of the object
    object: str | None = None
    place: str | None = None
    subject_box: Box | None = None
    object_box: Box | None = None

    @property
    def caption(self) -> str:
        parts = []
        if self.subject:
            parts.append(_with_article(self.adjective, self.subject))
        if self.worn:
            parts.append(f"wearing {_with_article(self.worn)}")
        if self.relation:
            parts.append(self.relation)
        if self.object:
            parts.append(_with_article(self.colour, self.object))
        if self.place:
            parts.append(self.place)
        return " ".join(parts)


def _with_article(*words: str | None) -> str:
    text = " ".join(word for word in words if word)
    return ("an " if text[0] in "aeiou" else "a ") + text


def vocabulary() -> list[str]:
    """Every word a caption can hold, sorted."""
    phrases = [*SUBJECTS, *OBJECTS, *WORN, *COLOURS, *PLACES, *RELATIONS, *ADJECTIVES, "a", "an", "wearing"]
    return sorted({word for phrase in phrases for word in phrase.split()})


def _one_of(words) -> str:
    return "(" + "|".join(words) + ")"


_CAPTION = re.compile(
    rf"(?:an? (?:{_one_of(ADJECTIVES)} )?{_one_of(SUBJECTS)}(?: wearing an? {_one_of(WORN)})?)?"
    rf"(?: ?{_one_of(RELATIONS)} )?(?:an? (?:{_one_of(COLOURS)} )?{_one_of(OBJECTS)})?(?: {_one_of(PLACES)})?"
)


def parse(caption: str) -> Scene:
    """The scene that a caption describes, without boxes. Raises ValueError on words it does not know."""
    match = _CAPTION.fullmatch(" ".join(caption.lower().split()))
    if not match or not caption.strip():
        raise ValueError(f"not a caption of the demo world: {caption!r}")
    adjective, subject, worn, relation, colour, thing, place = match.groups()
    if bool(relation) != bool(subject and thing):
        raise ValueError(f"two things need a relation, and a relation needs two things: {caption!r}")
    return Scene(subject, adjective, worn, relation, colour, thing, place)


def sample(rng: random.Random) -> Scene:
    """A random scene: eight in ten hold a subject and an object, the others one of the two."""
    shown = rng.choices(("both", "subject", "object"), (0.8, 0.1, 0.1))[0]
    scene = Scene(
        subject=rng.choice(list(SUBJECTS)) if shown != "object" else None,
        object=rng.choice(list(OBJECTS)) if shown != "subject" else None,
        relation=rng.choices(RELATIONS, (0.65, 0.35))[0] if shown == "both" else None,
        place=rng.choice(list(PLACES)) if rng.random() < 0.75 else None,
    )
    if scene.object and rng.random() < 0.5:
        scene = replace(scene, colour=rng.choice(list(COLOURS)))
    if scene.subject:
        scene = replace(
            scene,
            adjective=rng.choice(ADJECTIVES) if rng.random() < 0.3 else None,
            worn=rng.choice(list(WORN)) if rng.random() < 0.3 else None,
        )
    return arrange(scene, rng)


def arrange(scene: Scene, rng: random.Random) -> Scene:
    """Gives the scene's things their boxes, as its relation asks."""

    def jitter(amount):
        return rng.uniform(-amount, amount)

    floor = 0.9 + jitter(0.03)
    object_height = rng.uniform(0.40, 0.50)
    subject_height = rng.uniform(0.31, 0.38) if scene.worn else rng.uniform(0.34, 0.42)  # room for the hat
    middle = 0.5 + jitter(0.15)
    if not scene.object:
        return replace(scene, subject_box=_box(SUBJECTS[scene.subject], middle, floor - 0.05, subject_height * 1.4))
    if not scene.subject:
        return replace(scene, object_box=_box(OBJECTS[scene.object], middle, floor, object_height * 1.2))
    if scene.relation == "sitting on":
        at_object, at_subject, seat = middle, middle + jitter(0.05), floor - object_height * 0.86
    else:
        side = rng.choice((-0.23, 0.23))
        at_object, at_subject, seat = 0.5 + side, 0.5 - side, floor
    return replace(
        scene,
        object_box=_box(OBJECTS[scene.object], at_object, floor, object_height),
        subject_box=_box(SUBJECTS[scene.subject], at_subject, seat, subject_height),
    )


def _box(glyph: Glyph, middle: float, floor: float, height: float) -> Box:
    width = glyph.aspect * height
    return middle - width / 2, floor - height, middle + width / 2, floor


def draw(scene: Scene, rng: random.Random, size: int = 128) -> Image.Image:
    """Draws a scene with boxes, at twice the size and then reduced. Returns an RGB image of size x size."""
    canvas = _backdrop(scene.place, rng, 2 * size)
    if scene.object:
        _paste(canvas, _tinted(OBJECTS[scene.object].char, scene.colour), scene.object_box)
    if scene.subject:
        _paste(canvas, _tinted(SUBJECTS[scene.subject].char, None), scene.subject_box)
        if scene.adjective == "smiling":
            glyph = SUBJECTS[scene.subject]
            _smile(canvas, *_spot(scene.subject_box, glyph.mouth), glyph.grin * _height(scene.subject_box))
        if scene.worn:
            x, y = _spot(scene.subject_box, SUBJECTS[scene.subject].crown)
            hat = _box(WORN[scene.worn], x, y, HAT * _height(scene.subject_box))
            _paste(canvas, _tinted(WORN[scene.worn].char, None), hat)
    return canvas.resize((size, size), Image.LANCZOS)


def _height(box: Box) -> float:
    return box[3] - box[1]


def _spot(box: Box, at: tuple[float, float]) -> tuple[float, float]:
    return box[0] + at[0] * (box[2] - box[0]), box[1] + at[1] * (box[3] - box[1])


def _backdrop(place: str | None, rng: random.Random, size: int) -> Image.Image:
    sky, ground = PLACES[place] if place else rng.choice(NOWHERE)
    image = Image.new("RGB", (size, size), sky)
    pen = ImageDraw.Draw(image)
    horizon = int(size * rng.uniform(0.62, 0.72))
    pen.rectangle([0, horizon, size, size], fill=ground)
    if place in ("at night", "in the snow"):
        count, radius, colour = (12, 3, (250, 250, 200)) if place == "at night" else (40, 4, (255, 255, 255))
        for _ in range(count):
            x, y = rng.randrange(size), rng.randrange(horizon)
            pen.ellipse([x, y, x + radius * size / 256, y + radius * size / 256], fill=colour)
    if place == "in the city":
        x = 0.0
        while x < size:
            width, height, grey = rng.uniform(0.09, 0.2) * size, rng.uniform(0.16, 0.47) * size, rng.randrange(130, 170)
            pen.rectangle([x, horizon - height, x + width, horizon], fill=(grey, grey, grey + 10))
            x += width
    return image


@cache
def _ink(char: str) -> Image.Image:
    """The glyph as RGBA, cropped to its ink. The font has one size, 109; Pillow finds system fonts by name."""
    image = Image.new("RGBA", (150, 150), (0, 0, 0, 0))
    ImageDraw.Draw(image).text((7, 7), char, font=ImageFont.truetype("NotoColorEmoji.ttf", 109), embedded_color=True)
    return image.crop(image.getbbox())


@cache
def _tinted(char: str, colour: str | None) -> Image.Image:
    """The glyph with every hue replaced by the colour's, and no part of it left grey."""
    image = _ink(char)
    if colour is None:
        return image
    hsv = np.array(image.convert("RGB").convert("HSV"))
    hsv[..., 0] = COLOURS[colour]
    hsv[..., 1] = np.maximum(hsv[..., 1], 170)
    tinted = Image.frombytes("HSV", image.size, hsv.tobytes()).convert("RGB")
    tinted.putalpha(image.getchannel("A"))
    return tinted


def _paste(canvas: Image.Image, glyph: Image.Image, box: Box) -> None:
    x0, y0, x1, y1 = (round(edge * canvas.width) for edge in box)
    glyph = glyph.resize((max(1, x1 - x0), max(1, y1 - y0)), Image.BICUBIC)
    canvas.paste(glyph, (x0, y0), glyph)


def _smile(canvas: Image.Image, x: float, y: float, width: float) -> None:
    """A broad grin: a half moon of teeth with a dark rim, plain to see at 128 px."""
    size, rim = canvas.width, 0.012 * canvas.width
    radius = 0.5 * width * size
    x, y = x * size, y * size - 0.6 * radius
    pen = ImageDraw.Draw(canvas)
    pen.chord([x - radius - rim, y - radius - rim, x + radius + rim, y + radius + rim], 0, 180, fill=(60, 15, 20))
    pen.chord([x - radius + rim, y - radius + rim, x + radius - rim, y + radius - rim], 8, 172, fill=(255, 255, 255))
