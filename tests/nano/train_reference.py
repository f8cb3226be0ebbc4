"""Trains an IP-Adapter for nano-sd, whose weights stay as they are, and the image encoder by which it sees: what a caption
does not say of an object, its colour or its shape, another drawing shows."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from diffusers.models.attention_processor import IPAdapterAttnProcessor, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection
from safetensors.torch import save_file
from torch import Tensor
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from . import parts, sentences, world
from .data import SAID, Data, prepare
from .drawing import drawn, glimpses
from .fitting import Loss, fit
from .train_denoiser import Nano, Noiser, Reader, use_quick_attention

BATCH = {"cpu": 32, "cuda": 256}
"""While painting; twice as many while looking."""
RATE_LOOKING, RATE = 2e-3, 1e-3
SCENES = {"cpu": 10_000, "cuda": 50_000}
TOKENS = 4
"""Of a picture; loaders of IP-Adapters presume so many."""
LOOKING = 0.25
"""Share of the time in which encoder and projection learn to say what they see, before anything is painted."""
STILL_LOOKING = 0.02
"""What that counts for beside the painting afterwards."""
SHARP = 8
"""By how much one pair of colour and shape is likelier than another one that is further away by 1."""
COLOURED = 0.2
"""Share of the captions that say the colour."""
SILENT, BLIND, NEITHER = 0.1, 0.1, 0.05
"""Shares of the samples without their caption, without their reference, without both: for classifier-free guidance."""
_PAIRS = [pair for pair in itertools.product(world.COLOURS, world.SHAPES) if pair not in world.HELD_OUT]


@dataclass(frozen=True)
class Shown:
    """Of each scene of `data` two references (n, 2, 3, h, w), as the encoder takes them in: one of its object's colour and
    shape, for the first half of its captions, which do not say the shape; and one of its colour alone.

    pairs  (n, 2) which of the pairs of colour and shape they show
    words  (pairs, TOKENS, width) what is made of the words for a pair
    """

    data: Data
    references: Tensor
    pairs: Tensor
    words: Tensor

    def misread(self, tokens: Tensor, pairs: Tensor) -> Tensor:
        """(n,) how far what is made of pictures, (n, TOKENS, width), is from the words for their pairs (n,), and nearer to
        those for others: as CLIP learns to see."""
        apart = (tokens.float().flatten(1)[:, None] - self.words.flatten(1)).square().mean(2)
        return apart.gather(1, pairs[:, None])[:, 0] + F.cross_entropy(-SHARP * apart, pairs, reduction="none")


class Referring(torch.nn.Module):
    """What is trained. Keys and values begin as those of the text."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.encoder = parts.image_encoder()
        self.projection = ImageProjection(parts.SEEN, parts.WIDTH, TOKENS)
        self.attentions = torch.nn.ModuleList()
        on_cpu = unet.device.type == "cpu"  # see use_quick_attention
        self.encoder.set_attn_implementation("eager" if on_cpu else "sdpa")
        for name in _cross_attentions(unet):
            attention = unet.get_submodule(name)
            width, told = attention.to_k.weight.shape
            own = (IPAdapterAttnProcessor if on_cpu else IPAdapterAttnProcessor2_0)(width, told, num_tokens=(TOKENS,))
            own.to_k_ip[0].load_state_dict(attention.to_k.state_dict())
            own.to_v_ip[0].load_state_dict(attention.to_v.state_dict())
            self.attentions.append(own)
        self.to(unet.device)

    def put_on(self, unet: Any) -> None:
        for name, own in zip(_cross_attentions(unet), self.attentions, strict=True):
            unet.get_submodule(name).set_processor(own)

    def tokens(self, pictures: Tensor, blind: Tensor | None = None) -> Tensor:
        """(n, TOKENS, width) of pictures (n, 3, h, w); of zeros for those that are `blind` (n,), as Scumble has it on the
        side without the prompt."""
        whole = self.encoder(pictures.float()).image_embeds
        if blind is not None:
            whole = whole * ~blind[:, None]
        tokens: Tensor = self.projection(whole)
        return tokens

    def save(self, folder: Path) -> None:
        """As h94/IP-Adapter is: the adapter, and image_encoder/ beside it."""
        self.half().cpu()
        self.encoder.save_pretrained(folder / "image_encoder")
        state = self.projection.state_dict()
        tensors = {f"image_proj.{name.replace('image_embeds', 'proj')}": tensor for name, tensor in state.items()}
        for index, own in enumerate(self.attentions):
            for part, linear in (("k", own.to_k_ip[0]), ("v", own.to_v_ip[0])):
                tensors[f"ip_adapter.{2 * index + 1}.to_{part}_ip.weight"] = linear.weight.detach()
        save_file(tensors, folder / "ip-adapter.safetensors")


