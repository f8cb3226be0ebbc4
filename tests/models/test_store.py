"""The store of models over small real models: found, identified, named, remembered, taken off."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scumble.diffusion.upscaler import NATIVE
from scumble.editing.adapters import by_name
from scumble.fill.migan import TRAITS
from scumble.home import Home
from scumble.models import examine, seen
from scumble.models.download import FILL_MODEL, fetch_fill_model
from scumble.models.store import Adapter, ModelFile, ModelStore
from scumble.protocol.errors import BadRequest, DiskFull, ModelMissing, ModelUnreadable

from tests.diffusion.tiny import make_sd1_folder

from .files import write_control, write_embedding, write_lora, write_single_file


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, made once: plain (in diffusers' layout) and inpaint.safetensors."""
    folder = tmp_path_factory.mktemp("made")
    make_sd1_folder(folder / "plain")
    write_single_file(folder / "inpaint.safetensors")
    return folder


@pytest.fixture
def mine(made: Path, tmp_path: Path) -> Path:
    """A copy of them that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "mine"))


@pytest.fixture
def store(home: Home) -> ModelStore:
    return ModelStore(home)


def names(store: ModelStore, refresh: bool = False) -> list[str]:
    return [model.info.name for model in store.list(refresh)]


def test_nothing_there(store: ModelStore) -> None:
    assert store.list() == ()
    with pytest.raises(ModelMissing):
        store.get("0" * 16)
    with pytest.raises(ModelMissing):
        store.remove("0" * 16)


def test_adding_a_folder_and_a_file(store: ModelStore, mine: Path) -> None:
    plain = store.add(mine / "plain")
    inpaint = store.add(mine / "inpaint.safetensors")
    assert (plain.info.name, plain.info.inpaint, plain.path) == ("plain", False, mine / "plain")
    assert (inpaint.info.name, inpaint.info.inpaint) == ("inpaint", True)
    for model in (plain, inpaint):
        info = model.info
        assert model.identity is not None
        assert (info.kind, info.family) == ("diffusion", model.identity.family)
        assert info.steps > 0
        assert info.guidance > 1
        assert info.sampler in info.samplers
        assert "loras" in info.capabilities
        assert info.bytes > 1_000_000
        assert store.get(info.id) == model
        assert str(mine) not in repr(info)
    assert plain.info.id != inpaint.info.id
    assert names(store) == ["inpaint", "plain"]


def test_adding_a_folder_of_models(store: ModelStore, home: Home, mine: Path) -> None:
    (mine / "deep" / "er").mkdir(parents=True)
    shutil.move(mine / "inpaint.safetensors", mine / "deep" / "er")
    (mine / ".hidden").mkdir()
    write_single_file(mine / ".hidden" / "other.safetensors", seed=5)
    assert store.add(mine).info.name == "inpaint"
    assert names(store) == ["inpaint", "plain"]
    assert names(ModelStore(home)) == ["inpaint", "plain"]


def test_models_in_scumbles_own_folder(store: ModelStore, home: Home, made: Path) -> None:
    home.models.mkdir()
    shutil.copy(made / "inpaint.safetensors", home.models / "mine.safetensors")
    (model,) = store.list()
    assert model.info.name == "mine"
    store.remove(model.info.id)
    assert list(home.models.iterdir()) == []
    assert store.list() == ()


def test_id_follows_the_content(store: ModelStore, mine: Path, made: Path, tmp_path: Path) -> None:
    first = store.add(mine / "plain").info.id
    moved = mine.rename(tmp_path / "moved")
    assert store.list(refresh=True) == ()
    again = store.add((moved / "plain").rename(moved / "renamed"))
    assert (again.info.id, again.info.name) == (first, "renamed")
    store.add(made / "plain")  # a second copy of the same
    assert len(store.list(refresh=True)) == 1
    scheduler = moved / "renamed" / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text().replace("epsilon", "v_prediction"))
    assert {model.info.id for model in store.list(refresh=True)} > {first}


def test_a_changed_weight_changes_the_id(store: ModelStore, mine: Path) -> None:
    file = mine / "inpaint.safetensors"
    first = store.add(file).info.id
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    (model,) = store.list(refresh=True)
    assert model.info.id != first


@pytest.mark.parametrize("part", ["cond_stage_model.x", "first_stage_model.x", "model.x"])
def test_a_model_with_another_part_is_another_one(part: str, store: ModelStore, home: Home) -> None:
    """As those with somebody else's autoencoder inside, which are published beside the plain ones: as large, with the same
    header, and most of the same numbers."""
    home.models.mkdir()
    known = load_file(write_single_file(home.models / "plain.safetensors"))
    plain = {name: tensor.astype(np.float16) for name, tensor in known.items()}
    random = np.random.default_rng(7)
    # In the order and the proportions of Stable Diffusion 1.5, after a header that is as long as real ones.
    sizes = {"cond_stage_model.x": 1_230_000, "first_stage_model.x": 840_000, "model.x": 8_600_000}
    plain |= {name: random.random(size, np.float32).astype(np.float16) for name, size in sizes.items()}
    metadata = {"trained on": "a picture, " * 10_000}
    save_file(plain, home.models / "plain.safetensors", metadata)
    save_file(plain | {part: plain[part][::-1].copy()}, home.models / "other.safetensors", metadata)
    assert names(store) == ["other", "plain"]
    store.remove(store.list()[0].info.id)
    assert names(store) == ["plain"]


def test_lists_without_reading_again(store: ModelStore, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(
        examine, "read_contents", lambda path, real=examine.read_contents: read.append(path) or real(path)
    )
    store.add(mine)
    store.list(refresh=True)
    store.list(refresh=True)
    assert len(read) == 2
    os.utime(mine / "inpaint.safetensors", (1, 1))
    store.list(refresh=True)
    assert len(read) == 3


def test_one_store_sees_what_another_added(store: ModelStore, home: Home, mine: Path) -> None:
    assert store.list() == ()
    model = ModelStore(home).add(mine / "plain")
    assert store.list() == (model,)
    assert store.get(model.info.id) == model
    assert names(store) == ["plain"]


def test_gone_model_is_missing(store: ModelStore, mine: Path) -> None:
    model = store.add(mine / "inpaint.safetensors")
    model.path.unlink()
    with pytest.raises(ModelMissing):
        store.get(model.info.id)


# ---- what is added to models -----------------------------------------------------------------------------------------


def test_upscalers_come_last_and_other_models_are_named(store: ModelStore, home: Home, mine: Path) -> None:
    save_file({"body.0.rdb1.conv1.weight": np.zeros((4, 8, 3, 3), np.float32)}, mine / "a-sharpener.safetensors")
    save_file({"joint_blocks.0.x": np.zeros(4, np.float32)}, mine / "large.safetensors")
    store.add(mine)
    assert names(store) == ["inpaint", "plain", "a-sharpener"]
    model = store.list()[-1]
    assert (model.info.kind, model.info.family, model.identity) == ("upscaler", "esrgan", None)
    assert model.info.native == NATIVE
    assert [(other.name, str(other.kind)) for other in store.others()] == [("large", "Stable Diffusion 3 model")]
    assert ModelStore(home).list() == store.list()


def test_loras_and_control_networks_are_listed_beside_the_models(store: ModelStore, home: Home, mine: Path) -> None:
    ink = store.add(write_lora(mine / "Ink.safetensors"))
    assert isinstance(ink, Adapter)
    assert (ink.info.name, ink.info.kind, ink.info.family) == ("Ink", "lora", "sd1")
    assert ink.info.bytes == ink.path.stat().st_size
    edges = store.add(write_control(mine / "edges" / "diffusion_pytorch_model.safetensors").parent)
    assert (edges.info.name, edges.info.kind, edges.info.family) == ("edges", "control", "sd1")
    silent = store.add(write_lora(mine / "silent.safetensors", 123))
    assert silent.info.family == ""
    for each in (store, ModelStore(home)):  # the second one reads what the first has written down
        assert [adapter.info.name for adapter in each.adapters()] == ["edges", "Ink", "silent"]
        assert each.list() == ()
        assert each.others() == ()
    store.remove(ink.info.id)
    assert [adapter.info.name for adapter in store.adapters()] == ["edges", "silent"]
    assert ink.path.exists()


def test_long_names_that_differ_at_their_ends_stay_apart(store: ModelStore, home: Home) -> None:
    """As those of a LoRA's epochs do; a prompt names the one that is meant."""
    home.models.mkdir()
    stems = [f"{'trained on a great many of my own pictures ' * 4}-{epoch:06}" for epoch in (4, 8)]
    for layers, stem in enumerate(stems, start=1):
        write_lora(home.models / f"{stem}.safetensors", layers=layers)
    assert [adapter.info.name for adapter in store.adapters()] == stems
    for stem in stems:
        assert by_name(store.adapters(), "lora", stem, "sd1").path.stem == stem


