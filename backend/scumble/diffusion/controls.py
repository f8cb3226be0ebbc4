"""Control networks (Zhang et al., 2023, Adding Conditional Control to Text-to-Image Diffusion Models) beside a UNet: loaded
from folders of diffusers and from single files, weighed, and counted in a part of the steps only. Imports torch."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from diffusers import ControlNetModel, ControlNetUnionModel
from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..editing.adapters import Adapter, other_kind
from ..editing.plan import Pixels
from ..protocol.errors import ModelMissing, ModelUnreadable
from ..protocol.geometry import Bounds
from ..protocol.messages import Control
from .conditioning import Conditioning, Residuals
from .contents import read_header, read_json
from .denoise import scalar
from .recent import Recent
from .steps import counts, numbered
from .unions import kind_shown, union_config

if TYPE_CHECKING:
    from .families.base import Model

_KEPT = 3
"""Networks that stay loaded beside the model; each takes about a third of its memory."""
_SAME = ("block_out_channels", "cross_attention_dim", "addition_embed_type")
"""In what a network and its UNet must agree, or its residuals have nowhere to go."""

Controlled = Callable[[Tensor, Tensor, Conditioning, Sequence[bool]], Residuals | None]
"""(latents (n, c, h, w), timestep (), conditioning of n, for which of the n it is the prompt) -> what the networks add in
this step; None in steps without."""
_POOLED = "shuffle"
"""In the names of networks that see a picture as a whole, wherever what is in it lies (ControlNet 1.1's "shuffle"). Their
configuration says it, and no tensor; they add what they see to the side with the prompt only."""


@dataclass(frozen=True)
class Guide:
    """A control at work: its network, the (1, 3, H, W) picture that it sees, 0..1, and of which kind that is where it must
    be told (`unions`)."""

    control: Control
    network: Any
    image: Tensor
    kind: int | None = None

    def seen_through(self, window: Bounds) -> Guide:
        """For a window in px of the picture."""
        return replace(self, image=self.image[(..., *window.slices())])

    def shown(self, count: int) -> dict[str, Any]:
        """What the network is called with for `count` latents, by the names of diffusers."""
        image = self.image.expand(count, -1, -1, -1)
        if self.kind is None:
            return {"controlnet_cond": image}
        kinds = image.new_zeros(count, self.network.config.num_control_type)
        kinds[:, self.kind] = 1
        return {"controlnet_cond": [image], "control_type": kinds, "control_type_idx": [self.kind]}


class ControlNets:
    """The control networks of one model; they go when it goes."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._loaded: Recent[tuple[Path, int], Any] = Recent(_KEPT)

    def guide(self, control: Control, adapter: Adapter, image: Pixels) -> Guide:
        """The control with its network, loaded on first use, and the (H, W, 3) picture for it.

        Raises ModelMissing, ModelUnreadable, BadRequest (made for another kind of model), OutOfMemory.
        """
        try:
            modified = adapter.path.stat().st_mtime_ns
        except OSError as error:
            raise ModelMissing(f"The ControlNet {adapter.info.name} is not here any more.") from error
        network = self._loaded.get((adapter.path, modified), lambda: _load(adapter, self._model))
        values = torch.from_numpy(np.array(image)).to(self._model.device).permute(2, 0, 1)[None]
        kinds = network.config.get("num_control_type")
        kind = kind_shown(control.preprocessor, image, kinds) if kinds else None
        return Guide(control, network, (values.float() / 255).to(self._model.dtype), kind)


def controlled(model: Model, guides: Sequence[Guide], timesteps: Tensor) -> Controlled:
    """The guides' residuals, each times its weight, summed. A guide counts in the steps that lie wholly within its part of
    the `timesteps` (1-d), as in the pipelines of diffusers."""
    step_of = numbered(timesteps)

    def answer(
        latents: Tensor, timestep: Tensor, conditioning: Conditioning, prompted: Sequence[bool]
    ) -> Residuals | None:
        step = step_of[float(timestep)]
        counting = [guide for guide in guides if counts(guide.control, step, len(timesteps))]
        # References, and a guidance that a denoiser is told, are none of its control network's: those were trained without.
        told = dict(model.told(latents, replace(conditioning, references=(), guidance=None)))
        total: Residuals | None = None
        on_device = scalar(timestep, model.device)
        side = torch.tensor(prompted).to(latents)[:, None, None, None] if not all(prompted) else None
        for guide in counting:
            model.residents.bring(guide.network, model.denoising(latents.shape))
            down, mid = guide.network(
                latents,
                on_device,
                conditioning_scale=float(guide.control.weight),
                return_dict=False,
                **guide.shown(len(latents)),
                **told,
            )
            if side is not None and guide.network.config.get("global_pool_conditions"):
                down, mid = [each * side for each in down], mid * side
            total = Residuals(tuple(down), mid) if total is None else _sum(total, down, mid)
        return total

    return answer


def _sum(total: Residuals, down: Sequence[Tensor], mid: Tensor) -> Residuals:
    return Residuals(tuple(a + b for a, b in zip(total.down, down, strict=True)), total.mid + mid)


@torch.inference_mode(False)  # its weights are to move, and outlive the picture that they are loaded for
def _load(adapter: Adapter, model: Model) -> Any:
    shapes = read_header(adapter.path).tensors
    unet = model.parts.get("unet")
    if unet is None:
        raise other_kind(adapter.info)
    union = union_config(shapes)
    config = {**_config(adapter.path, unet, shapes), **union}
    if any(config.get(name) != unet.config.get(name) for name in _SAME):
        raise other_kind(adapter.info)
    damaged = ModelUnreadable(f"The ControlNet {adapter.info.name} is damaged, or of a kind that Scumble cannot use.")
    try:
        with torch.device("meta"):
            network = (ControlNetUnionModel if union else ControlNetModel).from_config(config)
        state = convert_controlnet_checkpoint(load_file(adapter.path), config)
        state = {name: tensor for name, tensor in state.items() if tensor is not None}
    except (OSError, SafetensorError, LookupError, ValueError, TypeError) as error:
        raise damaged from error
    try:
        missing, _ = network.load_state_dict(state, strict=False, assign=True)
    except RuntimeError as error:  # shapes that differ
        raise other_kind(adapter.info) from error
    if missing:
        raise damaged
    kernel = unet.conv_in.weight
    channels_last = not kernel.is_contiguous()  # the layout that suits the device was chosen with the model
    network.to(model.dtype, memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    network.requires_grad_(False).eval()
    _join_attention(network)
    model.residents.add(network)
    return network


def _join_attention(network: Any) -> None:
    """torch's own attention (that of unions) reads its last layer's weights without calling it: where a network comes layer
    by layer (`residents`) they would not come. So they become the attention's own."""
    for attention in [module for module in network.modules() if isinstance(module, nn.MultiheadAttention)]:
        last = attention.out_proj
        del attention.out_proj
        attention.out_weight, attention.out_bias = last.weight, last.bias
        attention.out_proj = SimpleNamespace(weight=last.weight, bias=last.bias)  # type: ignore[assignment]


def _config(path: Path, unet: Any, shapes: Collection[str]) -> Mapping[str, Any]:
    """Of a folder of diffusers what lies beside; a single file is made to the measure of the published UNet, as ours is."""
    beside = path.with_name("config.json")
    if beside.is_file():
        config = read_json(beside)
        if config.get("_class_name") == "ControlNetModel":
            return config
    with torch.device("meta"):
        network = ControlNetModel.from_unet(unet, load_weights_from_unet=False)
    # An inpaint denoiser sees nine channels, its control networks see the four of the latents.
    told = {"in_channels": unet.config.out_channels, "global_pool_conditions": _POOLED in path.stem.lower()}
    config = {**network.config, **told, **_attention(shapes, network.config)}
    config.pop("_use_default_values", None)  # which would undo what is told here
    return config


def _attention(names: Collection[str], config: Mapping[str, Any]) -> dict[str, Any]:
    """Where there is attention, and in how many layers, by the names that diffusers gives to tensors: smaller networks for
    SDXL have less of it than its UNet, or none. Those in the original layout are all as it is."""
    if not any(name.startswith("controlnet_cond_embedding.") for name in names):
        return {}
    blocks = [f"down_blocks.{index}." for index in range(len(config["block_out_channels"]))]
    attends = [any(name.startswith(f"{block}attentions.") for name in names) for block in blocks]
    # diffusers gives the block in the middle as many layers as the last one has, or would have.
    layers = [_layers(names, block) for block in (*blocks[:-1], "mid_block.")]
    types = tuple("CrossAttnDownBlock2D" if attending else "DownBlock2D" for attending in attends)
    return {"down_block_types": types, "transformer_layers_per_block": tuple(layers)}


def _layers(names: Collection[str], block: str) -> int:
    start = f"{block}attentions.0.transformer_blocks."
    return len({name.removeprefix(start).split(".")[0] for name in names if name.startswith(start)})
