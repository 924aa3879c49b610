"""
Training for the device, not for the design
===========================================

Two optical students learn the same digits. One sees its own design at every step; the other is a new device
each time, with unequal captures, a displaced image, wrong kernels and a camera of 8 bits. Then both are made.

One seed, about ten seconds on one core.
"""

# %%
# What a device is
# ----------------
# The published model of a fabricated encoder (Eq. 10 of arXiv 2508.08421), with the errors this process is
# assumed to have. A feature is four sensor pixels wide, so the image lands up to two pixels beside its place.

import matplotlib.pyplot as plt
import torch

from photonet import data, distill, models
from photonet.detector import Detector
from photonet.distill import DeviceNoise, TrainConfig, accuracy, predict

camera = Detector(bits=8, gain=255 / 32000)
process = DeviceNoise(gain=0.2, shift=0.5, kernel=0.5, camera=camera)

# %%
# Two students
# ------------
# Same first weights, same order of samples, same number of steps.

train, val, test = data.digits()
settings = TrainConfig(epochs=12, batch_size=64, lr=1e-2)
students = {}
for name, noise in {"trained on its design": None, "trained as devices": process}.items():
    torch.manual_seed(0)
    students[name] = models.compressed_meta()
    distill(students[name], None, train, val=val, method="ce", config=settings, noise=noise)
    print(f"{name}: {accuracy(predict(students[name], test.images), test.labels):.3f} without any error")

# %%
# Twelve devices of each, for better and worse processes
# ------------------------------------------------------
# Devices that no training step has seen; equal numbers are equal errors for both students.


@torch.no_grad()
def devices(student, strength, count=12):
    """Accuracies of devices whose errors are ``strength`` times those of the process."""
    made = DeviceNoise(gain=0.2 * strength, shift=0.5 * strength, kernel=0.5 * strength, camera=camera)
    seeds = (torch.Generator().manual_seed(1000 + number) for number in range(count))
    return torch.tensor([accuracy(made(student, test.images, generator=s), test.labels) for s in seeds])


strengths = [0.0, 0.5, 1.0, 1.5]
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
found = {}
for name, student in students.items():
    found[name] = torch.stack([100 * devices(student, strength) for strength in strengths])
    mean, spread = found[name].mean(1), found[name].std(1)
    ax.errorbar(strengths, mean, spread, marker="o", capsize=3, label=name)
    print(f"{name}: {mean[2]:.1f} +- {spread[2]:.1f} % in the process it may be made in")
ax.set(xlabel="errors, relative to the process", ylabel="test accuracy of devices (%)")
ax.legend()
if not found["trained as devices"][2].mean() > found["trained on its design"][2].mean():
    raise SystemExit("the noise-aware student should be better where it is made")
plt.show()

# %%
# The design of the second student is worse, and its devices are better and more alike. Where a process is
# nearly perfect it is the other way round: the errors assumed in training are a choice, and should be those
# of the process.
