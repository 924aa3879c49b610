import pytest
import torch
from torch.autograd import gradcheck
from torch.func import functional_call

from photonet import Grid
from photonet.errors import GridMismatch, InvalidArgument
from photonet.nn import Aperture, DiffractiveStack, FourF, PhaseMask, detector_regions
from photonet.optics import focal_plane, four_f, gaussian_beam, pupil_grid

WAVE = 525e-9


def smooth(grid, waist, waves=WAVE):
    return gaussian_beam(grid, waves, waist=waist)


class TestFourF:
    def test_focus_of_a_gaussian_is_a_gaussian(self):
        grid, f, waist = Grid(64, 5e-6), 0.05, 40e-6
        plane = Grid((40, 30), 12e-6, (50e-6, 0.0))
        got = focal_plane(smooth(grid, waist), grid, WAVE, f, plane)
        # Goodman eq. (5-19) of exp(-rho^2 / w^2): waist w f / (pi w0), amplitude turned by -i
        expected = -1j * smooth(plane, WAVE * f / (torch.pi * waist))
        torch.testing.assert_close(got, expected, atol=1e-6 * float(expected.abs().max()), rtol=0)

    @pytest.mark.parametrize("n", [16, 17])
    def test_image_is_inverted_about_the_axis(self, n):
        grid = Grid(n, 5e-6)
        u = torch.randn(1, n, n, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
        image = four_f(u, grid, WAVE, 0.1)
        index = 2 * (n // 2) - torch.arange(n)
        inside = index < n  # an even window has one sample on one side that the other has not
        turned = u[..., index[inside], :][..., :, index[inside]]
        torch.testing.assert_close(image[..., inside, :][..., inside], -turned, atol=1e-11, rtol=0)

    def test_three_colours_and_a_magnification(self):
        waves = [450e-9, 532e-9, 635e-9]
        grid = Grid(48, 5e-6)
        system = FourF(grid, waves, 0.05, second=0.1)
        u = smooth(grid, 30e-6, waves)  # exp(-16) at the edge of the window
        image = system(u)
        assert system.output.pitch == (10e-6, 10e-6)
        expected = -smooth(system.output, 60e-6, waves)
        torch.testing.assert_close(image, expected, atol=1e-6 * float(expected.abs().max()), rtol=0)

    def test_a_pupil_that_is_a_prism_moves_the_image(self):
        grid, f, shift = Grid(64, 5e-6), 0.05, 6
        plane = pupil_grid(grid, WAVE, f)
        y, _ = plane.mesh()
        ramp = (2 * torch.pi * y * shift * 5e-6 / (WAVE * f)).expand(plane.shape)
        u = smooth(grid, 30e-6)
        image = FourF(grid, WAVE, f, pupil=PhaseMask(ramp, trainable=False))(u)
        expected = -smooth(Grid(64, 5e-6, (-shift * 5e-6, 0.0)), 30e-6)
        # u(-x) moves against the ramp: down by `shift` samples
        peak = int(image[0].abs().argmax()) // 64
        assert abs(peak - 32) == shift
        turned = expected if peak > 32 else expected.flip(-2)
        assert float((image.abs().amax() - turned.abs().amax()).abs() / image.abs().amax()) < 1e-6

    def test_ledger_adds_up(self):
        grid, f = Grid(32, 5e-6), 0.05
        plane = pupil_grid(grid, WAVE, f)
        hole = Aperture.circular(plane, plane.extent[0] / 8)
        system = FourF(grid, WAVE, f, pupil=hole)
        u = torch.randn(3, 1, 32, 32, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
        ledger = system.ledger(u)
        names = [e.element for e in ledger.entries]
        assert names == ["first lens", "pupil", "second lens"]
        for entry in ledger.entries:
            torch.testing.assert_close(entry.entering, entry.absorbed + entry.outside + entry.leaving)
        first, pupil, _ = ledger.entries
        # a white field: the pupil passes its share of the area (of 6 sigma of 400 speckles)
        share = float((pupil.leaving / pupil.entering).mean())
        assert share == pytest.approx(float(hole.transmission.square().mean()), rel=0.3)
        torch.testing.assert_close(first.leaving, first.entering)  # Parseval: this plane loses nothing
        assert ledger.to_xarray().absorbed.dims == ("element", "batch_0", "wavelength")

    def test_gradcheck_of_the_focal_lengths(self):
        grid = Grid(6, 10e-6)
        system = FourF(grid, WAVE, 0.1, second=0.2, trainable=True)
        u = torch.randn(1, 6, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))

        def run(first, second, u):
            return functional_call(system, {"focal_length": first, "second": second}, (u,))

        lengths = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.1003, 0.2007)]
        assert gradcheck(run, (*lengths, u.requires_grad_()))

    def test_bad_input_is_named(self):
        with pytest.raises(InvalidArgument, match="focal_length"):
            FourF(Grid(4, 1e-6), WAVE, 0.0)
        with pytest.raises(InvalidArgument, match="grid: expected a Grid"):
            FourF("grid", WAVE, 0.1)
        with pytest.raises(InvalidArgument, match="plane: expected a Grid"):
            FourF(Grid(4, 1e-6), WAVE, 0.1, plane=(8, 8))
        with pytest.raises(InvalidArgument, match="grid: expected a Grid"):
            DiffractiveStack((4, 4), WAVE, 0.1)
        with pytest.raises(GridMismatch, match="u: expected"):
            FourF(Grid(4, 1e-6), WAVE, 0.1)(torch.ones(1, 5, 5, dtype=torch.complex64))
        with pytest.raises(InvalidArgument, match="u: expected a complex field"):  # it would become darkness
            FourF(Grid(4, 1e-6), WAVE, 0.1)(torch.ones(1, 4, 4))
        with pytest.raises(InvalidArgument, match="u: expected a complex field"):
            four_f(torch.ones(1, 4, 4), Grid(4, 1e-6), WAVE, 0.1)
        with pytest.raises(InvalidArgument, match="focal_length: expected"):
            pupil_grid(Grid(4, 1e-6), WAVE, 0.0)
        with pytest.raises(InvalidArgument, match="output: expected a Grid"):
            focal_plane(torch.ones(1, 4, 4) + 0j, Grid(4, 1e-6), WAVE, 0.1, "plane")


