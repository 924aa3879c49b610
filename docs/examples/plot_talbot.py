"""
A grating that images itself
============================

Behind a grating in a plane wave the picture of the grating returns, without any lens, at multiples of the
Talbot length; half way it returns shifted by half a period, and between them with twice the period's
frequency. The periodic window makes it exact.

Expect the self-image to differ from the grating by 2e-4: that is the paraxial formula of the Talbot length,
not the propagation, since the exact phases of the orders never quite meet again. Runs in 2 seconds.
"""

# %%
# Parameters, all in SI units.
import matplotlib.pyplot as plt
import torch

from photonet import Grid
from photonet.optics import propagate

wavelength = 525e-9  # m
period = 64e-6  # m
pitch, samples = 1e-6, 256  # m; four periods
opening = 0.25  # part of the period that is open

# %%
# Soft bars: a hard edge would need endless orders. Rows are alike, so eight of them will do.
grid = Grid((8, samples), pitch)
phase = 2 * torch.pi * grid.x / period
bars = torch.exp(-((torch.sin(phase / 2) / torch.sin(torch.tensor(torch.pi * opening / 2))) ** 2))
u = bars.expand(1, *grid.shape).to(torch.complex128)
talbot = 2 * period**2 / wavelength
print(f"Talbot length: {talbot * 1e3:.2f} mm")

# %%
# ``padding=1`` is a periodic window: light that leaves on one side comes in on the other, as in an endless
# grating. Distances to one and a half Talbot lengths make the carpet.
fractions = torch.linspace(0, 1.5, 91, dtype=torch.float64)
carpet = torch.stack(
    [propagate(u, grid, wavelength, z, padding=1)[0, 0].abs().square() for z in (fractions * talbot).tolist()]
)

# %%
# Compare: after one length the grating, after half of it the grating shifted by half a period.
start = carpet[0]
errors = {
    "one Talbot length": (carpet[60] - start).norm() / start.norm(),
    "half, shifted by half a period": (carpet[30] - start.roll(32)).norm() / start.norm(),
}
for name, error in errors.items():
    print(f"{name}: relative difference {error:.1e}")
assert max(errors.values()) < 1e-3

# %%
figure, axis = plt.subplots(figsize=(9, 3.6), layout="constrained")
axis.imshow(
    carpet.T.numpy(),
    extent=(0, 1.5, -samples * pitch / 2 * 1e6, samples * pitch / 2 * 1e6),
    aspect="auto",
    cmap="magma",
)
axis.set(xlabel="distance (Talbot lengths)", ylabel="x (µm)", title="irradiance behind the grating")
plt.show()
