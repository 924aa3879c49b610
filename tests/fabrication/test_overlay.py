import pytest
import torch

from photonet import materials
from photonet.errors import InvalidArgument
from photonet.fabrication import Geometry, HeightError, MaskOverlay, apply, overlay_cells
from photonet.mask import Mask

PITCH, DEPTH = 1e-6, 7e-7
ERROR = MaskOverlay(masks=3, depth=DEPTH, systematic=5e-8)


def relief(ny=6, nx=8, seed=0):
    levels = torch.randint(0, 8, (ny, nx), generator=torch.Generator().manual_seed(seed))
    return levels.to(torch.float64) * DEPTH / 7


def made(height, shifts_y, shifts_x, pitch=PITCH):
    geometry = Geometry(shape=tuple(height.shape), pitch=(pitch, pitch), height=height)
    draws = {
        f"overlay_{a}": torch.as_tensor(s, dtype=torch.float64).reshape(-1, 1, 1)
        for a, s in (("y", shifts_y), ("x", shifts_x))
    }
    return apply(geometry, [ERROR], [draws])


def test_masks_that_coincide_leave_the_relief_alone():
    parts = list(overlay_cells(made(relief(), [0, 0, 0], [0, 0, 0])))
    assert sum(area for area, _ in parts).item() == pytest.approx(1)
    for area, extra in parts:
        assert area.item() * extra.abs().max().item() == 0


def test_agrees_with_the_masks_drawn_on_a_fine_grid():
    """Shifts of whole tenths of a sample, against ten by ten sub-samples of every sample."""
    fine, height = 10, relief()
    y, x = [0, 3, -12], [0, 7, 2]  # in tenths; the last beyond a whole sample
    levels = torch.round(height / (DEPTH / 7)).long()
    big = levels.repeat_interleave(fine, 0).repeat_interleave(fine, 1)
    total = torch.zeros_like(big)
    for m in range(3):
        bit = (big >> (2 - m)) & 1
        rolled = torch.roll(bit, (y[m], x[m]), (0, 1))
        rows = torch.arange(big.shape[0]) - y[m]
        columns = torch.arange(big.shape[1]) - x[m]
        inside = ((rows >= 0) & (rows < len(rows)))[:, None] & ((columns >= 0) & (columns < len(columns)))
        total += (rolled * inside) << (2 - m)
    k = 1.1e7  # rad per metre of relief
    exact = torch.exp(1j * k * total.double() * DEPTH / 7).reshape(6, fine, 8, fine).mean((1, 3))
    shifts = [[s * PITCH / fine for s in axis] for axis in (y, x)]
    t = sum(
        area * torch.exp(1j * k * (height + extra)) for area, extra in overlay_cells(made(height, *shifts))
    )
    torch.testing.assert_close(t, exact)


def test_a_mask_carries_its_overlay_to_every_wavelength_and_device(tmp_path):
    mask = Mask.from_height(relief(), pitch=PITCH, material="SiO2")
    several = mask.perturb(ERROR, seed=2, devices=3)
    t = several.transmission([450e-9, 635e-9])
    assert t.shape == (3, 2, 6, 8)
    torch.testing.assert_close(t[0], mask.perturb(ERROR, seed=2).transmission([450e-9, 635e-9]))
    assert (t.abs() <= 1 + 1e-12).all()
    several.save(tmp_path / "a.h5")
    assert torch.equal(Mask.load(tmp_path / "a.h5").transmission([450e-9, 635e-9]), t)
    wafer = Mask.from_height(torch.stack([relief(), relief(seed=1)]), pitch=PITCH, material="SiO2")
    torch.testing.assert_close(wafer.perturb(ERROR, seed=2, devices=3).transmission(450e-9)[:, 0, 0], t[:, 0])


def test_a_blaze_loses_the_area_of_its_slivers():
    """To first order each edge of a mask leaves a sliver |shift| wide, so the loss is linear in the shift."""
    levels = (torch.arange(64) % 8).to(torch.float64).expand(4, 64) * DEPTH / 7
    contrast = (materials.load("SiO2").index(600e-9) - materials.load("air").index(600e-9)).item()
    full = 600e-9 / contrast  # one wave
    height = levels * (7 / 8) * full / DEPTH
    order = []
    for shift in (0.0, 2e-8, 4e-8):
        error = MaskOverlay(masks=3, depth=7 / 8 * full)
        draws = {
            "overlay_y": torch.zeros(3, 1, 1, dtype=torch.float64),
            "overlay_x": torch.tensor([0, shift, -shift], dtype=torch.float64).reshape(3, 1, 1),
        }
        mask = Mask.from_height(height, pitch=PITCH, material="SiO2")
        geometry = apply(mask.geometry, error, [draws])
        t = type(mask)(geometry=geometry, material=mask.material, surround=mask.surround).transmission(600e-9)
        order.append(torch.fft.fft(t[0, 0])[8].abs().item() ** 2 / 64**2)
    assert order[0] == pytest.approx(1)  # samples, not steps: the sinc of a level is not in the samples
    first, second = order[0] - order[1], order[0] - order[2]
    assert first > 1e-3
    assert second == pytest.approx(2 * first, rel=0.1)


def test_gradients_reach_the_shifts_and_the_height():
    levels = relief(3, 4)

    def run(scale, dy, dx):
        shifts = torch.stack([torch.zeros(()), dy, dx]).double().reshape(3, 1, 1)
        geometry = Geometry(shape=(3, 4), pitch=(1.0, 1.0), height=levels)
        geometry = apply(geometry, ERROR, [{"overlay_y": shifts, "overlay_x": -0.7 * shifts}])
        parts = [
            area * torch.exp(1e7j * (scale * geometry.height + e)) for area, e in overlay_cells(geometry)
        ]
        return torch.stack(parts).sum(0)

    arguments = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, 0.13, -0.31)]
    assert torch.autograd.gradcheck(run, arguments)


def test_heights_between_levels_are_refused():
    mask = Mask.from_height([[0.0, 1.5e-7]], pitch=PITCH, material="SiO2")
    with pytest.raises(InvalidArgument, match=r"quantize\(8, depth=7e-07\) first"):
        mask.perturb(ERROR, seed=0)
    mask.quantize(8, depth=DEPTH).perturb([ERROR, HeightError(random=0.01)], seed=0)
    with pytest.raises(InvalidArgument, match="MaskOverlay first"):
        mask.quantize(8, depth=DEPTH).perturb([HeightError(random=0.01), ERROR], seed=0)
    with pytest.raises(InvalidArgument, match="it has no height"):
        Mask.from_phase([[0.0]], pitch=PITCH).perturb(ERROR, seed=0)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"masks": 0}, "masks"), ({"depth": 0}, "depth"), ({"systematic": (1e-9, -1e-9)}, "systematic")],
)
def test_bad_arguments_are_named(arguments, name):
    with pytest.raises(InvalidArgument, match=f"^{name}: "):
        MaskOverlay(**({"masks": 2, "depth": 1e-7} | arguments))
