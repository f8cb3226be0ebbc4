"""IP-Adapters beside the prompt: against the pipelines of diffusers, in parts of the steps, several at once, taken off."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import (
    EulerAncestralDiscreteScheduler,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from PIL import Image
from safetensors.torch import load_file
from scumble.diffusion.contents import read_contents
from scumble.diffusion.device import Device
from scumble.diffusion.engine import DiffusionEngine
from scumble.diffusion.families import identify
from scumble.diffusion.families.sd1 import SD1
from scumble.diffusion.families.sdxl import SDXL
from scumble.diffusion.prompts import Prompt, parse
from scumble.diffusion.vision import Vision
from scumble.editing.adapters import Adapter
from scumble.editing.plan import Pixels
from scumble.protocol.errors import BadRequest, ModelMissing, ModelUnreadable
from scumble.protocol.geometry import Size
from scumble.protocol.messages import AdapterInfo, Control, LoraUse, Reference

from .test_engine import CPU, WHOLE, Log, block, picture, plan
from .tiny import make_sd1_folder, make_sdxl_folder
from .tiny_adapters import lora_tensors, make_control, make_vision, reference_tensors, write_adapter, write_control

Engines = Callable[[bool], DiffusionEngine]
Use = tuple[Adapter, Reference, Pixels]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Engines:
    @cache
    def make(xl: bool) -> DiffusionEngine:
        folder, kept = tmp_path_factory.mktemp("models") / "tiny", tmp_path_factory.mktemp("cache")
        path = make_sdxl_folder(folder) if xl else make_sd1_folder(folder)
        family: Any = SDXL if xl else SD1
        return DiffusionEngine(family.load(path, identify(read_contents(path)), CPU, kept), family)

    return make


@pytest.fixture
def engine(engines: Engines) -> DiffusionEngine:
    return engines(False)


@pytest.fixture(scope="module")
def published(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as h94/IP-Adapter is: image_encoder/, and two adapters for each kind of model."""
    folder = tmp_path_factory.mktemp("ip-adapter")
    make_vision(folder / "image_encoder")
    for xl in (False, True):
        unet = engines(xl).model.parts["unet"]
        for plus in (False, True):
            name = f"{'sdxl' if xl else 'sd1'}{'-plus' if plus else ''}.safetensors"
            write_adapter(folder / name, reference_tensors(unet, plus, seed=int(plus)), "reference")
    return folder


@pytest.fixture
def vision(published: Path) -> Adapter:
    return known(published, "image_encoder/model", "vision")


def known(folder: Path, name: str, kind: Any = "reference") -> Adapter:
    path = folder / f"{name}.safetensors"
    return Adapter(AdapterInfo(f"{kind}-{name}", path.stem, kind, "", path.stat().st_size), path)


def seen(seed: int = 30, height: int = 40, width: int = 56) -> Pixels:
    """(h, w, 4) opaque pixels of a picture that is no square."""
    return np.dstack([picture(seed)[:height, :width], np.full((height, width), 255, np.uint8)])


def use(adapter: Adapter, pixels: Pixels | None = None, **settings: Any) -> Use:
    pixels = seen() if pixels is None else pixels
    return adapter, Reference(adapter.info.id, Size(pixels.shape[1], pixels.shape[0]), **settings), pixels


def paint(engine: DiffusionEngine, uses: list[Use], *others: Adapter, **settings: Any) -> Pixels:
    made = plan(references=tuple(reference for _, reference, _ in uses), **settings)
    adapters = (*others, *dict.fromkeys(adapter for adapter, _, _ in uses))
    made = replace(made, adapters=adapters, references=tuple(pixels for _, _, pixels in uses))
    return engine.generate(made, Log())[0]


def apart(one: Pixels, other: Pixels) -> int:
    return int(np.abs(one.astype(int) - other).max())


