import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap

from photonet import ntk
from photonet.errors import InvalidArgument
from photonet.nn import HybridNetwork, OpticalConv2d


@pytest.fixture
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backend = nn.Sequential(nn.Flatten(), nn.Linear(2 * 3 * 3, 5), nn.ReLU(), nn.Linear(5, 3))
        return HybridNetwork(OpticalConv2d(1, 2, 3, binning=2), backend).double()


@pytest.fixture
def scenes():
    return torch.rand(4, 1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def by_definition(network, scenes):
    parameters = {name: p.detach() for name, p in network.named_parameters() if p.requires_grad}

    def one(p, scene):
        return functional_call(network, p, (scene[None],))[0]

    jacobian = vmap(jacrev(one), (None, 0))(parameters, scenes)
    return sum(torch.einsum("nop,mop->nm", j, j) for j in (j.flatten(2) for j in jacobian.values()))


def test_the_structured_gram_is_that_of_the_whole_jacobian(network, scenes):
    torch.testing.assert_close(ntk.gram(network, scenes).detach(), by_definition(network, scenes),
                               atol=0, rtol=1e-10)  # fmt: skip


def test_frozen_optics_leave_the_gram(network, scenes):
    whole = ntk.gram(network, scenes).detach()
    backend_only = ntk.gram(network.freeze_frontend(), scenes).detach()
    torch.testing.assert_close(backend_only, by_definition(network, scenes), atol=0, rtol=1e-10)
    assert bool((whole.diagonal() > backend_only.diagonal()).all())


def test_features_are_what_the_backend_gets(network, scenes):
    assert network.features(scenes).shape == (4, 2, 3, 3)
    assert torch.equal(network.backend(network.features(scenes)), network(scenes))


def test_freezing_stops_and_resumes_the_optics_alone(network):
    assert network.freeze_frontend() is network
    assert not network.optics.weight.requires_grad
    assert all(p.requires_grad for p in network.backend.parameters())
    assert network.freeze_frontend(False).optics.weight.requires_grad


def test_optics_of_another_kind_are_named():
    with pytest.raises(InvalidArgument, match="frontend: expected an OpticalConv2d, got Identity"):
        _ = HybridNetwork(nn.Identity(), nn.Identity()).optics


def test_parts_that_are_no_modules_are_named():
    for parts, name in (((None, nn.Identity()), "frontend"), ((nn.Identity(), None), "backend")):
        with pytest.raises(InvalidArgument, match=f"^{name}: expected a torch module, got NoneType"):
            HybridNetwork(*parts)
