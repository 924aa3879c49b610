"""
How many of these lenses will work?
===================================

A process etches some per cent too deep or too shallow, differently from wafer to wafer. A lens passes when it
keeps 98 % of the designed light in the focus. 256 devices are made; the yield comes with its interval.

Expect a yield of 0.992, between 0.972 and 0.999: the depth may be off by 7.8 % until sinc² falls below 0.98,
which is 2.6 standard deviations, so the formula says 0.991. Runs in 4 seconds.
"""

# %%
# Parameters, all in SI units.
import math

import matplotlib.pyplot as plt
import torch

from photonet import Field, Grid, Mask, simulate
from photonet.fabrication import HeightError
from photonet.tolerance import Normal, tolerance

wavelength = 525e-9  # m
focal_length = 10e-3  # m
shape, pitch = 128, 4e-6  # samples, m
depth_sigma = 0.03  # relative, from wafer to wafer
required = 0.98  # of the designed light

# %%
# The design.
y, x = Grid(shape, pitch).mesh()
phase = (-math.pi * (y**2 + x**2) / (wavelength * focal_length)) % (2 * math.pi)
lens = Mask.from_phase(phase, pitch=pitch, wavelength=wavelength, distance=focal_length)
light = Field.plane_wave(shape=shape, pitch=pitch, wavelength=wavelength)
designed = simulate(lens, light).irradiance.max().item()

# %%
# A system makes devices from draws, a metric judges one device. Each may do what it likes with its seed.


def make(draws, seeds):
    """Lenses with a depth error each."""
    return [
        lens.perturb(HeightError(mean=float(depth)), seed=seed)
        for depth, seed in zip(draws["depth"], seeds, strict=True)
    ]


def light_in_focus(device):
    """Peak irradiance relative to the design."""
    return simulate(device, light).irradiance.max().item() / designed


study = tolerance(
    make, light_in_focus, {"depth": Normal(0, depth_sigma)}, samples=256, require=required, seed=0
)
low, high = study["yield_low"].item(), study["yield_high"].item()
print(f"yield {study['yield'].item():.3f}, 95 % interval {low:.3f} to {high:.3f}")

# %%
# What the formula says: 2 Phi(e / sigma) - 1 with sinc²(e) = 0.98.
limit = torch.linspace(0, 0.2, 20_001, dtype=torch.float64)
limit = limit[torch.sinc(limit) ** 2 >= required].max().item()
expected = math.erf(limit / depth_sigma / math.sqrt(2))
print(f"expected {expected:.3f}, from a largest depth error of {limit:.1%}")
assert low <= expected <= high

# %%
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.scatter(study["depth"], study["metric"], c=study["passes"], cmap="RdYlGn", s=12)
axis.axhline(required, color="gray", linewidth=1)
axis.set(xlabel="relative depth error", ylabel="light in the focus, relative to the design")
plt.show()
