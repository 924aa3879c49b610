"""
A mask whose PSF is what one wants
==================================

The phase of a mask is found by gradient descent through the exact propagation, so that its point spread
function on the sensor is a wanted kernel: here a ring and its dot. A display then shows a digit,
and its image is the digit convolved with that kernel.

Expect three quarters of the light on the kernel, a correlation with it of 0.98, and a picture that is the
digital convolution to a correlation of 0.999. Runs in 6 seconds.
"""

# %%
# Parameters, all in SI units.
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from photonet import Display, Grid, Mask, data, simulate
from photonet.optics import convolve, ideal_lens, psf

wavelength = 525e-9  # m
object_distance, distance = 40e-3, 2e-3  # m, display to mask and mask to sensor
grid = Grid(64, 3e-6)  # samples, m; of mask and sensor
steps, rate = 60, 0.2

# %%
# The kernel: a ring of 36 um with a dot in the middle, of unit sum, as soft as diffraction will make it.
y, x = grid.mesh()
rho = (y**2 + x**2).sqrt()
blur = 5e-6  # m; diffraction of the whole mask has 5.5 um
wanted = torch.exp(-(((rho - 18e-6) / blur) ** 2)) + torch.exp(-((rho / blur) ** 2))
wanted = (wanted / wanted.sum()).float()

# %%
# Start from a lens that is a little out of focus, and descend. The loss is the difference of the roots,
# which counts light in the dark as much as light that is missing in the bright.
start = ideal_lens(grid, wavelength, 1 / (1 / object_distance + 1 / (1.3 * distance)))[0].float()
phase = start.clone().requires_grad_()
adam = torch.optim.Adam([phase], lr=rate)
for step in range(steps):
    mask = torch.polar(torch.ones_like(phase), phase)[None]
    spread = psf(mask, grid, wavelength, distance, source=object_distance)[0]
    loss = (spread.clamp_min(1e-9).sqrt() - wanted.clamp_min(1e-9).sqrt()).square().sum()
    adam.zero_grad()
    loss.backward()
    adam.step()
    if step % 20 == 0 or step == steps - 1:
        print(f"step {step:3d}: loss {loss.item():.4f}")

# %%
# How good is it?
spread = spread.detach()
bright = wanted > 0.1 * wanted.max()
efficiency = spread[bright].sum().item()
correlation = F.cosine_similarity(spread.flatten(), wanted.flatten(), dim=0).item()
print(f"{efficiency:.0%} of the light on the kernel, correlation {correlation:.3f}")
assert correlation > 0.95

# %%
# The bench: a display of 28 x 28 pixels of 100 um, 40 mm away; on the sensor it is a twentieth as wide.
optic = Mask.from_phase(phase.detach(), pitch=grid.pitch, distance=distance)
digit = data.digits().test.images[4, 0]
screen = Display.from_image(digit, pitch=100e-6, wavelength=wavelength, distance=object_distance)
seen = simulate(optic, screen).irradiance[0]

# %%
# The same by arithmetic: the display through a sharp lens, convolved with the wanted kernel.
focal_length = 1 / (1 / object_distance + 1 / distance)
sharp = Mask.from_phase(ideal_lens(grid, wavelength, focal_length)[0], pitch=grid.pitch, distance=distance)
geometric = simulate(sharp, screen).irradiance[0].to(seen)
expected = convolve(geometric, wanted)
likeness = F.cosine_similarity(seen.flatten(), expected.flatten(), dim=0).item()
print(f"correlation of the picture with the convolution: {likeness:.3f}")
assert likeness > 0.95

# %%
figure, axes = plt.subplots(1, 4, figsize=(12, 3.2), layout="constrained")
pictures = {
    "wanted kernel": wanted,
    "PSF of the mask": spread,
    "digit through a lens": geometric,
    "through the mask": seen,
}
for axis, (title, picture) in zip(axes, pictures.items(), strict=True):
    axis.imshow(picture.numpy(), cmap="magma")
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
