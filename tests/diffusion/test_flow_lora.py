"""LoRAs of FLUX.2 klein and Z-Image, under the names that trainers give to layers, against diffusers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scumble.diffusion.adapters import Loras
from scumble.diffusion.contents import read_contents
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import find_family, identify
from scumble.editing.adapters import Adapter
from scumble.protocol.errors import BadRequest, ModelUnreadable, OutOfMemory
from scumble.protocol.messages import LoraUse
from torch import Tensor, nn

from .test_engine import CPU, Log, plan
from .test_flow import MAKE, PIPELINES, assert_same_picture, every_family, painted_by, pipeline
from .tiny_adapters import RANK, write_adapter

SETTINGS: dict[str, Any] = {"prompt": "a boat", "sampler": "euler", "guidance": 1.0}
_ORIGINAL = (
    (r"single_transformer_blocks\.(\d+)\.attn\.to_qkv_mlp_proj", r"single_blocks.\1.linear1"),
    (r"single_transformer_blocks\.(\d+)\.attn\.to_out", r"single_blocks.\1.linear2"),
    (r"transformer_blocks\.(\d+)\.attn\.to_out\.0", r"double_blocks.\1.img_attn.proj"),
    (r"transformer_blocks\.(\d+)\.attn\.to_add_out", r"double_blocks.\1.txt_attn.proj"),
    (r"transformer_blocks\.(\d+)\.ff\.linear_in", r"double_blocks.\1.img_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff\.linear_out", r"double_blocks.\1.img_mlp.2"),
    (r"transformer_blocks\.(\d+)\.ff_context\.linear_in", r"double_blocks.\1.txt_mlp.0"),
    (r"transformer_blocks\.(\d+)\.ff_context\.linear_out", r"double_blocks.\1.txt_mlp.2"),
)
"""The names of diffusers -> those of Black Forest Labs."""


def trained(transformer: nn.Module) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> two random matrices. Queries, keys and values of one attention share the first, as where they are trained as
    one matrix."""
    random = torch.Generator().manual_seed(0)
    shared: dict[str, Tensor] = {}
    matrices = {}
    for name, layer in transformer.named_modules():
        if isinstance(layer, nn.Linear) and ("blocks." in name or re.match(r"(layers|\w+_refiner)\.", name)):
            is_one = re.search(r"\.(to_[qkv]|add_[qkv]_proj)$", name)
            down = torch.randn(RANK, layer.in_features, generator=random) * 0.4
            if is_one:
                down = shared.setdefault(name[: is_one.start()] + is_one[1][:2], down)
            matrices[name] = down, torch.randn(layer.out_features, RANK, generator=random) * 0.4
    assert len(matrices) > 8
    return matrices