class TestDiffractiveStack:
    grid = Grid(24, 8e-6)

    @pytest.mark.parametrize("shape", [8, 9, (8, 11)])
    def test_regions_that_fill_the_window_have_equal_areas(self, shape):
        grid = Grid(shape, 1e-6, centre=(3e-6, -2e-6))
        sides = [extent / 2 for extent in grid.extent]
        area = detector_regions(grid, 4, size=sides).sum((-2, -1))
        torch.testing.assert_close(area, torch.full_like(area, sides[0] * sides[1] / grid.cell))

    def test_regions_do_not_overlap_and_are_alike(self):
        regions = detector_regions(self.grid, 10)
        assert regions.shape == (10, 24, 24)
        assert float(regions.sum(0).max()) <= 1 + 1e-12
        area = regions.sum((-2, -1))
        torch.testing.assert_close(area, area[:1].expand(10))
        with pytest.raises(InvalidArgument, match="none overlap"):
            detector_regions(self.grid, 10, size=1e-3)

    def test_scores_are_shares_of_the_power(self):
        stack = DiffractiveStack(self.grid, [WAVE, 633e-9], 4e-3, layers=2, classes=4)
        u = torch.ones(3, 2, 24, 24, dtype=torch.complex64) * torch.tensor([1, 2, 3])[:, None, None, None]
        scores = stack(u)
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(3))
        torch.testing.assert_close(scores[0], scores[2], atol=1e-4, rtol=0)  # brightness does not matter
        torch.testing.assert_close(stack.powers(u)[1], 4 * stack.powers(u)[0])

    def test_darkness_has_finite_scores(self):
        stack = DiffractiveStack(self.grid, WAVE, 4e-3, layers=1)
        assert bool(torch.isfinite(stack(torch.zeros(1, 24, 24, dtype=torch.complex64))).all())

    def test_gradcheck_of_phase_and_distance(self):
        grid = Grid(8, 4e-6)
        stack = DiffractiveStack(grid, WAVE, 1e-4, layers=1, classes=2, trainable_distance=True).double()
        u = torch.randn(1, 8, 8, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))

        def run(phase, first, last):
            values = {
                "masks.0.phase": phase,
                "spaces.0.distance": first * 1e-4,
                "spaces.1.distance": last * 1e-4,
            }
            return functional_call(stack, values, (u,))

        phase = torch.rand(8, 8, dtype=torch.float64, requires_grad=True)
        one = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (1.0, 1.1)]
        assert gradcheck(run, (phase, *one), fast_mode=True, atol=1e-5, rtol=1e-3)

    def test_it_learns_to_steer(self):
        """Two tilted waves, two regions: one mask tells them apart."""
        stack = DiffractiveStack(self.grid, WAVE, 4e-3, layers=1, classes=2)
        _, x = self.grid.mesh()
        tilt = 2 * torch.pi * x / (self.grid.extent[1])
        u = torch.stack([torch.exp(s * 1j * tilt).expand(24, 24) for s in (1, -1)])[:, None].to(
            torch.complex64
        )
        labels = torch.tensor([1, 0])
        optimizer = torch.optim.Adam(stack.parameters(), lr=0.3)
        for _ in range(15):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(stack(u), labels)
            loss.backward()
            optimizer.step()
        assert stack(u).argmax(-1).tolist() == [1, 0]
        assert loss.item() < 0.35  # half the ln 2 of guessing

    def test_ledger_adds_up(self):
        stack = DiffractiveStack(self.grid, WAVE, 4e-3, layers=2)
        u = torch.ones(1, 24, 24, dtype=torch.complex64)
        ledger = stack.ledger(u)
        assert len(ledger.entries) == 6
        for before, after in zip(ledger.entries[:-1], ledger.entries[1:], strict=True):
            torch.testing.assert_close(before.leaving, after.entering)
        torch.testing.assert_close(ledger.entries[-1].leaving.sum(), stack.powers(u).sum())
