import importlib

import torch

from photonet import Grid
from photonet.optics import propagate, transfer


def test_cache_holds_every_input_and_nothing_that_needs_a_gradient(random_field, monkeypatch):
    built = []
    real = transfer.transfer
    module = importlib.import_module("photonet.optics.propagate")
    monkeypatch.setattr(module, "transfer", lambda *a, **k: built.append(a) or real(*a, **k))
    transfer.clear_cache()
    grid, u = Grid((8, 9), 2e-6), random_field(1, 8, 9)
    first = propagate(u, grid, 5e-7, 1e-3)
    assert torch.equal(propagate(u, grid, 5e-7, 1e-3), first)
    assert len(built) == 1
    others = [
        lambda: propagate(u, grid, 5.1e-7, 1e-3),
        lambda: propagate(u, grid, 5e-7, 1.1e-3),
        lambda: propagate(u, Grid((8, 9), 2.1e-6), 5e-7, 1e-3),
        lambda: propagate(u, grid, 5e-7, 1e-3, output=Grid((8, 9), 2e-6, (1e-6, 0))),
        lambda: propagate(u.to(torch.complex64), grid, 5e-7, 1e-3),
        lambda: propagate(u, grid, 5e-7, 1e-3, padding=3),
    ]
    for number, other in enumerate(others, 2):
        assert other().shape == first.shape
        assert len(built) == number
    z = torch.tensor(1e-3, dtype=torch.float64, requires_grad=True)
    for _ in range(2):
        propagate(u, grid, 5e-7, z)
    assert len(built) == len(others) + 3


def test_cache_is_bounded(random_field, monkeypatch):
    transfer.clear_cache()
    monkeypatch.setattr(transfer, "CACHE_BYTES", 5000)
    grid, u = Grid(8, 2e-6), random_field(1, 8, 8)
    for n in range(9):
        propagate(u, grid, 5e-7, 1e-3 + n * 1e-4)
    kept = sum(k.numel() * k.element_size() for k in transfer._cache.values())
    assert 0 < kept <= 5000


def test_kernel_made_in_inference_mode_serves_training(random_field):
    transfer.clear_cache()
    grid, u = Grid(8, 2e-6), random_field(1, 8, 8)
    with torch.inference_mode():
        propagate(u, grid, 5e-7, 1e-3)
    u.requires_grad_()
    propagate(u, grid, 5e-7, 1e-3).abs().sum().backward()
    assert torch.isfinite(u.grad.abs()).all()


def test_single_and_double_windows_fall_back_to_the_same_kernel_smoothly(random_field):
    """At the distance where auto changes its method the field does not jump."""
    grid, wave = Grid(600, 4e-6), 532e-9
    critical = 600 * 4e-6 * ((2 * 4e-6 / wave) ** 2 - 1) ** 0.5
    y, x = grid.mesh()
    u = ((y**2 + x**2) < (0.3e-3) ** 2).to(torch.complex128)[None]
    before, after = (propagate(u, grid, wave, critical * s)[0, 300, 300] for s in (1 - 1e-9, 1 + 1e-9))
    # the carrier turns by k z 2e-9 = 0.9 rad between the two; the magnitude must stay
    assert abs(float(before.abs() / after.abs()) - 1) < 1e-6
