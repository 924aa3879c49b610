import math

import pytest
import torch

from photonet.errors import InvalidArgument
from photonet.streams import stream


def test_streams_of_one_seed_are_independent_and_repeat():
    a, b, again = (torch.randn(50_000, generator=stream(7, n)) for n in ("camera", "exposure", "camera"))
    assert torch.equal(a, again)
    assert abs((a * b).mean().item()) < 5 / math.sqrt(50_000)


def test_a_generator_is_advanced_not_copied():
    generator = torch.Generator().manual_seed(1)
    assert stream(generator, "any") is generator


@pytest.mark.parametrize("seed", [None, -1, 1.5, "0", True])
def test_bad_seeds_name_the_argument(seed):
    with pytest.raises(InvalidArgument, match=r"^seed: expected"):
        stream(seed, "exposure")


def test_a_stream_is_the_same_on_every_machine():
    # stored: SHA-256 of the name and seed, then torch's own generator; changes would change all devices
    assert stream(3, "exposure").initial_seed() == 1637685561651386422