def train(model: Nano, vae: AutoencoderKL, folder: Path, minutes: float, seed: int = 4) -> None:
    """Writes the folder (`Referring.save`)."""
    torch.manual_seed(seed)
    model.requires_grad_(False).eval()
    use_quick_attention(vae.device, model.unet, model.text)
    shown = _prepare(model, vae, seed)
    referring = fit(Referring(model.unet), _look(shown), LOOKING * minutes, RATE_LOOKING)
    referring.requires_grad_(True).put_on(model.unet)
    fit(referring, _paint(model, shown), (1 - LOOKING) * minutes, RATE).save(folder)


def _look(shown: Shown) -> Loss:
    def loss(referring: Any) -> tuple[Tensor, Tensor]:
        device = shown.references.device
        picked = shown.data.pick(2 * BATCH[device.type])
        slot = torch.randint(0, 2, picked.shape, device=device)
        with torch.autocast(device.type, torch.bfloat16):
            tokens = referring.tokens(shown.references[picked, slot])
        error = shown.misread(tokens, shown.pairs[picked, slot]).mean()
        return error, error

    return loss


def _paint(model: Nano, shown: Shown) -> Loss:
    data, device = shown.data, shown.references.device
    reader, noiser = Reader(device), Noiser(device)

    def loss(referring: Any) -> tuple[Tensor, Tensor]:
        sample = noiser.draw(data, BATCH[device.type])
        picked = sample.picked
        which = torch.randint(0, SAID, picked.shape, device=device)
        drop = torch.rand(picked.shape, device=device)
        silent, blind = drop < SILENT + NEITHER, (drop > SILENT) & (drop < SILENT + NEITHER + BLIND)
        captions = data.captions[picked, which].or_nothing(silent, reader.nothing[:, : sentences.LONGEST])
        slot = ((which >= SAID // 2) & ~silent).long()
        states, _ = reader.read(model.text, captions)
        with torch.autocast(device.type, torch.bfloat16):
            tokens = referring.tokens(shown.references[picked, slot], blind)
            output = model.unet(sample.noisy, sample.timesteps, (states, [tokens[:, None]])).sample
        error = F.mse_loss(output.float(), sample.velocity)
        misread = shown.misread(tokens, shown.pairs[picked, slot])
        return error + STILL_LOOKING * (misread * ~blind).mean(), error

    return loss


@torch.no_grad()
def _prepare(model: Nano, vae: AutoencoderKL, seed: int) -> Shown:
    device, rng = vae.device, random.Random(seed)
    scenes: list[world.Scene] = []
    while len(scenes) < SCENES[device.type]:
        scene = world.sample_scene(rng, 1)
        if scene.objects[0].weight == 1:
            scenes.append(scene)
    things = [thing for scene in scenes for thing in (scene.objects[0], _reshaped(scene.objects[0], rng))]
    said = [
        world.caption_without(scene, rng, colour=rng.random() < COLOURED, shape=place >= SAID // 2)
        for scene in scenes
        for place in range(SAID)
    ]
    vocabulary = sentences.vocabulary()
    words, _ = Reader(device).read(
        model.text, vocabulary([f"a {colour} {shape}" for colour, shape in _PAIRS]).to(device)
    )
    return Shown(
        replace(prepare(vae, scenes, seed), captions=vocabulary(said, sentences.LONGEST).unflatten(SAID).to(device)),
        _taken_in([world.another(thing, rng) for thing in things]).unflatten(0, (-1, 2)).to(device),
        torch.tensor([_PAIRS.index((thing.colour, thing.shape)) for thing in things]).unflatten(0, (-1, 2)).to(device),
        words[:, 1 : 1 + TOKENS],
    )


def _taken_in(scenes: list[world.Scene]) -> Tensor:
    """(n, 3, h, w) of drawings, normed as CLIP's image processors do it; half of the memory is enough."""
    pictures = torch.cat([torch.from_numpy(piece).permute(0, 3, 1, 2) for _, piece in drawn(scenes, glimpses)])
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (OPENAI_CLIP_MEAN, OPENAI_CLIP_STD))
    return ((pictures / 255 - mean) / deviation).half()


def _reshaped(thing: world.Object, rng: random.Random) -> world.Object:
    """One of any shape that training may show in its colour."""
    shapes = [shape for shape in world.SHAPES if (thing.colour, shape) not in world.HELD_OUT]
    return replace(thing, shape=rng.choice(shapes))


def _cross_attentions(unet: Any) -> list[str]:
    """In the order in which IP-Adapters number them."""
    return [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
