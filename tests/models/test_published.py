"""Files as they are published: every name and shape of their headers, no data. Known by content, and every tensor in its
place once converted."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from scumble.diffusion.convert import from_original
from scumble.diffusion.families import sd1, sd2, sdxl
from scumble.diffusion.families.base import Identity
from scumble.diffusion.families.unet_model import _build, _configs
from scumble.models.examine import ModelFile, examine

from tests.diffusion.tiny import original_state

FAMILIES: dict[str, Any] = {"sd1": sd1, "sd2": sd2, "sdxl": sdxl}
PARTS = dict.fromkeys(FAMILIES, ("unet", "vae", "text_encoder")) | {
    "sdxl": ("unet", "vae", "text_encoder", "text_encoder_2")
}
TENSORS = {"sd1": 686 + 248 + 196, "sd2": 686 + 248 + 294, "sdxl": 1680 + 248 + 196 + 390}
"""Without the counts of positions, noise levels and averages that some of the files hold too."""


def full_size(family: str, inpaint: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Configurations and modules, without weights."""
    identity = Identity(family, "single", inpaint, "epsilon", 512)
    configs = _configs(Path(), identity, PARTS[family], FAMILIES[family].FILES)
    return dict(configs), _build(configs, PARTS[family])


def write_sparse(path: Path, state: dict[str, torch.Tensor], **metadata: str) -> Path:
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, tensor in state.items():
        first, end = end, end + 2 * tensor.numel()
        header[name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [first, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)  # takes no disk
    return path


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("inpaint", [False, True])
def test_a_published_file_is_known_and_every_tensor_finds_its_place(family: str, inpaint: bool, tmp_path: Path) -> None:
    configs, modules = full_size(family, inpaint)
    state = original_state(family, modules)
    assert len(state) == TENSORS[family]
    file = examine(write_sparse(tmp_path / "model.safetensors", state))
    assert isinstance(file, ModelFile)
    assert (file.info.family, file.info.inpaint) == (family, inpaint)
    assert file.info.native == {"sd1": 512, "sd2": 512 if inpaint else 768, "sdxl": 1024}[family]
    converted = from_original(state, configs)
    for name, module in modules.items():
        shapes = {key: value.shape for key, value in module.state_dict().items()}
        assert {key: value.shape for key, value in converted[name].items() if key in shapes} == shapes


@pytest.mark.parametrize(
    ("name", "metadata", "settings"),
    [
        ("sd_xl_base_1.0", {}, (1024, 20, 7.0, "dpmpp_2m_karras")),
        pytest.param("sdxl_lightning_8step", {}, (1024, 8, 1.0, "euler"), marks=pytest.mark.slow),
        ("sd_xl_turbo_1.0_fp16", {}, (512, 4, 1.0, "euler")),
        pytest.param(
            "my-own",
            {"modelspec.resolution": "768x1344"},
            (1024, 20, 7.0, "dpmpp_2m_karras"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_settings_that_suit_it_reach_the_list(
    name: str, metadata: dict[str, str], settings: tuple[Any, ...], tmp_path: Path
) -> None:
    state = original_state("sdxl", full_size("sdxl", False)[1])
    file = examine(write_sparse(tmp_path / f"{name}.safetensors", state, **metadata))
    assert isinstance(file, ModelFile)
    assert (file.info.native, file.info.steps, file.info.guidance, file.info.sampler) == settings
