"""How models on the hub are named."""

from __future__ import annotations

import pytest
from scumble.models.hub import Hub


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
