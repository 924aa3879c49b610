"""
The photon transfer curve of a simulated camera
===============================================

EMVA 1288 finds the gain of a camera from the noise of its pictures: shot noise makes the variance of the
grey values grow with their mean, and the slope is the system gain K. Here the same is done with a
simulated camera, whose K is known. This is how one tests a bench, and how one tests a simulator.

Expect K = 0.120 DN per electron to within 1 %, and a variance that falls at the end, where pixels are
full. Runs in 2 seconds.
"""

# %%
# Parameters, all in SI units; the camera's own are those of its data sheet.
import matplotlib.pyplot as plt
import torch

from photonet import Detector

wavelength = 525e-9  # m
camera = Detector(gain=0.12, dark_noise=7.0, full_well=32_000.0, prnu=0.0, dsnu=0.0)
irradiance = torch.linspace(0, 0.085, 40, dtype=torch.float64)  # W/m^2

# %%
# Two exposures at every irradiance: half the variance of their difference is free of fixed patterns.
flat = irradiance[:, None, None, None].expand(-1, 1, 128, 128)
first, second = (camera.expose(flat, wavelength, seed=seed).flatten(1) for seed in (1, 2))
mean = ((first + second) / 2).mean(1) - camera.black_level
variance = (first - second).var(1) / 2

# %%
# The slope over the lower 70 % of the range, as the standard asks.
used = mean < 0.7 * mean.max()
design = torch.stack([mean[used], torch.ones_like(mean[used])], dim=1)
gain, floor = torch.linalg.lstsq(design, variance[used, None]).solution.flatten().tolist()
read_noise = (
    variance[0].item() - 1 / 12
) ** 0.5 / gain  # of the dark pictures, without the noise of rounding
print(f"gain K: {gain:.4f} DN/e-, of the camera {camera.gain}")
print(f"read noise: {read_noise:.2f} e-, of the camera {camera.dark_noise}")
assert abs(gain / camera.gain - 1) < 0.01
assert abs(read_noise / camera.dark_noise - 1) < 0.03

# %%
figure, axis = plt.subplots(figsize=(6, 4), layout="constrained")
axis.plot(mean, variance, ".", label="measured")
axis.plot(mean, floor + gain * mean, label=f"slope {gain:.3f} DN/e-")
axis.set(xlabel="mean grey value above black (DN)", ylabel="variance (DN²)")
axis.legend()
plt.show()
