"""What is added to a model, proven by what is to be seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scumble.diffusion.engine import DiffusionEngine
from scumble.editing.plan import Pixels
from scumble.protocol.messages import LoraUse
from torch import Tensor

from .drawing import STYLES
from .painting import paint
from .styles import LORAS, PROMPTS, colourfulness, does_only, frame, shows_only, styled

pytestmark = pytest.mark.slow

PROMPT = "a red star in the sky"
GREY, FRAMED, BOTH = {"monochrome": 1.0}, {"framed": 1.0}, {"monochrome": 1.0, "framed": 1.0}


def tensors(nano: DiffusionEngine) -> list[int]:
    """Where the model's weights lie."""
    return [each.data_ptr() for part in nano.model.parts.values() for each in part.parameters()]


def test_a_style_lora_changes_the_style_as_much_as_it_weighs_and_leaves_no_trace(nano: DiffusionEngine) -> None:
    before = paint(nano, PROMPT)[0]
    by_weight = [colourfulness(styled(nano, PROMPT, monochrome=weight)) for weight in (0.0, 0.5, 1.0)]
    assert by_weight[0] == colourfulness(before) > 60
    assert by_weight[1] < 0.9 * by_weight[0]
    assert by_weight[2] < 0.5 * by_weight[0]
    assert np.array_equal(styled(nano, PROMPT, monochrome=0.0, framed=0.0), before)
    assert np.array_equal(paint(nano, PROMPT)[0], before)


def test_a_lora_shows_its_own_style_and_two_at_once_show_both(nano: DiffusionEngine) -> None:
    for styles in (("monochrome",), ("framed",), tuple(STYLES)):
        assert all(does_only(nano, seed, *styles) for seed in range(len(PROMPTS))), styles


def test_each_of_two_loras_counts_as_much_as_it_weighs(nano: DiffusionEngine) -> None:
    """The other one's weight changes nothing of that."""
    for seed, prompt in enumerate(PROMPTS):
        plain, framed, both = (styled(nano, prompt, seed, **weights) for weights in ({}, FRAMED, BOTH))
        faint_frame = styled(nano, prompt, seed, monochrome=1.0, framed=0.3)
        half_grey = styled(nano, prompt, seed, monochrome=0.5, framed=1.0)
        assert shows_only(faint_frame, plain, "monochrome")
        assert frame(half_grey) > 0.6
        assert colourfulness(both) * 1.3 < colourfulness(half_grey) < 0.9 * colourfulness(framed)


def test_loras_are_switched_without_loading_the_model(nano: DiffusionEngine) -> None:
    """To and fro between two, both, none and other weights, each paints its own picture every time, by the very tensors
    that were loaded."""
    loaded, painted = tensors(nano), dict[str, Pixels]()
    ways = ({}, GREY, FRAMED, BOTH, {"monochrome": 0.5}, GREY, {}, FRAMED, {"framed": 0.5, "monochrome": 1.0}, BOTH, {})
    for weights in ways:
        picture = styled(nano, PROMPT, **weights)
        assert np.array_equal(painted.setdefault(repr(weights), picture), picture)
    assert len({picture.tobytes() for picture in painted.values()}) == len(painted) == 6
    assert tensors(nano) == loaded


def as_difference(down: Tensor, up: Tensor, before: Tensor) -> dict[str, Tensor]:
    return {"diff": up @ down}


def as_lokr(down: Tensor, up: Tensor, before: Tensor) -> dict[str, Tensor]:
    return {"lokr_w1": torch.ones(1, 1), "lokr_w2_a": up, "lokr_w2_b": down}


def as_loha(down: Tensor, up: Tensor, before: Tensor) -> dict[str, Tensor]:
    rank = len(down)
    ones = {"hada_w2_a": torch.ones(len(up), rank) / rank, "hada_w2_b": torch.ones(rank, down.shape[1])}
    return {"hada_w1_a": up, "hada_w1_b": down, **ones}


def as_dora(down: Tensor, up: Tensor, before: Tensor) -> dict[str, Tensor]:
    lengths = torch.linalg.vector_norm(before + up @ down, dim=1, keepdim=True)
    return {"lora_down.weight": down, "lora_up.weight": up, "dora_scale": lengths}


@pytest.mark.parametrize("written", [as_difference, as_lokr, as_loha, as_dora])
def test_a_style_shows_in_whichever_way_it_is_written(
    written: Callable[..., dict[str, Tensor]], nano: DiffusionEngine, tmp_path: Path
) -> None:
    lora = next(lora for lora in LORAS if lora.info.id == "monochrome")
    numbers = {name: tensor.float() for name, tensor in load_file(lora.path).items()}
    layers = {name.removesuffix(".lora_A.weight") for name in numbers if name.endswith(".lora_A.weight")}
    weights, file = nano.model.parts["unet"].state_dict(), dict[str, Tensor]()
    for layer in layers:
        down, up = numbers[f"{layer}.lora_A.weight"], numbers[f"{layer}.lora_B.weight"]
        changed = written(down, up, weights[f"{layer.removeprefix('unet.')}.weight"].float())
        file |= {f"{layer}.{name}": tensor for name, tensor in changed.items()}
    save_file(file, tmp_path / "grey.safetensors")
    grey = replace(lora, path=tmp_path / "grey.safetensors")
    picture = paint(nano, PROMPT, adapters=(grey,), loras=(LoraUse(lora.info.id, 1.0),))[0]
    assert colourfulness(picture) < 0.5 * colourfulness(paint(nano, PROMPT)[0])
    # Numbers in another order of the same sums: 1 of 255 measured.
    assert np.abs(picture.astype(int) - styled(nano, PROMPT, monochrome=1.0)).max() <= 3


def test_a_prompt_names_loras(nano: DiffusionEngine) -> None:
    named = paint(nano, f"{PROMPT} <lora:monochrome:0.8>", adapters=LORAS)[0]
    assert np.array_equal(named, styled(nano, f"{PROMPT} ", monochrome=0.8))
    assert colourfulness(named) < 0.7 * colourfulness(styled(nano, PROMPT))
    named = paint(nano, f"{PROMPT} <lora:monochrome:0.8><lora:framed>", adapters=LORAS)[0]
    assert np.array_equal(named, styled(nano, f"{PROMPT} ", monochrome=0.8, framed=1.0))
