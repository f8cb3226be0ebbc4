"""How models on the hub are named, who is told the token, and what is believed of a file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from scumble.diffusion.contents import MAX_HEADER
from scumble.models.download import Published
from scumble.models.hub import Hub
from scumble.models.pull import Offer, _require_use
from scumble.protocol.errors import BadRequest, ModelMissing, ModelUnreadable

from .stand_in import HubStandIn


@pytest.fixture
def stand_in() -> Iterator[HubStandIn]:
    stand_in = HubStandIn()
    yield stand_in
    stand_in.close()


@pytest.mark.parametrize(
    ("wanted", "named"),
    [
        ("someone/tiny-sd", "someone/tiny-sd"),
        ("someone/tiny-sd:a.safetensors", "someone/tiny-sd:a.safetensors"),
        ("https://huggingface.co/someone/tiny-sd", "someone/tiny-sd"),
        ("https://huggingface.co/someone/tiny-sd/tree/main?not-for-all-audiences=true", "someone/tiny-sd"),
        ("https://huggingface.co/someone/many/blob/main/sub/a%20b.safetensors", "someone/many:sub/a b.safetensors"),
        ("https://huggingface.co/someone/many/resolve/main/a.safetensors?download=true", "someone/many:a.safetensors"),
        ("http://127.0.0.1:9/someone/tiny-sd", "someone/tiny-sd"),
        ("https://example.com/someone/tiny-sd", "https://example.com/someone/tiny-sd"),
        ("https://huggingface.co/", "https://huggingface.co/"),
    ],
)
def test_the_address_of_a_page_names_its_model(wanted: str, named: str) -> None:
    assert Hub("http://127.0.0.1:9").named(wanted) == named


def test_a_redirect_on_the_same_host_keeps_the_token(stand_in: HubStandIn) -> None:
    stand_in.repositories["new/name"] = {"a.safetensors": b"12345678"}
    hub = Hub(stand_in.address, "hf_secret")
    stand_in.moves_to = stand_in.address
    with pytest.raises(ModelMissing):  # round in circles
        hub.read_start("new/name", stand_in.commit, "a.safetensors", 8)
    assert len(stand_in.asked) > 1
    assert {token for _, _, token in stand_in.asked} == {"Bearer hf_secret"}


def test_a_redirect_out_of_the_web_is_refused(stand_in: HubStandIn) -> None:
    stand_in.moves_to = "ftp://127.0.0.1"
    with pytest.raises(BadRequest, match="http"):
        Hub(stand_in.address).read_start("someone/tiny-sd", stand_in.commit, "a.safetensors", 8)


def test_a_token_that_is_none_is_not_told() -> None:
    with pytest.raises(BadRequest) as caught:
        Hub("http://127.0.0.1:9", "hf_se\ncret")
    assert "cret" not in caught.value.message + caught.value.hint


def test_a_header_that_says_it_is_endless_is_not_fetched(tmp_path: Path) -> None:
    asked = []

    class Endless:
        def read_start(self, repository: str, commit: str, file: str, size: int) -> bytes:
            asked.append(size)
            return (1 << 40).to_bytes(8, "little")

    file = Published("model.safetensors", 1 << 41, "0" * 64)
    offer = Offer("Endless", "someone/tiny", "c", file.name, "", "", (file,), suggested=False)
    with pytest.raises(ModelUnreadable):
        _require_use(offer, file, tmp_path, Endless())  # type: ignore[arg-type]
    assert asked == [8, 8 + MAX_HEADER]
