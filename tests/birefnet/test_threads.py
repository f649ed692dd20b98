"""Photos and parts of a photo beside each other: the same numbers, and torch's settings kept."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from support import known_image, known_network

from birefcli.birefnet import MINI, SWIN_T
from birefcli.birefnet.inference import InferenceNetwork
from birefcli.birefnet.inference.threads import team


@pytest.fixture
def threads():
    """Sets torch's threads for a test, and puts back what they were."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def three(threads):
    threads(3)
    made = team()
    if made is None:
        pytest.skip("torch's threads are not OpenMP's")
    return made


def alpha(network, image):
    with torch.inference_mode():
        return torch.sigmoid(network(image))


@pytest.mark.parametrize("photos", [1, 2, 3, 5])
def test_photos_beside_each_other_are_those_of_one_thread_to_the_bit(threads, photos):
    network = InferenceNetwork(known_network(MINI))
    images = torch.cat([known_image(96, 128, seed) for seed in range(photos)])
    threads(1)
    expected = alpha(network, images)
    for count in (2, 3):
        threads(count)
        assert torch.equal(alpha(network, images), expected)
        assert torch.equal(alpha(network, images[:1]), expected[:1])


def test_photos_of_other_sizes_may_follow(three):
    network, plain = InferenceNetwork(known_network(MINI)), known_network(MINI)
    for size in ((64, 96), (96, 64), (64, 96)):
        images = torch.cat([known_image(*size, seed) for seed in range(3)])
        assert torch.allclose(alpha(network, images), alpha(plain, images), atol=1e-4)


def test_a_large_network_shares_its_operators_among_all_threads(three):
    network = InferenceNetwork(known_network(SWIN_T))
    assert network.side_by_side == 1
    seen = []
    network.fine.register_forward_hook(lambda *_: seen.append(threading.current_thread()))
    alpha(network, torch.cat([known_image(32, 32, seed) for seed in range(2)]))
    assert set(seen) == {threading.current_thread()}


def test_one_thread_needs_no_team(threads):
    threads(1)
    assert team() is None
    assert InferenceNetwork(known_network(MINI)).side_by_side == 1


def test_operators_of_a_team_keep_to_one_thread_and_those_of_others_do_not(three):
    assert set(three.each(lambda _: torch.get_num_threads(), range(9))) == {1}
    assert torch.get_num_threads() == 3
    with ThreadPoolExecutor(1) as later:
        assert later.submit(torch.get_num_threads).result() == 3


def test_a_team_infers_and_keeps_the_order(three):
    assert three.each(lambda x: (x, torch.is_inference_mode_enabled()), range(5)) == [
        (x, True) for x in range(5)
    ]


def test_an_error_is_raised_when_all_have_ended(three):
    ended = []

    def fail(number):
        if number == 0:
            raise MemoryError
        ended.append(number)

    with pytest.raises(MemoryError):
        three.each(fail, range(6))
    assert sorted(ended) == [1, 2, 3, 4, 5]


def test_what_no_thread_had_time_for_is_done_by_the_one_that_wants_it(three):
    begun, held = threading.Barrier(4), threading.Event()

    def hold(_):
        begun.wait()
        return held.wait()

    busy = [three.begin(hold, None) for _ in range(3)]
    begun.wait()
    assert three.begin(lambda _: threading.current_thread(), None)() is threading.current_thread()
    held.set()
    assert [end() for end in busy] == [True] * 3


def test_a_thread_that_is_free_begins_at_once(three):
    began = threading.Event()
    end = three.begin(lambda _: began.set() or threading.current_thread(), None)
    began.wait()
    assert end() is not threading.current_thread()


def test_a_process_that_is_forked_has_a_team_of_its_own(three, monkeypatch):
    assert team() is three
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert team() is not three
