"""Control networks beside the denoiser: against the pipelines of diffusers, in parts of the steps, several at once."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    ControlNetModel,
    EulerAncestralDiscreteScheduler,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetInpaintPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
    StableDiffusionXLControlNetUnionPipeline,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from scumble.diffusion import unions
from scumble.diffusion.conditioning import Residuals
from scumble.diffusion.contents import read_contents
from scumble.diffusion.controls import ControlNets, _sum
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.families.sdxl import SDXL
from scumble.diffusion.prompts import Prompt, parse
from scumble.diffusion.steps import counts, numbered
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.editing.preprocess import preprocess
from scumble.protocol.errors import BadRequest, ModelMissing, ModelUnreadable
from scumble.protocol.geometry import Bounds
from scumble.protocol.messages import Control, Preprocessor

from .test_engine import CPU, WHOLE, Log, block, picture, plan
from .tiny import make_sd1_folder, make_sdxl_folder
from .tiny_adapters import make_control, make_union, original_control, write_adapter, write_control

Engines = Callable[[bool], DiffusionEngine]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    @cache
    def make(inpaint: bool) -> DiffusionEngine:
        path = make_sd1_folder(tmp_path_factory.mktemp("models") / "tiny", inpaint=inpaint)
        cache = tmp_path_factory.mktemp("cache")
        return DiffusionEngine(SD1.load(path, identify(read_contents(path)), CPU, cache), SD1)

    return make


@pytest.fixture
def engine(engines: Engines) -> DiffusionEngine:
    return engines(False)


@pytest.fixture(scope="module")
def networks(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> tuple[Adapter, Adapter]:
    unet = engines(False).model.parts["unet"]
    folder = tmp_path_factory.mktemp("controls")
    edges, depth = (
        write_control(folder / name, make_control(unet, seed)) for name, seed in (("edges", 0), ("depth", 1))
    )
    return edges, depth


def hint(seed: int = 20) -> Pixels:
    """(64, 64, 4) opaque pixels for a control that covers the canvas."""
    return np.dstack([picture(seed), np.full((64, 64), 255, np.uint8)])


def control(adapter: Adapter, **settings: Any) -> Control:
    return Control(adapter.info.id, WHOLE, **settings)


def paint(engine: DiffusionEngine, *uses: tuple[Adapter, Control, Pixels], **settings: Any) -> Pixels:
    request_controls = tuple(control for _, control, _ in uses)
    made = plan(controls=request_controls, **settings)
    made = replace(made, adapters=tuple(use[0] for use in uses), controls=tuple(use[2] for use in uses))
    return engine.generate(made, Log())[0]


# ---- the same picture as diffusers -----------------------------------------------------------------------------------

slow = partial(pytest.param, marks=pytest.mark.slow)
CASES: dict[str, tuple[Any, bool, dict[str, Any]]] = {
    "txt2img": (StableDiffusionControlNetPipeline, False, {}),
    "img2img": (StableDiffusionControlNetImg2ImgPipeline, False, {"mode": "img2img", "strength": 0.7}),
    "inpaint": (StableDiffusionControlNetInpaintPipeline, False, {"mask": block(), "strength": 0.7}),
    "inpaint weights": (StableDiffusionControlNetInpaintPipeline, True, {"mask": block(), "strength": 0.7}),
}


@pytest.mark.parametrize("case", ["inpaint weights", *(slow(case) for case in ("txt2img", "img2img", "inpaint"))])
def test_the_same_picture_as_the_pipelines_of_diffusers(
    case: str, engines: Engines, networks: tuple[Adapter, Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two networks, each with a weight and a part of the steps of its own."""
    kind, inpaint, settings = CASES[case]
    engine, steps = engines(inpaint), 6
    uses = [
        (networks[0], control(networks[0], weight=0.8, end=0.6), hint(20)),
        (networks[1], control(networks[1], weight=1.5, start=0.3), hint(21)),
    ]
    ours = paint(engine, *uses, steps=steps, **settings)
    others = [
        paint(engine, *others, steps=steps, **settings)
        for others in (
            (),
            [(adapter, replace(control, weight=1.0), pixels) for adapter, control, pixels in uses],
            [(adapter, replace(control, start=0.0, end=1.0), pixels) for adapter, control, pixels in uses],
            [(*uses[0][:2], hint(22)), uses[1]],
        )
    ]
    model: Any = engine.model
    # The pipelines draw the latents of the picture from around their mean; both are to have the mean.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    pipe = kind(
        vae=model._vae,
        text_encoder=model._text_encoder,
        tokenizer=model._tokenizer,
        unet=model._unet,
        controlnet=[ControlNetModel.from_pretrained(adapter.path.parent) for adapter in networks],
        scheduler=EulerAncestralDiscreteScheduler.from_config(model.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    hints = [Image.fromarray(pixels[..., :3]) for _, _, pixels in uses]
    given: dict[str, Any] = {"image": hints}
    if case != "txt2img":
        given = {"image": Image.fromarray(picture()), "control_image": hints, "strength": 0.7}
    if "mask" in settings:
        given["mask_image"] = Image.fromarray(block())
    theirs = pipe(
        prompt_embeds=model.encode_prompt(parse("a boat")).tokens,
        negative_prompt_embeds=model.encode_prompt(Prompt()).tokens,
        height=64,
        width=64,
        num_inference_steps=steps,
        guidance_scale=4.0,
        controlnet_conditioning_scale=[0.8, 1.5],
        control_guidance_start=[0.0, 0.3],
        control_guidance_end=[0.6, 1.0],
        generator=torch.Generator().manual_seed(5),
        output_type="np",
        **given,
    ).images[0]
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1
    # None of it would do: no control, other weights, all of the steps, another picture to follow.
    assert min(np.abs(ours.astype(int) - other).max() for other in others) > 2


@pytest.mark.parametrize("layout", ["folder", "single file"])
def test_a_network_that_sees_a_picture_as_a_whole(layout: str, engine: DiffusionEngine, tmp_path: Path) -> None:
    """Content shuffle: what it sees is added everywhere alike, and only where there is the prompt."""
    network = make_control(engine.model.parts["unet"])
    network.register_to_config(global_pool_conditions=layout == "folder")
    adapter = write_control(tmp_path / "whole", network)
    if layout == "single file":
        shuffle = tmp_path / "control_v11e_sd15_Shuffle.safetensors"
        adapter = write_adapter(shuffle, original_control(network), "control")
    network.register_to_config(global_pool_conditions=True)
    ours = paint(engine, (adapter, control(adapter), hint()))
    model: Any = engine.model
    pipe = StableDiffusionControlNetPipeline(
        vae=model._vae,
        text_encoder=model._text_encoder,
        tokenizer=model._tokenizer,
        unet=model._unet,
        controlnet=network,
        scheduler=EulerAncestralDiscreteScheduler.from_config(model.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        prompt_embeds=model.encode_prompt(parse("a boat")).tokens,
        negative_prompt_embeds=model.encode_prompt(Prompt()).tokens,
        image=Image.fromarray(hint()[..., :3]),
        height=64,
        width=64,
        num_inference_steps=3,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1
    plain = write_control(tmp_path / "plain", make_control(engine.model.parts["unet"]))
    assert np.abs(ours.astype(int) - paint(engine, (plain, control(plain), hint()))).max() > 2
    assert np.abs(ours.astype(int) - paint(engine)).max() > 2


@pytest.mark.slow
def test_the_same_picture_as_the_pipeline_of_sdxl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_sdxl_folder(tmp_path / "tiny")
    engine = DiffusionEngine(SDXL.load(folder, identify(read_contents(folder)), CPU, tmp_path / "cache"), SDXL)
    network = make_control(engine.model.parts["unet"])
    adapter = write_control(tmp_path / "edges", network, "sdxl")
    ours = paint(engine, (adapter, control(adapter, weight=0.7), hint()), steps=3)
    without = paint(engine, steps=3)
    pipe = StableDiffusionXLControlNetPipeline.from_pretrained(folder, controlnet=network, add_watermarker=False)
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(engine.model.scheduler_config)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        "a boat",
        image=Image.fromarray(hint()[..., :3]),
        num_inference_steps=3,
        guidance_scale=4.0,
        height=64,
        width=64,
        controlnet_conditioning_scale=0.7,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1
    assert np.abs(ours.astype(int) - without).max() > 8


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> tuple[DiffusionEngine, Path]:
    folder = make_sdxl_folder(tmp_path_factory.mktemp("models") / "tiny")
    identity, cache = identify(read_contents(folder)), tmp_path_factory.mktemp("cache")
    return DiffusionEngine(SDXL.load(folder, identity, CPU, cache), SDXL), folder


@pytest.mark.parametrize(("preprocessor", "kind"), [("canny", 3), ("soft_edges", 2)])
def test_one_network_for_several_kinds_is_told_the_kind(
    preprocessor: Preprocessor, kind: int, sdxl: tuple[DiffusionEngine, Path], tmp_path: Path
) -> None:
    """As the pipeline of diffusers that is made for them; taken for a plain network, it would paint something else."""
    engine, folder = sdxl
    network = make_union(engine.model.parts["unet"], kinds=8)
    single = write_adapter(tmp_path / "union.safetensors", network.state_dict(), "control", "sdxl")
    use = control(single, weight=0.7, preprocessor=preprocessor)
    ours = paint(engine, (single, use, hint()), steps=3)
    pipe = StableDiffusionXLControlNetUnionPipeline.from_pretrained(folder, controlnet=network, add_watermarker=False)
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(engine.model.scheduler_config)
    pipe.set_progress_bar_config(disable=True)
    theirs = pipe(
        "a boat",
        control_image=[Image.fromarray(preprocess(preprocessor, hint()[..., :3]))],
        control_mode=[kind],
        num_inference_steps=3,
        guidance_scale=4.0,
        height=64,
        width=64,
        controlnet_conditioning_scale=0.7,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1
    plain = ControlNetModel.from_config({**make_control(engine.model.parts["unet"]).config})
    plain.load_state_dict({k: v for k, v in network.state_dict().items() if k in plain.state_dict()})
    taken = write_adapter(tmp_path / "plain.safetensors", plain.state_dict(), "control", "sdxl")
    assert np.abs(ours.astype(int) - paint(engine, (taken, replace(use, id=taken.info.id), hint()), steps=3)).max() > 4


def test_its_attention_comes_whole_where_a_network_comes_layer_by_layer(
    sdxl: tuple[DiffusionEngine, Path], tmp_path: Path
) -> None:
    """What is read without a call must be its own: then it comes with it, as what is of a layer comes with that layer."""
    network = make_union(sdxl[0].model.parts["unet"], kinds=6)
    single = write_adapter(tmp_path / "union.safetensors", network.state_dict(), "control", "sdxl")
    loaded = ControlNets(sdxl[0].model).guide(control(single), single, picture()).network
    (attention,) = (module for module in loaded.modules() if isinstance(module, torch.nn.MultiheadAttention))
    own = {id(parameter) for parameter in attention.parameters(recurse=False)}
    assert {id(attention.in_proj_weight), id(attention.out_proj.weight), id(attention.out_proj.bias)} <= own


def ready_made(background: int, ink: tuple[int, int, int], share: float) -> Pixels:
    image = np.full((64, 64, 3), background, np.uint8)
    image[: round(64 * share)] = ink
    return image


@pytest.mark.parametrize(
    ("preprocessor", "image", "kinds", "kind"),
    [
        pytest.param("depth", ready_made(0, (255, 0, 0), 0.1), 6, unions.DEPTH, id="by its preprocessor"),
        pytest.param("blur", picture(1), 8, unions.TILE, id="tile"),
        pytest.param("blur", picture(1), 6, unions.SEGMENTS, id="tile, of a network that knows none"),
        pytest.param("none", ready_made(0, (255, 80, 0), 0.05), 6, unions.POSE, id="a pose"),
        pytest.param("none", ready_made(0, (255, 255, 255), 0.05), 6, unions.LINES, id="lines"),
        pytest.param("none", ready_made(60, (200, 200, 200), 0.5), 6, unions.DEPTH, id="depth"),
        pytest.param("none", ready_made(0, (0, 0, 0), 1), 6, unions.LINES, id="nothing"),
        pytest.param("none", picture(1), 8, unions.TILE, id="a picture"),
    ],
)
def test_the_kind_is_what_is_made_of_a_picture_or_what_it_looks_like(
    preprocessor: Preprocessor, image: Pixels, kinds: int, kind: int
) -> None:
    assert unions.kind_shown(preprocessor, image, kinds) == kind


# ---- what counts, and when -------------------------------------------------------------------------------------------


def test_a_weight_of_nothing_and_a_part_without_steps_change_nothing(
    engine: DiffusionEngine, networks: tuple[Adapter, Adapter]
) -> None:
    def painted(**settings: Any) -> Pixels:
        return paint(engine, (networks[0], control(networks[0], **settings), hint()), steps=4)

    plain = paint(engine, steps=4)
    np.testing.assert_array_equal(painted(weight=0.0), plain)
    np.testing.assert_array_equal(painted(start=0.3, end=0.45), plain)
    assert not np.array_equal(painted(weight=0.1), plain)


@pytest.mark.parametrize(
    ("start", "end", "steps"), [(0.0, 1.0, [0, 1, 2, 3]), (0.5, 1.0, [2, 3]), (0.0, 0.5, [0, 1]), (0.1, 0.9, [1, 2])]
)
def test_a_controlcounts_in_its_part_of_the_steps(start: float, end: float, steps: list[int]) -> None:
    part = Control("c", WHOLE, start=start, end=end)
    assert [step for step in range(4) if counts(part, step, 4)] == steps


def test_a_network_whose_file_was_replaced_is_read_anew(engine: DiffusionEngine, tmp_path: Path) -> None:
    unet = engine.model.parts["unet"]
    adapter = write_control(tmp_path / "edges", make_control(unet, 0))
    before = paint(engine, (adapter, control(adapter), hint()))
    write_control(tmp_path / "edges", make_control(unet, 7))
    os.utime(adapter.path, ns=(0, 0))
    assert not np.array_equal(before, paint(engine, (adapter, control(adapter), hint())))


def test_what_networks_add_is_added_up() -> None:
    total = Residuals((torch.tensor([1.0]), torch.tensor([2.0])), torch.tensor([3.0]))
    both = _sum(total, [torch.tensor([10.0]), torch.tensor([20.0])], torch.tensor([30.0]))
    assert ([each.item() for each in both.down], both.mid.item()) == ([11.0, 22.0], 33.0)


def test_a_timestep_that_comes_twice_is_the_first_of_both_steps() -> None:
    assert numbered(torch.tensor([9.0, 9.0, 3.0])) == {9.0: 0, 3.0: 2}


def test_what_the_network_is_shown_matters_and_the_order_does_not(
    engine: DiffusionEngine, networks: tuple[Adapter, Adapter]
) -> None:
    one, other = ((adapter, control(adapter), hint(20 + index)) for index, adapter in enumerate(networks))
    first = paint(engine, one, other)
    assert not np.array_equal(first, paint(engine, (*one[:2], hint(30)), other))
    assert np.abs(first.astype(int) - paint(engine, other, one)).max() <= 1  # sums, rounded in another order


def test_windows_of_a_picture_see_their_part_of_the_control(
    engine: DiffusionEngine, networks: tuple[Adapter, Adapter]
) -> None:
    guide = ControlNets(engine.model).guide(control(networks[0]), networks[0], picture(20))
    seen = guide.seen_through(Bounds(8, 16, 24, 32)).image
    expected = torch.from_numpy(picture(20)[16:48, 8:32]).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(seen, expected)


# ---- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("inpaint", "prefix"), [(False, "control_model."), (True, "control_model."), (False, "")])
def test_a_single_file_holds_the_same_network_as_the_folder(
    inpaint: bool, prefix: str, engines: Engines, networks: tuple[Adapter, Adapter], tmp_path: Path
) -> None:
    engine, (edges, _) = engines(inpaint), networks
    weights = original_control(ControlNetModel.from_pretrained(edges.path.parent))
    assert "control_model.input_hint_block.14.weight" in weights
    weights = {prefix + key.removeprefix("control_model."): tensor for key, tensor in weights.items()}
    single = write_adapter(tmp_path / "single.safetensors", weights, "control")
    theirs, ours = (paint(engine, (each, control(each), hint())) for each in (edges, single))
    assert (
        np.abs(ours.astype(int) - theirs).max() <= 1
    )  # the weights lie elsewhere in memory: other kernels, other roundings
    assert np.abs(ours.astype(int) - paint(engine)).max() > 8


@pytest.mark.parametrize(
    ("types", "layers"),
    [(("DownBlock2D",) * 3, 0), (("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), (0, 0, 1))],
    ids=["small", "mid"],
)
def test_a_single_file_of_a_smaller_network_is_read_off_its_names(
    types: tuple[str, ...], layers: Any, sdxl: tuple[DiffusionEngine, Path], tmp_path: Path
) -> None:
    """The small and mid networks of diffusers for SDXL, as they are passed on for other programs: without config.json."""
    engine, _ = sdxl
    config = make_control(engine.model.parts["unet"]).config
    assert len(types) == len(config["block_out_channels"])
    network = ControlNetModel.from_config({**config, "down_block_types": types, "transformer_layers_per_block": layers})
    for name, parameter in network.named_parameters():
        if "controlnet_" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    folder = write_control(tmp_path / "folder", network, "sdxl")
    single = write_adapter(tmp_path / "single.safetensors", network.state_dict(), "control", "sdxl")
    theirs, ours = (paint(engine, (each, control(each), hint()), steps=3) for each in (folder, single))
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert np.abs(ours.astype(int) - paint(engine, steps=3)).max() > 8


def test_a_network_is_read_once_and_kept(
    engine: DiffusionEngine, networks: tuple[Adapter, Adapter], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    real = ControlNetModel.from_config
    monkeypatch.setattr(ControlNetModel, "from_config", lambda config: read.append(config) or real(config))
    nets = ControlNets(engine.model)
    gc.collect()
    before = engine.bytes
    for adapter in (*networks, *networks):
        nets.guide(control(adapter), adapter, picture())
    assert len(read) == 2
    files = sum(adapter.path.stat().st_size for adapter in networks)  # float32 like the model
    assert 0 < files - (engine.bytes - before) < 200_000  # their headers
    del nets
    gc.collect()
    assert engine.bytes == before, "they go when nobody needs them"


def test_it_lies_where_and_as_the_model_does(networks: tuple[Adapter, Adapter], tmp_path: Path) -> None:
    path = make_sd1_folder(tmp_path / "tiny")
    device = Device("cpu", torch.bfloat16, channels_last=True)
    engine = DiffusionEngine(SD1.load(path, identify(read_contents(path)), device, tmp_path / "cache"), SD1)
    guide = ControlNets(engine.model).guide(control(networks[0]), networks[0], picture())
    assert guide.network.dtype == guide.image.dtype == torch.bfloat16
    assert guide.network.conv_in.weight.is_contiguous(memory_format=torch.channels_last)
    assert paint(engine, (networks[0], control(networks[0]), hint())).std() > 1


def test_what_cannot_be_used_is_named(
    engine: DiffusionEngine, networks: tuple[Adapter, Adapter], tmp_path: Path
) -> None:
    network = ControlNetModel.from_pretrained(networks[0].path.parent)
    wider = ControlNetModel.from_config({**network.config, "cross_attention_dim": 48})
    foreign = write_control(tmp_path / "foreign", wider)
    single = write_adapter(tmp_path / "single.safetensors", original_control(wider), "control")
    half = {key: tensor for key, tensor in original_control(network).items() if "zero_convs.3" not in key}
    damaged = write_adapter(tmp_path / "half.safetensors", half, "control")
    gone = replace(networks[0], path=tmp_path / "gone.safetensors")
    large = replace(networks[0], info=replace(networks[0].info, family="sdxl"))
    for adapter, error, words in (
        (foreign, BadRequest, "ControlNet foreign is made for another kind of model"),
        (single, BadRequest, "ControlNet single is made for another kind"),
        (large, BadRequest, "made for another kind"),
        (damaged, ModelUnreadable, "ControlNet half is damaged"),
        (gone, ModelMissing, "not here"),
    ):
        with pytest.raises(error, match=words):
            paint(engine, (adapter, control(adapter), hint()))
