import math

import numpy as np
import pytest
import torch

from photonet import Grid
from photonet.errors import InvalidArgument, UnknownName
from photonet.optics.zernike import noll, osa, wavefront, zernike


def test_indices_count_every_polynomial_once():
    orders = {(n, m) for n in range(9) for m in range(-n, n + 1, 2)}
    assert {noll(j) for j in range(1, 46)} == orders == {osa(j) for j in range(45)}
    # Noll's table: even j is a cosine, rows in order of |m|
    assert [noll(j) for j in range(7, 11)] == [(3, -1), (3, 1), (3, -3), (3, 3)]


@pytest.mark.parametrize("n", [7, 60])
def test_polynomials_are_orthonormal_on_the_disc(n):
    """Gauss-Legendre in the squared radius and the mean over angles integrate them exactly."""
    nodes, weights = np.polynomial.legendre.leggauss(n + 3)
    rho = torch.from_numpy(np.sqrt((nodes + 1) / 2))[:, None]
    angle = torch.arange(3 * n + 3, dtype=torch.float64) * 2 * math.pi / (3 * n + 3)
    y, x = rho * angle.sin(), rho * angle.cos()
    rows = range(n + 1) if n < 10 else (n - 1, n)
    values = torch.stack([zernike(k, m, y, x) for k in rows for m in range(-k, k + 1, 2)])
    w = torch.from_numpy(weights) / 2
    gram = torch.einsum("iab,jab,a->ij", values, values, w) / len(angle)
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), atol=1e-12, rtol=0)


def test_closed_forms():
    y, x = torch.tensor(0.3).double(), torch.tensor(0.5).double()
    r2 = 0.34
    assert float(zernike(4, 0, y, x)) == pytest.approx(math.sqrt(5) * (6 * r2**2 - 6 * r2 + 1))
    assert float(zernike(3, -1, y, x)) == pytest.approx(math.sqrt(8) * (3 * r2 - 2) * 0.3)
    assert float(zernike(2, -2, y, x)) == pytest.approx(math.sqrt(6) * 2 * 0.3 * 0.5)


def test_gradient_reaches_the_coefficients():
    c = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: wavefront(Grid(5, 1e-6), 5e-6, {4: c, 7: 2 * c}), (c,))


def test_bad_orders_and_names():
    with pytest.raises(InvalidArgument, match="m: expected"):
        zernike(3, 2, torch.zeros(1), torch.zeros(1))
    with pytest.raises(UnknownName, match="did you mean noll"):
        wavefront(Grid(4, 1e-6), 1e-6, {1: 1.0}, index="nol")
    with pytest.raises(InvalidArgument, match=r"coefficients\[4\]: expected a finite number, got nan"):
        wavefront(Grid(4, 1e-6), 1e-6, {4: math.nan})
