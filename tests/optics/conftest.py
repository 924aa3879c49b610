import numpy as np
import pytest
import torch
from scipy import special


@pytest.fixture(scope="session")
def exact_gaussian():
    """The field of a unit-power Gaussian as an integral over J0: no FFT, no sampling."""

    def field(grid, waist, wavelength, distance):
        # beyond 8.5 / (pi waist) the spectrum is exp(-72) of its peak
        nodes, weights = np.polynomial.legendre.leggauss(1200)
        f = (nodes + 1) * 8.5 / (2 * np.pi * waist)
        sine2 = (wavelength * f) ** 2
        spectrum = np.sqrt(2 * np.pi) * waist * np.exp(-((np.pi * waist * f) ** 2))
        phase = -2 * np.pi / wavelength * distance * sine2 / (1 + np.sqrt(1 - sine2))
        weight = 2 * np.pi * f * spectrum * np.exp(1j * phase) * weights * 8.5 / (2 * np.pi * waist)
        y, x = (a.numpy() for a in grid.mesh())
        rho, inverse = np.unique(np.round(np.hypot(y, x), 15), return_inverse=True)
        on_axis = np.exp(2j * np.pi * np.fmod(distance, wavelength) / wavelength)
        values = [special.j0(2 * np.pi * np.outer(r, f)) @ weight for r in np.array_split(rho, 64)]
        return torch.from_numpy(on_axis * np.concatenate(values)[inverse].reshape(grid.shape))

    return field


@pytest.fixture
def random_field():
    def make(*shape, seed=0, dtype=torch.complex128):
        return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))

    return make