def test_a_lora_has_the_name_of_its_training_too(store: ModelStore, home: Home) -> None:
    """By which the web UI writes it into prompts; a file's own name comes before."""
    home.models.mkdir()
    for layers, (name, trained) in enumerate({"v2": 'my "best" style', "ink": "v2", "my": ""}.items(), start=1):
        write_lora(home.models / f"{name}.safetensors", layers=layers, metadata={"ss_output_name": trained})
    for each in (store, ModelStore(home)):
        for name, stem in {'My "Best" Style': "v2", "V2": "v2", "styles/v2.safetensors": "v2", r"a\my": "my"}.items():
            assert by_name(each.adapters(), "lora", name, "sd1").path.stem == stem
        with pytest.raises(ModelMissing):
            by_name(each.adapters(), "lora", "styles/", "sd1")


def test_textual_inversions_are_listed_by_their_words(store: ModelStore, home: Home, mine: Path) -> None:
    write_embedding(home.embeddings / "sub" / "Bad-Hands.safetensors", emb_params=768)
    write_embedding(mine / "xl" / "oil.safetensors", clip_l=768, clip_g=1280)
    write_embedding(mine / "v2.safetensors", **{"<cat>": 1024})
    store.add(mine)
    for each in (store, ModelStore(home)):
        found = [(adapter.info.name, adapter.info.kind, adapter.info.family) for adapter in each.adapters()]
        assert found == [
            ("Bad-Hands", "embedding", "sd1"),
            ("oil", "embedding", "sdxl"),
            ("v2", "embedding", "sd2"),
        ]
        assert each.others() == ()
    (home.embeddings / "sub" / "Bad-Hands.safetensors").unlink()
    assert [adapter.info.name for adapter in store.adapters()] == ["oil", "v2"]


