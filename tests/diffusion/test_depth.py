"""Depth by a model of the user's: against transformers' own classes, on small random ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scumble.diffusion import engine as engine_module
from scumble.diffusion.contents import read_contents
from scumble.diffusion.depth import estimate_depth
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.models.examine import examine
from scumble.protocol.errors import ModelMissing, ModelUnreadable
from scumble.protocol.messages import Control
from transformers import (
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTForSemanticSegmentation,
    DPTImageProcessorPil,
)

from .test_engine import CPU, WHOLE, Log, picture, plan
from .tiny import make_sd1_folder
from .tiny_adapters import make_control, write_control

NARROW: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4}
DPT = DPTConfig(
    **NARROW,
    intermediate_size=37,
    image_size=32,
    patch_size=16,
    backbone_out_indices=[0, 1, 2, 3],
    neck_hidden_sizes=[16, 16, 32, 32],
    fusion_hidden_size=16,
    num_labels=1,
)


def depth_anything(kind: str = "relative") -> Any:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = Dinov2Config(
        **NARROW, mlp_ratio=2, image_size=28, patch_size=14, out_features=stages, reshape_hidden_states=False
    )
    return DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=backbone,
            patch_size=14,
            reassemble_hidden_size=32,
            neck_hidden_sizes=[8, 8, 16, 16],
            fusion_hidden_size=8,
            head_hidden_size=8,
            depth_estimation_type=kind,
            **({"max_depth": 20} if kind == "metric" else {}),
        )
    )


def write(folder: Path, model: Any, **settings: Any) -> Adapter:
    """As published, and what the store says of it; `settings` are those of the preprocessor."""
    model.save_pretrained(folder)
    if settings:
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    found = examine(folder / "model.safetensors")
    assert isinstance(found, Adapter)
    assert (found.info.kind, found.info.name) == ("depth", folder.name)
    return found


@pytest.fixture(autouse=True)
def same_weights() -> None:
    torch.manual_seed(3)


def wide() -> Pixels:
    return picture(4)[:40, :60]


def expected(model: Any, processor: Any, invert: bool = False) -> Pixels:
    with torch.no_grad():
        values = processor(Image.fromarray(wide()), return_tensors="pt").pixel_values
        depth = model.eval()(values).predicted_depth[None]
    depth = 1 / depth if invert else depth
    depth = torch.nn.functional.interpolate(depth, (40, 60), mode="bicubic")[0, 0].numpy()
    return (depth - depth.min()) / (depth.max() - depth.min()) * 255


def test_depth_anything_at_the_size_that_it_was_trained_on(tmp_path: Path) -> None:
    model = depth_anything()
    processor = DPTImageProcessorPil(size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14)
    adapter = write(tmp_path / "near", model)
    config = adapter.path.with_name("config.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), "max_depth": None}))  # as some are published
    seen = estimate_depth(wide(), [adapter])
    assert (seen.shape, seen.dtype, seen.min(), seen.max()) == ((40, 60, 3), np.uint8, 0, 255)
    assert np.abs(seen[..., 0] - expected(model, processor)).max() <= 1


def test_dpt_as_its_preprocessor_says(tmp_path: Path) -> None:
    model = DPTForDepthEstimation(DPT)
    said = {"size": 32, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.2, 0.3], "image_processor_type": "?"}
    seen = estimate_depth(wide(), [write(tmp_path / "dpt", model, **said)])
    processor = DPTImageProcessorPil(
        size={"height": 32, "width": 32}, image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.2, 0.3]
    )
    assert np.abs(seen[..., 0] - expected(model, processor)).max() <= 1


def test_models_that_tell_metres_are_turned_round(tmp_path: Path) -> None:
    model = depth_anything("metric")
    processor = DPTImageProcessorPil(size={"height": 518, "width": 518}, keep_aspect_ratio=True, ensure_multiple_of=14)
    seen = estimate_depth(wide(), [write(tmp_path / "metres", model)])
    assert np.abs(seen[..., 0] - expected(model, processor, invert=True)).max() <= 1


def test_an_even_picture_has_no_depth_and_is_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from scumble.diffusion.depth import _stretched

    assert not _stretched(torch.full((3, 4), 7.0)).any()


def test_a_control_follows_it_through_the_first_that_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sd1_folder(tmp_path / "tiny")
    engine = DiffusionEngine(SD1.load(folder, identify(read_contents(folder)), CPU, tmp_path / "cache"), SD1)
    network = write_control(tmp_path / "net", make_control(engine.model.parts["unet"]))
    near = write(tmp_path / "near", depth_anything())
    hint = np.dstack([picture(20), np.full((64, 64), 255, np.uint8)])

    def paint(*adapters: Adapter, preprocessor: Any = "depth", pixels: Pixels = hint) -> Pixels:
        made = plan(controls=(Control(network.info.id, WHOLE, preprocessor),), steps=2, count=2)
        return engine.generate(replace(made, adapters=(network, *adapters), controls=(pixels,)), Log())[0]

    estimated: list[int] = []
    real = estimate_depth
    monkeypatch.setattr(engine_module, "estimate_depth", lambda *a: estimated.append(1) or real(*a))
    gone = replace(near, path=tmp_path / "gone" / "model.safetensors")
    painted = paint(gone, near)
    map_of_depth = np.dstack([real(hint[..., :3], [near]), hint[..., 3]])
    np.testing.assert_array_equal(painted, paint(preprocessor="none", pixels=map_of_depth))
    assert len(estimated) == 1  # for both pictures
    assert not np.array_equal(painted, paint(preprocessor="none"))
    engine = DiffusionEngine(engine.model, SD1)
    with pytest.raises(ModelMissing, match="needs a depth model") as caught:
        paint(gone)
    assert "models pull depth-anything" in caught.value.hint


def test_what_cannot_be_read_is_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    near = write(tmp_path / "near", depth_anything())
    config = near.path.with_name("config.json")
    told = json.loads(config.read_text())
    for changes in (
        {"model_type": "other"},
        {"backbone": "someone/else"},
        {"use_timm_backbone": True},
        {"neck_hidden_sizes": [8, 8, 16, 24]},
        {"fusion_hidden_size": "wide"},
        {"auto_map": {"AutoModel": "evil.Model"}, "model_type": "evil"},
    ):
        config.write_text(json.dumps({**told, **changes}))
        with pytest.raises(ModelUnreadable, match="depth model near cannot be read"):
            estimate_depth(wide(), [near])
    config.unlink()
    with pytest.raises(ModelUnreadable):
        estimate_depth(wide(), [near])


def test_those_that_name_what_they_see_are_no_depth_models(tmp_path: Path) -> None:
    config = DPTConfig(**{**DPT.to_dict(), "num_labels": 5})
    DPTForSemanticSegmentation(config).save_pretrained(tmp_path)
    with pytest.raises(ModelUnreadable):
        examine(tmp_path / "model.safetensors")