# ---- the same picture as diffusers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["plain", "plus", "both", "img2img", "without guidance"])
def test_the_same_picture_as_the_pipelines_of_diffusers(
    case: str, engine: DiffusionEngine, published: Path, vision: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"plus": ["sd1-plus"], "both": ["sd1", "sd1-plus"]}.get(case, ["sd1"])
    weights = [0.8, 0.5][: len(names)]
    guidance = 1.0 if case == "without guidance" else 4.0
    settings: dict[str, Any] = {"steps": 4, "guidance": guidance}
    given: dict[str, Any] = {"height": 64, "width": 64}
    if case == "img2img":
        settings |= {"mode": "img2img", "strength": 0.75}
        given = {"image": Image.fromarray(picture()), "strength": 0.75}
    uses = [
        use(known(published, name), seen(30 + index), weight=weight)
        for index, (name, weight) in enumerate(zip(names, weights, strict=True))
    ]
    ours = paint(engine, uses, vision, **settings)
    others = [
        paint(engine, [], **settings),
        paint(
            engine, [(adapter, replace(each, weight=2.0), pixels) for adapter, each, pixels in uses], vision, **settings
        ),
        paint(
            engine, [(adapter, each, np.full_like(pixels, 255)) for adapter, each, pixels in uses], vision, **settings
        ),
    ]
    model: Any = engine.model
    # The pipelines draw the latents of the picture from around their mean; both are to have the mean.
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mean)
    kind: Any = StableDiffusionImg2ImgPipeline if case == "img2img" else StableDiffusionPipeline
    pipe = kind(
        vae=model._vae,
        text_encoder=model._text_encoder,
        tokenizer=model._tokenizer,
        unet=type(model._unet).from_config(model._unet.config),
        scheduler=EulerAncestralDiscreteScheduler.from_config(model.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.unet.load_state_dict(model._unet.state_dict())
    pipe.unet.eval()
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(str(published), subfolder="", weight_name=[f"{name}.safetensors" for name in names])
    pipe.set_ip_adapter_scale(weights)
    theirs = pipe(
        prompt_embeds=model.encode_prompt(parse("a boat")).tokens,
        negative_prompt_embeds=model.encode_prompt(Prompt()).tokens,
        ip_adapter_image=[Image.fromarray(pixels[..., :3]) for _, _, pixels in uses],
        num_inference_steps=4,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
        **given,
    ).images[0]
    assert apart(ours, (theirs * 255).round().astype(int)) <= 1
    # None of it would do: no reference, other weights, another picture.
    assert min(apart(ours, other) for other in others) > 2


@pytest.mark.parametrize("name", ["sdxl", "sdxl-plus"])
def test_the_same_picture_as_the_pipeline_of_sdxl(
    name: str, engines: Engines, published: Path, vision: Adapter, tmp_path: Path
) -> None:
    engine = engines(True)
    ours = paint(engine, [use(known(published, name), weight=0.7)], vision, steps=3)
    without = paint(engine, [], steps=3)
    # The very weights, made anew by the same seed.
    pipe = StableDiffusionXLPipeline.from_pretrained(make_sdxl_folder(tmp_path / "tiny"), add_watermarker=False)
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(engine.model.scheduler_config)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(str(published), subfolder="", weight_name=f"{name}.safetensors")
    pipe.set_ip_adapter_scale(0.7)
    theirs = pipe(
        "a boat",
        ip_adapter_image=Image.fromarray(seen()[..., :3]),
        num_inference_steps=3,
        guidance_scale=4.0,
        height=64,
        width=64,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    ).images[0]
    assert apart(ours, (theirs * 255).round().astype(int)) <= 1
    assert apart(ours, without) > 2


# ---- what counts, and when -------------------------------------------------------------------------------------------


def test_a_weight_of_nothing_a_part_without_steps_and_one_taken_off_leave_the_base_bytes(
    engine: DiffusionEngine, published: Path, vision: Adapter
) -> None:
    adapter = known(published, "sd1")
    plain = paint(engine, [], steps=4)
    used = paint(engine, [use(adapter)], vision, steps=4)
    assert apart(used, plain) > 8
    np.testing.assert_array_equal(paint(engine, [use(adapter, weight=0.0)], steps=4), plain)
    np.testing.assert_array_equal(paint(engine, [use(adapter, start=0.3, end=0.45)], vision, steps=4), plain)
    np.testing.assert_array_equal(paint(engine, [], steps=4), plain)
    np.testing.assert_array_equal(paint(engine, [use(adapter)], vision, steps=4), used)
    halves = [paint(engine, [use(adapter, start=a, end=b)], vision, steps=4) for a, b in ((0.0, 0.5), (0.5, 1.0))]
    assert len({each.tobytes() for each in (plain, used, *halves)}) == 4


def test_each_of_several_counts_by_its_weight(engine: DiffusionEngine, published: Path, vision: Adapter) -> None:
    plain, plus = known(published, "sd1"), known(published, "sd1-plus")
    one, other = use(plain, seen(30), weight=0.6), use(plus, seen(31), weight=0.6)
    both = paint(engine, [one, other], vision)
    assert apart(both, paint(engine, [other, one], vision)) <= 1  # sums, rounded in another order
    assert min(apart(both, paint(engine, [each], vision)) for each in (one, other)) > 2
    # Two pictures through one adapter are weighed apart, and twice the same is twice the weight.
    twice = paint(engine, [use(plain, weight=0.4), use(plain, weight=0.4)], vision)
    assert apart(twice, paint(engine, [use(plain, weight=0.8)], vision)) <= 1


def test_beside_loras_controls_masks_regions_and_several_pictures(
    engine: DiffusionEngine, published: Path, vision: Adapter, tmp_path: Path
) -> None:
    unet = engine.model.parts["unet"]
    lora = write_adapter(tmp_path / "ink.safetensors", lora_tensors({"unet": unet}, alpha=4.0))
    network = write_control(tmp_path / "edges", make_control(unet))
    made = plan(
        mask=block(),
        strength=0.7,
        count=2,
        loras=(LoraUse(lora.info.id),),
        controls=(Control(network.info.id, WHOLE),),
    )
    hint = np.dstack([picture(20), np.full((64, 64), 255, np.uint8)])
    made = replace(made, adapters=(lora, network, vision), controls=(hint,))
    without = engine.generate(made, Log())
    adapter, reference, pixels = use(known(published, "sd1"))
    request = replace(made.request, references=(reference,))
    made = replace(made, request=request, adapters=(*made.adapters, adapter), references=(pixels,))
    pictures = engine.generate(made, Log())
    assert min(apart(one, other) for one, other in zip(pictures, without, strict=True)) > 2
    alone = engine.generate(replace(made, request=replace(request, count=1, seed=6)), Log())
    np.testing.assert_array_equal(pictures[1], alone[0])
    thrifty = engine.generate(made, Log(), thrifty=True)
    assert apart(thrifty[0], pictures[0]) <= 1  # with and without the prompt one after the other
    np.testing.assert_array_equal(engine.generate(made, Log())[0], pictures[0])


# ---- what is seen, and by what ---------------------------------------------------------------------------------------


def test_a_picture_is_looked_at_once_and_the_encoder_does_not_stay(
    engine: DiffusionEngine, published: Path, vision: Adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bool] = []
    real = Vision.look
    monkeypatch.setattr(Vision, "look", lambda self, image: looked.append(image is None) or real(self, image))
    opened: list[weakref.ref[Vision]] = []
    begin = Vision.__init__
    monkeypatch.setattr(
        Vision, "__init__", lambda self, *those: opened.append(weakref.ref(self)) or begin(self, *those)
    )
    for _ in range(2):
        paint(engine, [use(known(published, "sd1-plus"), seen(60)), use(known(published, "sd1"), seen(61))], vision)
    assert looked.count(False) == 2
    assert looked.count(True) <= 1
    assert [each() for each in opened] == [None]
    held = engine.references.bytes
    assert 0 < held < sum(path.stat().st_size for path in published.glob("*.safetensors"))


def test_a_single_file_of_the_encoder_is_read_like_its_folder(
    engine: DiffusionEngine, vision: Adapter, tmp_path: Path
) -> None:
    """That of ViT-H by its shapes alone, and its weights beside those of a text encoder."""
    from scumble.diffusion import vision as module

    patches = {"vision_model.embeddings.patch_embedding.weight": (1280, 3, 14, 14)}
    layers = {f"vision_model.encoder.layers.{layer}.layer_norm1.weight": (1280,) for layer in range(32)}
    shapes = {
        **patches,
        **layers,
        "vision_model.embeddings.position_embedding.weight": (257, 1280),
        "vision_model.encoder.layers.0.mlp.fc1.weight": (5120, 1280),
        "visual_projection.weight": (1024, 1280),
        "text_model.encoder.layers.0.layer_norm1.weight": (1024,),
    }
    config = module.config_of(shapes)
    # https://huggingface.co/h94/IP-Adapter/blob/main/models/image_encoder/config.json
    assert (config.hidden_size, config.intermediate_size, config.projection_dim) == (1280, 5120, 1024)
    assert (config.num_hidden_layers, config.num_attention_heads, config.hidden_act) == (32, 16, "gelu")
    assert (config.image_size, config.patch_size, config.layer_norm_eps) == (224, 14, 1e-5)
    lone = tmp_path / "seer.safetensors"
    lone.write_bytes(vision.path.read_bytes())
    with pytest.raises(ModelUnreadable, match="size that Scumble does not know"):
        Vision(Adapter(vision.info, lone), engine.model)


def test_of_several_encoders_the_one_that_fits_and_lies_nearest_is_taken(
    engine: DiffusionEngine, published: Path, vision: Adapter, tmp_path: Path
) -> None:
    far = make_vision(tmp_path / "other", seed=9)
    small = Adapter(replace(vision.info, id="small"), tmp_path / "small" / "model.safetensors")
    tensors = load_file(vision.path)
    tensors["visual_projection.weight"] = tensors["visual_projection.weight"][:20].clone()
    write_adapter(small.path, tensors)
    expected = paint(engine, [use(known(published, "sd1"))], vision)
    np.testing.assert_array_equal(paint(engine, [use(known(published, "sd1"))], small, far, vision), expected)
    assert apart(paint(engine, [use(known(published, "sd1"))], far), expected) > 2


def test_it_lies_where_and_as_the_model_does(published: Path, vision: Adapter, tmp_path: Path) -> None:
    path = make_sd1_folder(tmp_path / "tiny")
    device = Device("cpu", torch.bfloat16, channels_last=True)
    engine = DiffusionEngine(SD1.load(path, identify(read_contents(path)), device, tmp_path / "cache"), SD1)
    assert paint(engine, [use(known(published, "sd1-plus"))], vision).std() > 1


def test_what_cannot_be_used_is_named(
    engine: DiffusionEngine, engines: Engines, published: Path, vision: Adapter, tmp_path: Path
) -> None:
    plain = paint(engine, [], steps=2)
    tensors = load_file(published / "sd1.safetensors")
    half = {name: tensor for name, tensor in tensors.items() if "ip_adapter.5" not in name}
    damaged = write_adapter(tmp_path / "half.safetensors", half, "reference")
    gone = replace(damaged, path=tmp_path / "gone.safetensors")
    large = known(published, "sdxl")
    for adapter, others, error, words in (
        (large, [vision], BadRequest, "IP-Adapter sdxl is made for another kind of model"),
        (replace(large, info=replace(large.info, family="sdxl")), [vision], BadRequest, "another kind"),
        (damaged, [vision], ModelUnreadable, "IP-Adapter half is damaged"),
        (gone, [vision], ModelMissing, "not here"),
        (known(published, "sd1"), [], ModelMissing, "needs an image encoder"),
    ):
        with pytest.raises(error, match=words):
            paint(engine, [use(adapter)], *others)
    np.testing.assert_array_equal(paint(engine, [], steps=2), plain)
