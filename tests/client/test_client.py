"""The client against a backend that behaves, vanishes, lies or keeps silent."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from scumble.client.client import Client, JobCancelled
from scumble.client.connection import Address, Unreachable
from scumble.client.events import Connected, Lost, Received
from scumble.client.ledger import Draft
from scumble.client.payloads import to_payload
from scumble.protocol.errors import BadRequest, NotAuthorised, OutOfMemory, TooLarge
from scumble.protocol.frames import decode, pack, unpack
from scumble.protocol.geometry import Bounds, Size
from scumble.protocol.messages import (
    Accepted,
    Acknowledge,
    AdapterInfo,
    Cancel,
    Cancelled,
    Control,
    EditRequest,
    Failed,
    History,
    HistoryList,
    Limits,
    ModelList,
    Progress,
    Reference,
    Region,
    Resume,
    Submit,
    replace,
)

from .fake_backend import FILL, IMAGE, MASK, REQUEST, FakeBackend, Peer, Script, all_messages, connected, idle, wait_for


def welcome_and_drop(peer: Peer) -> None:
    peer.welcome()
    peer.drop()


def test_an_edit_goes_there_and_its_result_comes_back() -> None:
    heard: list[Any] = []

    def script(peer: Peer) -> None:
        peer.welcome()
        message, buffers = peer.hear()
        heard.extend([message, buffers])
        peer.say(Accepted(message.job, message.request, 0))
        peer.step(message, 1)
        peer.finish(message)
        heard.append(peer.hear()[0])

    with connected(script) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        steps: list[Progress] = []
        event = client.wait(job, steps.append, patience=5)
        client.acknowledge(job)
        client.close(timeout=5)
    assert event.result.request == REQUEST
    assert [(buffer.encoding, buffer.data) for buffer in event.layers] == [("raw", b"\x01\x02\x03\xff")]
    assert [step.step for step in steps] == [1]
    assert heard[0] == Submit(job, REQUEST)
    assert [unpack(buffer) for buffer in heard[1]] == [IMAGE, MASK]
    assert heard[2] == Acknowledge(job)


def test_the_caller_never_waits_and_is_woken() -> None:
    release, woken = threading.Event(), threading.Event()

    def locate() -> Address:
        release.wait(10)
        raise Unreachable("No.")

    client = Client("test", locate, wake=woken.set)
    big = EditRequest("fill", Size(2048, 2048), Bounds(0, 0, 2048, 2048), Bounds(0, 0, 2048, 2048))
    image, mask = bytes(big.image.area * 4), bytes(big.image.area)
    began = time.perf_counter()
    client.connect()
    job = client.submit(big, image, mask)
    client.models()
    client.history()
    client.resume(job)
    client.acknowledge(job)
    client.cancel("0" * 32)
    assert client.events() == []
    client.close()
    assert time.perf_counter() - began < 0.05
    release.set()
    assert not woken.is_set()


def test_wake_comes_with_every_event() -> None:
    woken = threading.Semaphore(0)

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.say(ModelList((FILL,)))
        peer.wait_for_end()

    with connected(script, wake=woken.release) as client:
        assert woken.acquire(timeout=5)
        assert woken.acquire(timeout=5)
        assert [type(event) for event in client.events()] == [Connected, Received]


def test_models_that_come_and_go_are_known_as_if_they_had_been_welcomed() -> None:
    ink = AdapterInfo("l1", "Ink", "lora", "sd1", 1 << 20)

    def script(peer: Peer) -> None:
        peer.welcome()
        peer.say(ModelList((), (ink,)))
        peer.wait_for_end()

    with connected(script) as client:
        wait_for(client, ModelList)
        assert client.welcome is not None
        assert (client.welcome.models, client.welcome.adapters, client.welcome.session) == ((), (ink,), "s1")


def test_a_failing_wake_does_not_end_the_client() -> None:
    def wake() -> None:
        raise RuntimeError("the host's widget is gone")

    with connected(idle, wake=wake) as client:
        assert wait_for(client, Connected)


def test_a_connection_lost_in_mid_job_brings_the_result_all_the_same() -> None:
    jobs: list[Submit] = []
    sessions: list[Any] = []

    def first(peer: Peer) -> None:
        peer.welcome()
        sessions.append(peer.hello.session)
        jobs.append(peer.accept())
        peer.step(jobs[0], 3)
        peer.drop()

    def second(peer: Peer) -> None:
        peer.welcome()
        sessions.append(peer.hello.session)
        peer.finish(jobs[0])
        peer.wait_for_end()

    with connected(first, second) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        assert client.wait(job, patience=5).result.job == job
    assert sessions == [None, "s1"]


def test_an_edit_that_was_not_accepted_is_sent_again_with_the_same_id() -> None:
    heard: list[Any] = []

    def first(peer: Peer) -> None:
        peer.welcome()
        heard.append(peer.hear()[0])
        peer.drop()

    def second(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        heard.append(submit)
        peer.finish(submit)
        peer.wait_for_end()

    with connected(first, second) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        client.wait(job, patience=5)
    assert heard == [Submit(job, REQUEST), Submit(job, REQUEST)]


def test_an_accepted_edit_is_not_sent_again() -> None:
    heard: list[Any] = []

    def first(peer: Peer) -> None:
        peer.welcome()
        heard.append(peer.accept())
        peer.drop()

    def second(peer: Peer) -> None:
        peer.welcome()
        heard.append(peer.hear()[0])
        peer.say(HistoryList(()))

    with connected(first, second) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        wait_for(client, Lost)
        client.history()
        wait_for(client, HistoryList)
    assert heard == [Submit(job, REQUEST), History()]


def test_an_edit_that_kills_the_backend_is_given_up() -> None:
    def die(peer: Peer) -> None:
        peer.welcome()
        peer.hear()
        peer.drop()

    with connected(die, die, die, idle) as client:
        client.submit(REQUEST, IMAGE, MASK)
        failed = wait_for(client, Failed)
        assert failed.code == "worker_crashed"
        assert failed.hint


def test_a_result_that_comes_twice_is_told_once_and_acknowledged_again() -> None:
    heard: list[Any] = []

    def first(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        peer.finish(submit)
        peer.finish(submit)
        heard.append(peer.hear()[0])
        peer.drop()  # the acknowledge came, but say that it was lost

        def again(peer: Peer) -> None:
            peer.welcome()
            peer.finish(submit)
            heard.append(peer.hear()[0])
            peer.say(ModelList(()))
            peer.wait_for_end()

        scripts.append(again)

    scripts: list[Script] = []
    with connected(first, lambda peer: scripts[0](peer)) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        client.wait(job, patience=5)
        client.acknowledge(job)
        wait_for(client, Lost)
        messages = all_messages(client)
    assert messages == [ModelList(())]
    assert heard == [Acknowledge(job), Acknowledge(job)]


def test_a_result_that_the_backend_could_not_write_down_stays_a_result() -> None:
    """It goes out before it is on the disk; what is said of the job afterwards is nothing to the artist."""

    def script(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        peer.finish(submit)
        peer.say(Failed("disk_full", "The disk is full.", "", submit.job))
        peer.say(ModelList(()))
        peer.wait_for_end()

    with connected(script) as client:
        client.wait(client.submit(REQUEST, IMAGE, MASK), patience=5)
        assert all_messages(client) == [ModelList(())]


def test_a_result_comes_again_each_time_that_it_is_asked_for() -> None:
    heard: list[Any] = []

    def first(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        peer.finish(submit)
        heard.append(peer.hear()[0])
        peer.finish(submit)
        peer.drop()

    def second(peer: Peer) -> None:
        peer.welcome()
        heard.append(peer.hear()[0])
        peer.say(HistoryList(()))

    with connected(first, second) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        client.wait(job, patience=5)
        client.resume(job)
        assert client.wait(job, patience=5).result.job == job
        wait_for(client, Lost)
        client.history()
        wait_for(client, HistoryList)
    assert heard == [Resume(job), History()]


def test_a_cancel_before_the_edit_was_sent_needs_no_backend() -> None:
    client = Client("test", lambda: Address("127.0.0.1", 1, ""))
    job = client.submit(REQUEST, IMAGE, MASK)
    client.cancel(job)
    assert client.events() == [Received(Cancelled(job))]


def test_a_cancel_reaches_the_backend_also_after_a_lost_connection() -> None:
    heard: list[Any] = []

    def first(peer: Peer) -> None:
        peer.welcome()
        peer.accept()
        heard.append(peer.hear()[0])
        peer.drop()

    def second(peer: Peer) -> None:
        peer.welcome()
        cancel = peer.hear()[0]
        heard.append(cancel)
        peer.say(Cancelled(cancel.job))
        peer.wait_for_end()

    with connected(first, second) as client:
        wait_for(client, Connected)
        job = client.submit(REQUEST, IMAGE, MASK)
        wait_for(client, Accepted)
        client.cancel(job)
        with pytest.raises(JobCancelled):
            client.wait(job, patience=5)
    assert heard == [Cancel(job), Cancel(job)]


def test_a_failed_job_raises_its_error() -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        peer.say(Failed("out_of_memory", "Too much.", "Take less.", submit.job))
        peer.wait_for_end()

    with connected(script) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        with pytest.raises(OutOfMemory) as caught:
            client.wait(job, patience=5)
    assert (caught.value.message, caught.value.hint) == ("Too much.", "Take less.")


def test_another_jobs_end_is_not_the_end_of_this_one() -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        peer.say(Cancelled("1" * 32))
        peer.say(Failed("out_of_memory", "Too much.", "", "2" * 32))
        peer.finish(submit)
        peer.wait_for_end()

    with connected(script) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        assert client.wait(job, patience=5).result.job == job


def test_jobs_of_a_forgotten_session_end() -> None:
    def first(peer: Peer) -> None:
        peer.welcome("s1")
        peer.accept()
        peer.drop()

    with connected(first, lambda peer: idle(peer, "s2")) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        assert wait_for(client, Failed).job == job


def test_nonsense_from_the_backend_is_told_and_survived() -> None:
    def script(peer: Peer) -> None:
        peer.welcome()
        peer.say_raw(b"SCM1\x00")
        peer.say(ModelList(()))
        peer.wait_for_end()

    with connected(script) as client:
        assert wait_for(client, Failed).job is None
        assert wait_for(client, ModelList)


@pytest.mark.parametrize("limits", [Limits(max_pixels=11), Limits(max_frame_bytes=500)])
def test_an_edit_above_the_limits_fails_here_and_not_by_a_closed_connection(limits: Limits) -> None:
    def script(peer: Peer) -> None:
        peer.welcome(limits=limits)
        peer.wait_for_end()

    with connected(script) as client:
        job = client.submit(REQUEST, IMAGE, MASK)
        failed = wait_for(client, Failed)
        assert (failed.code, failed.job) == ("too_large", job)


@pytest.mark.parametrize("order", ["rgba", "bgra"])
def test_controls_go_after_the_mask_in_their_order(order: Any) -> None:
    controls = (Control("a", Bounds(0, 0, 2, 1)), Control("b", Bounds(0, 0, 1, 1)))
    request = replace(REQUEST, controls=controls)
    draft = Draft(Submit("0" * 32, request), IMAGE, MASK, (b"\x01\x02\x03\x04" * 2, b"\x05\x06\x07\x08"))
    _, buffers = decode(b"".join(to_payload(draft, Limits(), order)))
    assert [buffer.role for buffer in buffers] == ["image", "mask", "control", "control"]
    expected = [b"\x01\x02\x03\x04" * 2, b"\x05\x06\x07\x08"]
    if order == "bgra":
        expected = [b"\x03\x02\x01\x04" * 2, b"\x07\x06\x05\x08"]
    assert [unpack(buffer) for buffer in buffers[2:]] == expected
    large = replace(REQUEST, controls=(Control("a", Bounds(0, 0, 20, 20)),))
    with pytest.raises(TooLarge):
        to_payload(Draft(Submit("0" * 32, large), IMAGE, MASK, (bytes(1600),)), Limits(max_pixels=100), order)
    for wrong in ((), (bytes(8),), (bytes(8), bytes(8))):
        with pytest.raises(BadRequest):
            Client("test", lambda: Address("127.0.0.1", 1, "")).submit(request, IMAGE, MASK, controls=wrong)


def test_references_go_last_in_their_order() -> None:
    request = replace(REQUEST, references=(Reference("r", Size(2, 1)),))
    draft = Draft(Submit("0" * 32, request), IMAGE, MASK, references=(b"\x01\x02\x03\x04" * 2,))
    _, buffers = decode(b"".join(to_payload(draft, Limits(), "bgra")))
    assert [buffer.role for buffer in buffers] == ["image", "mask", "reference"]
    assert unpack(buffers[2]) == b"\x03\x02\x01\x04" * 2
    large = replace(REQUEST, references=(Reference("r", Size(20, 20)),))
    with pytest.raises(TooLarge):
        to_payload(Draft(Submit("0" * 32, large), IMAGE, MASK, references=(bytes(1600),)), Limits(max_pixels=100))
    for wrong in ((), (bytes(4),), (bytes(8), bytes(8))):
        with pytest.raises(BadRequest):
            Client("test", lambda: Address("127.0.0.1", 1, "")).submit(request, IMAGE, MASK, references=wrong)


def test_regions_go_last() -> None:
    request = replace(REQUEST, regions=(Region("a star", Bounds(0, 0, 2, 1)),))
    _, buffers = decode(
        b"".join(to_payload(Draft(Submit("0" * 32, request), IMAGE, MASK, (), (b"\x80\xff",)), Limits()))
    )
    assert [buffer.role for buffer in buffers] == ["image", "mask", "region"]
    assert unpack(buffers[2]) == b"\x80\xff"
    for wrong in ((), (bytes(3),), (bytes(2), bytes(2))):
        with pytest.raises(BadRequest):
            Client("test", lambda: Address("127.0.0.1", 1, "")).submit(request, IMAGE, MASK, regions=wrong)


@pytest.mark.parametrize(("image", "mask"), [(IMAGE[1:], MASK), (IMAGE, MASK[1:]), (IMAGE, None), (IMAGE, b"")])
def test_pixels_must_fit_the_request(image: bytes, mask: Any) -> None:
    with pytest.raises(BadRequest):
        Client("test", lambda: Address("127.0.0.1", 1, "")).submit(REQUEST, image, mask)


def test_a_big_edit_crosses_in_pieces_while_progress_comes_in() -> None:
    request = replace(REQUEST, canvas=Size(2000, 2000), image=Bounds(0, 0, 2000, 2000))
    image = bytes(range(250)) * (2000 * 2000 * 4 // 250)
    got: list[bytes] = []

    def script(peer: Peer) -> None:
        peer.welcome()
        message, buffers = peer.hear()
        got.append(unpack(buffers[0]))
        peer.say(Accepted(message.job, message.request, 0))
        peer.wait_for_end()

    with connected(script) as client:
        client.submit(request, image, MASK)
        wait_for(client, Accepted)
    assert got == [image]


def test_progress_that_nobody_looks_at_does_not_pile_up() -> None:
    done = threading.Event()
    preview = pack("preview", 1, 1, "rgba8", b"\x01\x02\x03\x04", "zlib")

    def script(peer: Peer) -> None:
        peer.welcome()
        submit = peer.accept()
        for step in range(50):
            peer.step(submit, step)
        peer.say(Progress(submit.job, "denoising", 50, 50), preview)
        peer.say(ModelList(()))
        done.set()
        peer.wait_for_end()

    with connected(script) as client:
        client.submit(REQUEST, IMAGE, MASK)
        assert done.wait(5)
        time.sleep(0.2)
        messages = [event for event in client.events() if isinstance(event, Received)]
    assert [type(event.message) for event in messages] == [Accepted, Progress, ModelList]
    assert messages[1].buffers[0].data == b"\x01\x02\x03\x04"


def test_the_backend_may_come_back_elsewhere() -> None:
    """`locate` is asked at each attempt: a restarted backend may have another port."""
    second = FakeBackend([idle])
    addresses: list[Address] = []
    with second.running() as elsewhere:
        with FakeBackend([welcome_and_drop]).running() as address:
            addresses.append(address)
            client = Client("test", lambda: addresses[-1])
            client.connect()
            wait_for(client, Connected)
            addresses.append(elsewhere)
            wait_for(client, Lost)
        assert wait_for(client, Connected)
        client.close(timeout=5)


def test_a_session_taken_over_by_another_program_is_not_fought_for() -> None:
    def first(peer: Peer) -> None:
        peer.welcome()
        peer.say(Failed("not_authorised", "A newer connection has taken over this session.", "Go on there."))
        peer.drop()

    with connected(first, idle) as client:
        lost = wait_for(client, Lost)
        assert isinstance(lost.error, NotAuthorised)
        assert lost.retry is None
