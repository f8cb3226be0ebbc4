"""CLIP's image encoders, by which IP-Adapters see: found by content, loaded for pictures that are new. Imports torch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

from ..editing.adapters import Adapter
from ..editing.plan import Pixels
from ..protocol.errors import ModelUnreadable
from .contents import read_header, read_json

if TYPE_CHECKING:
    from .families.base import Model

_HEADS = {768: (12, "quick_gelu"), 1024: (16, "quick_gelu"), 1280: (16, "gelu"), 1664: (16, "gelu")}
"""By the width of an encoder: its heads and its activation, which no tensor tells. OpenAI's ViT-B and ViT-L, LAION's ViT-H
and ViT-bigG (https://github.com/mlfoundations/open_clip), which are all that IP-Adapters were trained with."""


class Sight(NamedTuple):
    """What an encoder makes of a picture: as a whole (1, projection width), and its last layer but one, patch by patch
    (1, patches + 1, width)."""

    whole: Tensor
    patches: Tensor


def find_vision(adapters: Iterable[Adapter], wanted: int, whole: bool, near: Path) -> Adapter | None:
    """The image encoder whose picture as a whole, or else each patch, is `wanted` wide; of several the one that lies
    nearest to the file `near`."""
    found = []
    for adapter in adapters:
        if adapter.info.kind == "vision" and adapter.path.is_file():
            shapes = read_header(adapter.path).tensors
            if shapes["visual_projection.weight"][0 if whole else 1] == wanted:
                found.append(adapter)
    return max(found, key=lambda each: len(os.path.commonpath([each.path, near])), default=None)


class Vision:
    """A loaded image encoder."""

    @torch.inference_mode(False)  # its weights are to move
    def __init__(self, adapter: Adapter, model: Model) -> None:
        """Runs where `model` does, and in its format. Raises ModelUnreadable."""
        config = _config(adapter.path)
        try:
            state = load_file(adapter.path)
            with torch.device("meta"):
                encoder = CLIPVisionModelWithProjection(config)
            missing, _ = encoder.load_state_dict(state, strict=False, assign=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ModelUnreadable(f"The image encoder {adapter.info.name} is damaged.") from error
        # Not in files: a count of places, which is left on the meta device.
        embeddings = encoder.vision_model.embeddings
        embeddings.position_ids = torch.arange(embeddings.num_positions)[None]
        if missing:
            raise ModelUnreadable(f"A part of the image encoder {adapter.info.name} is missing.")
        self._model, self._encoder = model, encoder.to(model.dtype).requires_grad_(False).eval()
        model.residents.add(self._encoder)
        self._processor = CLIPImageProcessorPil(size=config.image_size, crop_size=config.image_size)

    def look(self, image: Pixels | None) -> Sight:
        """At an (h, w, 3) picture: the square in its middle, as in training. None: at nothing."""
        side = self._encoder.config.image_size
        values = torch.zeros(1, 3, side, side)
        if image is not None:
            picture = Image.fromarray(np.ascontiguousarray(image))
            values = self._processor(picture, return_tensors="pt").pixel_values
        self._model.residents.bring(self._encoder)
        output = self._encoder(values.to(self._model.device, self._model.dtype), output_hidden_states=True)
        return Sight(output.image_embeds, output.hidden_states[-2])


def _config(path: Path) -> Any:
    """Of a folder of transformers what lies beside; of a single file by its shapes."""
    beside = path.with_name("config.json")
    if beside.is_file():
        told = read_json(beside)
        if told.get("model_type") == "clip_vision_model":
            return CLIPVisionConfig.from_dict(told)
    return config_of(read_header(path).tensors)


def config_of(shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """The configuration of one of the published encoders. Raises ModelUnreadable where it is none of them."""
    width, _, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
    if width not in _HEADS:
        raise ModelUnreadable(
            "This image encoder is of a size that Scumble does not know.", "Put its config.json beside it."
        )
    heads, activation = _HEADS[width]
    return CLIPVisionConfig(
        hidden_size=width,
        intermediate_size=shapes["vision_model.encoder.layers.0.mlp.fc1.weight"][0],
        projection_dim=shapes["visual_projection.weight"][0],
        num_hidden_layers=sum(
            name.startswith("vision_model.") and name.endswith(".layer_norm1.weight") for name in shapes
        ),
        num_attention_heads=heads,
        image_size=patch * math.isqrt(shapes["vision_model.embeddings.position_embedding.weight"][0] - 1),
        patch_size=patch,
        hidden_act=activation,
    )