def test_ip_adapters_and_their_image_encoder_are_listed(store: ModelStore, mine: Path) -> None:
    """As h94/IP-Adapter has them; the encoder is named by its folder."""
    encoder = mine / "ip" / "image_encoder" / "model.safetensors"
    encoder.parent.mkdir(parents=True)
    shapes = {"vision_model.embeddings.patch_embedding.weight": (8, 3, 4, 4), "visual_projection.weight": (6, 8)}
    save_file({name: np.zeros(shape, np.float16) for name, shape in shapes.items()}, encoder)
    shapes = {"image_proj.proj.weight": (12, 6), "ip_adapter.1.to_k_ip.weight": (4, 2048)}
    tensors = {name: np.zeros(shape, np.float16) for name, shape in shapes.items()}
    save_file(tensors, mine / "ip" / "look.safetensors")
    save_file(
        {"image_proj.norm.weight": np.zeros(3), "ip_adapter.1.to_k_ip.weight": np.zeros((4, 768))},
        mine / "ip" / "face.safetensors",
    )
    store.add(mine / "ip")
    found = [(adapter.info.name, adapter.info.kind, adapter.info.family) for adapter in store.adapters()]
    assert found == [("look", "reference", "sdxl"), ("image_encoder", "vision", "")]
    assert [str(other.kind) for other in store.others()] == ["IP-Adapter FaceID for Stable Diffusion 1.x"]


