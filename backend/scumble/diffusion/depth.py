"""How near each pixel of a picture is, estimated by a model of the user's: DPT (Ranftl et al., 2021, Vision Transformers
for Dense Prediction) or Depth Anything (Yang et al., 2024), as transformers runs them. Imports torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import DepthAnythingForDepthEstimation, DPTForDepthEstimation, DPTImageProcessorPil

from ..editing.adapters import Adapter
from ..editing.plan import Pixels
from ..protocol.errors import ModelMissing, ModelUnreadable
from .contents import read_header, read_json

_KINDS: dict[str, Any] = {"dpt": DPTForDepthEstimation, "depth_anything": DepthAnythingForDepthEstimation}
_ELSEWHERE = ("backbone", "use_pretrained_backbone", "use_timm_backbone")
_SETTINGS = ("size", "image_mean", "image_std", "keep_aspect_ratio", "ensure_multiple_of")


def estimate_depth(image: Pixels, adapters: Iterable[Adapter]) -> Pixels:
    """(h, w, 3) greys for (h, w, 3) pixels: the nearest is white, the farthest black, as networks for depth expect it. By
    the first depth model among the adapters. It runs on the CPU and does not stay in memory: a small one takes about a
    second, and a GPU's memory is left to what paints.

    Raises ModelMissing, ModelUnreadable.
    """
    adapter = next((each for each in adapters if each.info.kind == "depth" and each.path.is_file()), None)
    if adapter is None:
        raise ModelMissing(
            "The preprocessor depth needs a depth model, and none is here.",
            "Fetch one with: scumble models pull depth-anything, or use a picture of depth without a preprocessor.",
        )
    model, processor = _load(adapter)
    values = processor(Image.fromarray(np.ascontiguousarray(image)), return_tensors="pt").pixel_values
    with torch.inference_mode():
        depth = model(values).predicted_depth[None]
    if getattr(model.config, "depth_estimation_type", "relative") == "metric":
        depth = 1 / depth.clamp(min=1e-3)  # metres; the others tell nearness
    nearness = F.interpolate(depth, image.shape[:2], mode="bicubic", align_corners=False)[0, 0]
    return np.repeat(_stretched(nearness)[..., None], 3, axis=2)


def _stretched(values: Tensor) -> Pixels:
    """From the least, 0, to the most, 255."""
    low, high = values.min(), values.max()
    share = (values - low) / (high - low).clamp(min=torch.finfo(torch.float32).tiny)
    stretched: Pixels = (share * 255).round().to(torch.uint8).numpy()
    return stretched


def _load(adapter: Adapter) -> tuple[Any, Any]:
    read_header(adapter.path)
    refused = ModelUnreadable(
        f"The depth model {adapter.info.name} cannot be read.",
        "It needs the config.json that it is published with beside it.",
    )
    told = read_json(adapter.path.with_name("config.json"))
    # A backbone that is named and not described would be fetched.
    kind = _KINDS.get(told.get("model_type", ""))
    if kind is None or any(told.get(name) for name in _ELSEWHERE):
        raise refused
    try:
        # What is null is left open, as the library that wrote it meant it.
        config = kind.config_class.from_dict({name: value for name, value in told.items() if value is not None})
        # Weights go by other names in files than in the newest modules; the library knows which.
        model, found = kind.from_pretrained(
            None, config=config, state_dict=load_file(adapter.path), output_loading_info=True
        )
    except Exception as error:  # the library raises nothing more special
        raise refused from error
    if found["missing_keys"]:
        raise refused
    return model.requires_grad_(False).eval(), DPTImageProcessorPil(**_settings(adapter, config))


def _settings(adapter: Adapter, config: Any) -> dict[str, Any]:
    """How pictures are made ready: what is said beside the model, else what it was trained with."""
    beside = adapter.path.with_name("preprocessor_config.json")
    told = read_json(beside) if beside.is_file() else {}
    if config.model_type == "depth_anything":
        usual = {
            "size": {"height": 518, "width": 518},
            "keep_aspect_ratio": True,
            "ensure_multiple_of": config.patch_size,
        }
    else:
        usual = {
            "size": {"height": config.image_size, "width": config.image_size},
            "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5],
        }
    return {**usual, **{name: told[name] for name in _SETTINGS if name in told}}
