"""
A Gaussian beam, and how one knows that it is right
===================================================

A beam of known waist goes one metre through free space. `photonet.plan` says beforehand how; the result
is compared with the textbook's formula, and the power with the power that came in.

Expect a relative difference of 3.5e-7 in irradiance: that is how far the textbook's paraxial formula is
off at this waist, not the propagation. A millionth of the power lands outside of the window. Runs in a
second.
"""

# %%
# Parameters, all in SI units.
import math

import matplotlib.pyplot as plt
import torch

from photonet import Field, plan

wavelength = 633e-9  # m
waist = 200e-6  # m, radius at 1/e^2 of the irradiance
shape, pitch = 512, 10e-6  # samples, m
distance = 1.0  # m

beam = Field.gaussian(shape=shape, pitch=pitch, wavelength=wavelength, waist=waist)

# %%
# Nothing is computed yet. The plan tells the method, the padding, what is cut off, and why.
print(plan(beam, distance))

# %%
# Now it goes, in double precision, because the field is.
out = beam.propagate(distance)
print(f"power in {beam.power().item():.12f} W, out {out.power().item():.12f} W")

# %%
# The paraxial beam of the textbooks (Saleh and Teich, Fundamentals of Photonics, section 3.1).
rayleigh = math.pi * waist**2 / wavelength
radius = waist * math.sqrt(1 + (distance / rayleigh) ** 2)
y, x = out.grid.mesh()
paraxial = 2 / (math.pi * radius**2) * torch.exp(-2 * (y**2 + x**2) / radius**2)
difference = (out.intensity()[0] - paraxial).norm() / paraxial.norm()
print(f"radius after {distance} m: {radius * 1e3:.3f} mm, relative difference {difference:.1e}")
assert difference < 5e-7

# %%
# Irradiance before and after, on the same axes.
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
beam.plot(left).set_title("at the waist")
out.plot(right).set_title(f"after {distance:g} m")
plt.show()
