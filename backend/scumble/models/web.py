"""One way to the web for downloads: no other scheme than http and https, a token for its own host only, and a plain
sentence for every way in which it fails. Standard library only, like download.py."""

from __future__ import annotations

import os
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException, HTTPResponse
from importlib import import_module
from typing import cast
from urllib.error import HTTPError
from urllib.parse import urlsplit

from ..protocol.errors import BadRequest, ModelMissing

PUBLIC_HUB = "https://huggingface.co"
TIMEOUT = 10.0
"""Seconds without an answer, or without a byte, after which a source counts as out of reach."""


def hub_endpoint(environ: Mapping[str, str] = os.environ) -> str:
    """The model hub's address: `HF_ENDPOINT`, as its own client reads it, or the public one."""
    return (environ.get("HF_ENDPOINT") or PUBLIC_HUB).rstrip("/")


def open_url(url: str, token: str | None = None, start: int = 0, end: int | None = None) -> HTTPResponse:
    """The answer to a GET of the bytes `start` to `end` (exclusive) where the server knows ranges, else of all of it.

    Raises BadRequest (another scheme), OSError (HTTPError among them), http.client.HTTPException.
    """
    _check_scheme(url)
    headers = {"User-Agent": "scumble", "Accept-Encoding": "identity"}
    if start or end is not None:
        headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the scheme is checked
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    https = urllib.request.HTTPSHandler(context=trusting())
    return cast(HTTPResponse, urllib.request.build_opener(_Redirects, https).open(request, timeout=TIMEOUT))


def trusting() -> ssl.SSLContext:
    """Whose certificates count: those that the system trusts. python.org's Python for macOS knows of none until its user
    has run a command in its folder; there, those of the bundle that comes with pip and with our packages."""
    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    in_folder = paths.capath is not None and bool(os.listdir(paths.capath))
    if not (paths.cafile or in_folder or context.cert_store_stats()["x509_ca"]):
        for bundle in ("certifi", "pip._vendor.certifi"):
            with suppress(ImportError):
                context.load_verify_locations(import_module(bundle).where())
                break
    return context


@contextmanager
def broken_off(what: str, page: str = "") -> Iterator[None]:
    """Turns what goes wrong on the way into ModelMissing. `page` is where its licence can be agreed to."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise _refused(error.code, what, page) from error
    except (OSError, HTTPException) as error:
        raise ModelMissing(
            f"{what} could not be fetched.", "Check the network and try again; it goes on where it ended."
        ) from error


def _refused(code: int, what: str, page: str) -> ModelMissing:
    if code in (401, 403):
        agree = f" at {page}" if page else ""
        return ModelMissing(
            f"The model hub gives {what} only to users who may have it, or there is no such thing.",
            f"Check the name; if its makers ask for it, agree to their terms{agree} and set HF_TOKEN to your token.",
        )
    if code == 404:
        return ModelMissing(f"The model hub has no {what}.", "Check the name.")
    if code == 429:
        return ModelMissing("The model hub has had too many requests from here.", "Try again in a few minutes.")
    return ModelMissing(f"{what} could not be fetched: the server answered {code}.", "Try again later.")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as urllib does, but to the web only, and gives the token on to the very same origin only."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):  # type: ignore[no-untyped-def]
        _check_scheme(newurl)
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.get_header("Authorization")
        if request is not None and token and _origin(newurl) == _origin(req.full_url):
            request.add_unredirected_header("Authorization", token)
        return request


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


def _check_scheme(url: str) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise BadRequest("Only http and https addresses can be fetched.")