def test_a_folder_of_models_and_loras(store: ModelStore, mine: Path) -> None:
    write_lora(mine / "A lora.safetensors")
    assert isinstance(store.add(mine), ModelFile)
    assert names(store) == ["inpaint", "plain"]
    (lora,) = store.adapters()
    lora.path.unlink()
    assert store.adapters() == ()


def test_what_is_added_to_models_that_scumble_does_not_run_is_named(store: ModelStore, mine: Path) -> None:
    oft = mine / "oft.safetensors"
    save_file({"lora_unet_a_attn2_to_k.oft_blocks": np.zeros((4, 8, 8), np.float16)}, oft)
    with pytest.raises(ModelUnreadable, match="OFT"):
        store.add(oft)
    assert store.adapters() == ()


# ---- what is no model ------------------------------------------------------------------------------------------------


class Trap:
    def __reduce__(self):
        return os.system, ("echo a pickle ran",)


def test_add_says_what_is_wrong(store: ModelStore, home: Home, mine: Path) -> None:
    (mine / "empty").mkdir()
    (mine / "pickle.safetensors").write_bytes(pickle.dumps(Trap()))
    whole = (mine / "inpaint.safetensors").read_bytes()
    (mine / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    (mine / "other.onnx").write_bytes(b"not MI-GAN")
    (mine / "text.txt").write_text("hello")
    for name, words in (
        ("missing.safetensors", "not there|cannot be read"),
        ("empty", "no model"),
        ("pickle.safetensors", "pickle"),
        ("cut.safetensors", "cut off"),
        ("other.onnx", "not the fill model"),
        ("text.txt", "not a model"),
    ):
        with pytest.raises(ModelUnreadable, match=words) as caught:
            store.add(mine / name)
        assert str(mine) not in caught.value.message
        assert caught.value.hint
    assert store.list() == ()
    assert not (home.root / "models.json").exists()


def test_damaged_files_do_not_hide_good_ones(store: ModelStore, mine: Path) -> None:
    (mine / "pickle.safetensors").write_bytes(pickle.dumps(Trap()))
    (mine / "random.safetensors").write_bytes(bytes(range(256)) * 10)
    (mine / "half").mkdir()
    (mine / "half" / "model_index.json").write_text("{")
    store.add(mine)
    assert names(store) == ["inpaint", "plain"]
    assert {name for name, _ in store.problems()} == {"pickle.safetensors", "random.safetensors", "half"}
    (mine / "random.safetensors").unlink()
    assert {name for name, _ in store.problems()} == {"pickle.safetensors", "half"}


@pytest.mark.skipif(sys.platform == "win32", reason="has no pipes in folders")
@pytest.mark.timeout(60)
def test_a_pipe_among_models_is_not_waited_for(store: ModelStore, home: Home) -> None:
    home.models.mkdir(parents=True)
    os.mkfifo(home.models / "pipe.safetensors")
    assert [name for name, _ in store.problems()] == ["pipe.safetensors"]


def test_folder_that_is_gone_is_named(store: ModelStore, mine: Path) -> None:
    store.add(mine)
    assert store.problems() == ()
    shutil.rmtree(mine)
    ((name, why),) = store.problems()
    assert (name, why.message) == (str(mine), "It is no longer there.")
    assert store.list() == ()


@pytest.mark.skipif(os.name == "nt", reason="Links need rights that Windows users lack.")
def test_links_out_of_the_folder_are_left_out(store: ModelStore, home: Home, mine: Path) -> None:
    home.models.mkdir()
    (home.models / "file.safetensors").symlink_to(mine / "inpaint.safetensors")
    (home.models / "folder").symlink_to(mine / "plain")
    (home.models / "circle").symlink_to(home.models)
    assert store.list() == ()
    shutil.copy(mine / "inpaint.safetensors", home.models / "a.safetensors")
    (home.models / "b.safetensors").symlink_to(home.models / "a.safetensors")
    assert names(store, refresh=True) == ["a"]


def test_damaged_record_is_no_trouble(store: ModelStore, home: Home, mine: Path) -> None:
    for text in ("{", "[]", '{"paths": 3, "hidden": []}'):
        (home.root / "models.json").write_text(text)
        assert store.list(refresh=True) == ()
    store.add(mine)
    assert json.loads((home.root / "models.json").read_text()) == {"paths": [str(mine)], "hidden": []}


def test_full_disk_keeps_the_old_record(store: ModelStore, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.add(mine / "plain")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("scumble.models.store.os.replace", full)
    with pytest.raises(DiskFull):
        store.add(mine / "inpaint.safetensors")
    monkeypatch.undo()
    assert names(store, refresh=True) == ["plain"]


# ---- taking off the list ---------------------------------------------------------------------------------------------


def test_removing_a_users_model_keeps_its_files(store: ModelStore, mine: Path) -> None:
    store.add(mine / "plain")
    inpaint = store.add(mine / "inpaint.safetensors")
    store.remove(inpaint.info.id)
    assert names(store) == ["plain"]
    assert inpaint.path.exists()


def test_removing_one_of_a_folder_and_adding_it_again(store: ModelStore, mine: Path) -> None:
    store.add(mine)
    plain = next(model for model in store.list() if model.info.name == "plain")
    store.remove(plain.info.id)
    assert names(store, refresh=True) == ["inpaint"]
    assert plain.path.exists()
    store.add(plain.path)
    assert names(store) == ["inpaint", "plain"]


def test_removing_reaches_every_copy(store: ModelStore, home: Home, mine: Path) -> None:
    home.models.mkdir()
    shutil.copy(mine / "inpaint.safetensors", home.models)
    model = store.add(mine / "inpaint.safetensors")
    store.remove(model.info.id)
    assert store.list(refresh=True) == ()
    assert (mine / "inpaint.safetensors").exists()
    assert not (home.models / "inpaint.safetensors").exists()


def test_files_that_cannot_be_deleted(
    store: ModelStore, home: Home, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.models.mkdir()
    shutil.copy(made / "inpaint.safetensors", home.models)
    (model,) = store.list()

    def locked(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", locked)
    with pytest.raises(BadRequest, match="deleted"):
        store.remove(model.info.id)


# ---- the fill model, threads, imports --------------------------------------------------------------------------------


def test_fill_model_comes_first(store: ModelStore, home: Home, mine: Path, fill_model: Path) -> None:
    store.add(mine)
    fetch_fill_model(home, fill_model)
    fill = store.list(refresh=True)[0]
    assert (fill.info.kind, fill.info.family, fill.info.name) == ("fill", "migan", "MI-GAN")
    assert (fill.info.native, fill.identity) == (TRAITS.native, None)
    assert fill.path == home.models / "fill" / FILL_MODEL.name
    with fill.path.open("ab") as file:
        file.write(b"?")
    assert names(store, refresh=True) == ["inpaint", "plain"]


def test_many_threads(store: ModelStore, mine: Path) -> None:
    failures = []

    def work() -> None:
        try:
            for name in ("plain", "inpaint.safetensors"):
                store.get(store.add(mine / name).info.id)
                store.list(refresh=True)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(store) == ["inpaint", "plain"]


def test_store_brings_no_torch() -> None:
    heavy = "{'torch', 'diffusers', 'transformers', 'onnxruntime'}"
    code = f"import sys, scumble.models.store; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_scumble_that_knows_more_looks_at_everything_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record, known = (
        tmp_path / "models.json",
        {tmp_path / "x": ((("x", 1, 2),), ModelUnreadable("Damaged.", "Mend it."))},
    )
    seen.write_seen(record, known)
    assert seen.read_seen(record).keys() == known.keys()
    monkeypatch.setattr(seen, "_KNOWLEDGE", [*seen._KNOWLEDGE, "more"])
    assert seen.read_seen(record) == {}
