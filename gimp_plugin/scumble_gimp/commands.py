"""The procedures that GIMP's menus and other scripts find: names, words and arguments. Pure data; nothing of GIMP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MENU = "<Image>/Filters/Scumble"
RANDOM_SEED = -1
MAX_SIDE = 32768
"""As in scumble.protocol.geometry, which is not loaded while GIMP asks what there is."""


class Argument(NamedTuple):
    """`default` decides the kind: yes or no, text, whole number, number, None: a layer or none. `choices` maps the names
    that scripts use to labels."""

    name: str
    label: str
    help: str
    default: bool | str | int | float | None
    low: float = 0
    high: float = 0
    choices: Mapping[str, str] | None = None


class Command(NamedTuple):
    """`label` is the menu's; `ok` the button of the dialog, "" where there is no dialog."""

    name: str
    label: str
    blurb: str
    help: str
    ok: str = ""
    arguments: tuple[Argument, ...] = ()

    @property
    def title(self) -> str:
        return self.label.replace("_", "").rstrip(".")


ANCHORS = {
    "center": "Center",
    "left": "Left",
    "right": "Right",
    "top": "Top",
    "bottom": "Bottom",
    "top-left": "Top left",
    "top-right": "Top right",
    "bottom-left": "Bottom left",
    "bottom-right": "Bottom right",
}

REFINED, UPSCALED = 0.6, 0.35
"""How far from what is there a model goes, and how far over an upscaled picture, where nobody says."""

PROMPT = Argument("prompt", "_Prompt", "What to paint, in a few words; empty: continue what is around", "")
NEGATIVE = Argument("negative", "_Negative prompt", "What should not be there", "")
MODEL = Argument("model", "_Model", "Name or id of a model; empty: chosen by Scumble", "")
STRENGTH = Argument(
    "strength", "S_trength (%)", "How far to go from what is there; 100 starts from nothing", 100 * REFINED, 0, 100
)
SEED = Argument(
    "seed", "See_d", "The same seed makes the same picture again; -1: a new one", -1, RANDOM_SEED, 2**31 - 1
)
COUNT = Argument("count", "_Variants", "How many variants to make; all but the first come hidden", 1, 1, 16)
STEPS = Argument("steps", "Den_oising steps", "Denoising steps; 0: as the model wants", 0, 0, 200)
GUIDANCE = Argument("guidance", "G_uidance", "How closely to follow the prompt; 0: as the model wants", 0.0, 0, 30)
RESOLUTION = Argument(
    "resolution",
    "Resolution (px)",
    "Side of the square whose pixels the model is given; more shows it more detail; 0: what it was made for",
    0,
    0,
    4096,
)
CLIP_SKIP = Argument("clip-skip", "Clip skip", "Layer of the text encoder that the prompt is taken from", 1, 1, 12)
SAMPLER = Argument("sampler", "Sampler", "Name of the sampler; empty: as the model wants", "")
SOURCE = Argument(
    "source",
    "Pi_xels from",
    "Which pixels are looked at",
    "visible",
    choices={"visible": "Visible picture", "layer": "Active layer"},
)
MASK = Argument(
    "mask-as",
    "La_yer shape by",
    "How the layer is cut to the selection",
    "alpha",
    choices={"alpha": "Transparency", "layer-mask": "Layer mask"},
)
INTENT = Argument(
    "intent",
    "Sel_ection",
    "What becomes of the selection: it is filled as its surroundings go on, holds something that is not like them, or loses"
    " what is in it",
    "fill",
    choices={"fill": "Fill", "add": "Add something", "remove": "Remove what is there"},
)
TRANSPARENT = Argument(
    "transparent",
    "Cut out of its _background",
    "What is painted is cut out of its plain background. Name one in the prompt, or it asks for white.",
    False,
)
PREPROCESSORS = {
    "none": "As it is",
    "canny": "Edges",
    "soft_edges": "Soft edges",
    "lineart": "Strokes",
    "invert": "Black strokes",
    "blur": "Blurred",
    "luminance": "Brightness",
    "depth": "Depth",
}
CONTROLS = (
    Argument("control-model", "Control network", "Name or id of a control network; empty: none", ""),
    Argument("control", "Control", "Layer that the control network follows; none: the visible picture", None),
    Argument(
        "control-preprocessor",
        "Control preprocessor",
        "What is made of the layer before the control network sees it",
        "canny",
        choices=PREPROCESSORS,
    ),
    Argument("control-weight", "Control weight", "How strictly the layer is followed", 1.0, 0, 10),
)
REFERENCES = (
    Argument("reference-adapter", "IP-Adapter", "Name or id of an IP-Adapter; empty: none", ""),
    Argument(
        "reference",
        "Reference",
        "Layer whose subject, colours and style are taken up; none: the visible picture",
        None,
    ),
    Argument("reference-weight", "Reference weight", "How much is taken from the layer", 1.0, 0, 10),
)
REGIONS = (
    Argument("region", "Region", "Layer that has a prompt of its own where it is", None),
    Argument("region-prompt", "Region prompt", "What is to be where that layer is", ""),
)
ADDED = (*CONTROLS, *REFERENCES, *REGIONS)
"""For scripts; the panel has rows for any number of each."""
PAINTED = (PROMPT, NEGATIVE, MODEL)
DETAILS = (SEED, COUNT, STEPS, GUIDANCE, RESOLUTION, CLIP_SKIP, SAMPLER, SOURCE, MASK, *ADDED)
EDGE_HELP = "Pixels by which the canvas grows on this side"
EXTEND = (
    Argument("left", "Le_ft", EDGE_HELP, 0, 0, MAX_SIDE),
    Argument("top", "_Top", EDGE_HELP, 0, 0, MAX_SIDE),
    Argument("right", "Ri_ght", EDGE_HELP, 0, 0, MAX_SIDE),
    Argument("bottom", "_Bottom", EDGE_HELP, 0, 0, MAX_SIDE),
    Argument("ratio", "_Aspect ratio", "Grow to width:height, for instance 16:9, where no side is given", ""),
    Argument("width", "_Width", "Grow to this width, where no side is given; 0: as it is", 0, 0, MAX_SIDE),
    Argument("height", "He_ight", "Grow to this height, where no side is given; 0: as it is", 0, 0, MAX_SIDE),
    Argument("anchor", "_Keep picture at", "Where the picture stays in the grown canvas", "center", choices=ANCHORS),
)
FACTOR = Argument("factor", "_Factor", "How many times as wide and as high", 2, 2, 4)
NEW_SIZE = (
    Argument("width", "_Width", "Of the new image, where none is open", 512, 16, MAX_SIDE),
    Argument("height", "He_ight", "Of the new image, where none is open", 512, 16, MAX_SIDE),
)