def original(matrices: dict[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    renamed = {}
    for name, (down, up) in matrices.items():
        if match := re.fullmatch(r"transformer_blocks\.(\d+)\.attn\.(?:to_q|add_q_proj)", name):
            side = "img" if name.endswith("to_q") else "txt"
            three = [
                name[:-1] + letter if side == "img" else name.replace("q_proj", f"{letter}_proj") for letter in "qkv"
            ]
            stacked = torch.cat([matrices[each][1] for each in three])
            renamed[f"double_blocks.{match[1]}.{side}_attn.qkv"] = down, stacked
        for pattern, name_there in _ORIGINAL:
            if re.fullmatch(pattern, name):
                renamed[re.sub(pattern, name_there, name)] = down, up
    return renamed


def tensors(layout: str, family: str, matrices: dict[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """As diffusers, AI Toolkit (and ComfyUI) and kohya's scripts write them."""
    if layout != "diffusers" and family == "flux2":
        matrices = original(matrices)
    written = {}
    for name, (down, up) in matrices.items():
        if layout == "kohya":
            stem = "lora_unet_" + name.replace(".", "_")
            written |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up * 2}
            written[f"{stem}.alpha"] = torch.tensor(RANK / 2)
        else:
            stem = f"{'transformer' if layout == 'diffusers' else 'diffusion_model'}.{name}"
            written |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    return {name: tensor.clone() for name, tensor in written.items()}  # files hold each by itself


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {family: make(tmp_path_factory.mktemp("models") / family) for family, make in MAKE.items()}


@pytest.fixture
def engine(family: str, folders: dict[str, Path], tmp_path: Path) -> DiffusionEngine:
    identity = identify(read_contents(folders[family]))
    assert identity is not None
    return DiffusionEngine(find_family(family).load(folders[family], identity, CPU, tmp_path), find_family(family))


def painted(engine: DiffusionEngine, *uses: tuple[Adapter, float], prompt: str = "a boat") -> Any:
    """Those of weight 0 are there, and are named by the prompt alone."""
    loras = tuple(LoraUse(adapter.info.id, weight) for adapter, weight in uses if weight)
    made = replace(plan(**SETTINGS | {"prompt": prompt}, loras=loras), adapters=tuple(adapter for adapter, _ in uses))
    return engine.generate(made, Log())[0]


@every_family
@pytest.mark.parametrize("layout", ["diffusers", "ai-toolkit", "kohya"])
def test_a_lora_does_what_diffusers_does_with_it(
    family: str, layout: str, folders: dict[str, Path], engine: DiffusionEngine, tmp_path: Path
) -> None:
    matrices = trained(engine.model.parts["transformer"])
    style = write_adapter(tmp_path / "a.safetensors", tensors(layout, family, matrices))
    pipe = pipeline(PIPELINES[family], folders[family])
    pipe.load_lora_weights(str(style.path), adapter_name="a")
    pipe.set_adapters("a", 0.7)
    theirs = painted_by(pipe)
    plain = painted(engine)
    ours = painted(engine, (style, 0.7))
    assert_same_picture(ours, theirs)
    assert np.abs(ours.astype(int) - plain.astype(int)).mean() > 2
    np.testing.assert_array_equal(painted(engine), plain)
    np.testing.assert_array_equal(painted(engine, (style, 0.0), prompt="a boat <lora:a:0.7>"), ours)
    np.testing.assert_array_equal(painted(engine, (style, 0.0), prompt="a boat <lora:a:0>"), plain)


@every_family
def test_every_layout_holds_the_same_lora(family: str, engine: DiffusionEngine, tmp_path: Path) -> None:
    matrices = trained(engine.model.parts["transformer"])
    first, *others = (
        painted(engine, (write_adapter(tmp_path / f"{layout}.safetensors", tensors(layout, family, matrices)), 1.0))
        for layout in ("diffusers", "ai-toolkit", "kohya")
    )
    for other in others:
        np.testing.assert_array_equal(other, first)


@every_family
def test_a_lora_that_is_made_for_something_else_is_refused(
    family: str, engine: DiffusionEngine, tmp_path: Path
) -> None:
    plain = painted(engine)
    wide, kohya = torch.zeros(RANK, 5), "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
    for number, (down, up) in enumerate(
        [
            (f"{kohya}.lora_down.weight", f"{kohya}.lora_up.weight"),
            *((f"{prefix}.blocks.0.attn.q.lora_A.weight", f"{prefix}.blocks.0.attn.q.lora_B.weight")
              for prefix in ("diffusion_model", "transformer")),
        ]
    ):  # fmt: skip
        other = write_adapter(tmp_path / f"{number}.safetensors", {down: wide, up: wide.T.contiguous()})
        with pytest.raises(BadRequest, match="another kind"):
            painted(engine, (other, 1.0))
    name = "transformer.layers.0.attention.to_q"
    dora = {f"{name}.lora_A.weight": wide, f"{name}.lora_B.weight": wide.T.contiguous(), f"{name}.dora_scale": wide + 1}
    with pytest.raises(ModelUnreadable, match="DoRA"):
        painted(engine, (write_adapter(tmp_path / "dora.safetensors", dora), 1.0))
    np.testing.assert_array_equal(painted(engine), plain)


@pytest.mark.parametrize("family", ["z_image"])
def test_a_lora_for_which_memory_runs_out_is_not_taken_for_one_of_another_kind(
    engine: DiffusionEngine, tmp_path: Path
) -> None:
    def rename(tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        raise MemoryError

    parts = engine.model.parts
    style = write_adapter(tmp_path / "a.safetensors", tensors("kohya", "z_image", trained(parts["transformer"])))
    with pytest.raises(OutOfMemory):
        Loras(parts, rename=rename).use([(style, 1.0)])
