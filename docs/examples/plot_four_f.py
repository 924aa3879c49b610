"""
A 4f system turns the picture upside down
=========================================

Two ideal lenses image a scanned digit, first with an open Fourier plane, then through a small hole that
lets only low frequencies pass.

Expect the open image to be the digit, inverted, to rounding (1e-12), and the ledger to say what the hole
has absorbed. Runs in a second.
"""

# %%
# Parameters, all in SI units.
import matplotlib.pyplot as plt
import torch

from photonet import Grid, data
from photonet.nn import Aperture, FourF
from photonet.optics import pupil_grid

wavelength = 525e-9  # m
focal_length = 50e-3  # m, of both lenses
grid = Grid(29, 10e-6)  # samples, m; odd, so that the inverted window is the window
hole = 0.5e-3  # m, diameter

# %%
digit = torch.nn.functional.pad(data.digits().test.images[0, 0], (1, 0, 1, 0)).double()
u = digit.sqrt()[None].to(torch.complex128)
open_image = FourF(grid, wavelength, focal_length)(u)
difference = (open_image + u.flip(-2, -1)).abs().max().item()
print(f"difference from the inverted digit: {difference:.0e}")
assert difference < 1e-12

# %%
plane = pupil_grid(grid, wavelength, focal_length)
system = FourF(grid, wavelength, focal_length, pupil=Aperture.circular(plane, hole))
print(system.ledger(u))

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
pictures = {"object": u, "image": open_image, "low frequencies only": system(u)}
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture[0].abs().square().numpy(), cmap="gray")
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