FILL = Command(
    "scumble-fill-selection",
    "_Fill Selection...",
    "Paint something into the selection",
    "Fills the selection with what the prompt says, or without one with what fits the surroundings, on a new layer.",
    "_Fill",
    (*PAINTED, INTENT, TRANSPARENT, *DETAILS),
)
EXTEND_CANVAS = Command(
    "scumble-extend-canvas",
    "_Extend Canvas...",
    "Grow the canvas and continue the picture on it",
    "Grows the canvas by pixels per side, or to a ratio or size, and continues the picture there on a new layer.",
    "_Extend",
    (*EXTEND, *PAINTED, *DETAILS),
)
REMOVE = Command(
    "scumble-remove-selection",
    "_Remove Selection",
    "Remove what is selected",
    "Replaces what is selected by what may lie behind it, on a new layer. Needs no prompt.",
    arguments=(MODEL, SOURCE, MASK),
)
REFINE = Command(
    "scumble-refine",
    "Re_fine / Image to Image...",
    "Repaint what is there, in the selection or everywhere",
    "Repaints the selection, or the whole picture where nothing is selected, by as much as the strength says.",
    "Re_fine",
    (*PAINTED, STRENGTH, TRANSPARENT, *DETAILS),
)
GENERATE = Command(
    "scumble-generate-layer",
    "_Generate Layer...",
    "Paint a new picture",
    "Paints what the prompt says on a new layer, from nothing; in a new image where none is given.",
    "_Generate",
    (*PAINTED, *NEW_SIZE, TRANSPARENT, *DETAILS),
)
UPSCALE = Command(
    "scumble-upscale-image",
    "_Upscale Image...",
    "Make the whole image larger and sharp",
    "Makes the image two to four times as large, and adds a layer on which an upscaler has sharpened it, or a Stable"
    " Diffusion model has painted detail.",
    "Upsc_ale",
    (
        FACTOR,
        *PAINTED,
        Argument("strength", STRENGTH.label, "How much a model that paints may change", 100 * UPSCALED, 0, 100),
        *(SEED, STEPS, GUIDANCE, CLIP_SKIP, SAMPLER, *ADDED),
    ),
)
PANEL = Command("scumble-panel", "_Open Panel", "Open Scumble's panel", "A window that stays open beside the picture.")
REPEAT = Command(
    "scumble-repeat-last",
    "Repeat _Last",
    "Repeat the last edit",
    "Does again what was done last with Scumble, with the same settings, on this image and its present selection.",
)
COMMANDS = {
    command.name: command for command in (FILL, EXTEND_CANVAS, REMOVE, REFINE, GENERATE, UPSCALE, PANEL, REPEAT)
}
