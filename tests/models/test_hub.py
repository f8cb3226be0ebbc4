"""How models on the hub are named, and who is told the token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scumble.models.hub import Hub
from scumble.protocol.errors import BadRequest, ModelMissing

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
