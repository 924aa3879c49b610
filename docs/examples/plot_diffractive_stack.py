"""
Digits read by diffraction alone
================================

Scanned digits are shown as light; phase masks between them and a sensor are trained until each
digit sends most of its light to its own square. No arithmetic is left to do but to find the
brightest square.

Expect about 89 % of the test digits, from phases alone. Runs in 10 seconds on one core.
"""

# %%
# Parameters, all in SI units.
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from photonet import Grid, data
from photonet.nn import DiffractiveStack

torch.manual_seed(0)
wavelength = 525e-9  # m
grid = Grid(40, 8e-6)  # samples, m
distance = 4e-3  # m, between planes
layers, epochs, batch = 3, 6, 50

# %%
# The pictures as amplitudes in the middle of the window.
digits = data.digits()


def light(images):
    margin = (grid.shape[0] - images.shape[-1]) // 2
    return F.pad(images, (margin,) * 4).sqrt().to(torch.complex64)


# %%
stack = DiffractiveStack(grid, wavelength, distance, layers=layers, classes=10)
optimizer = torch.optim.Adam(stack.parameters(), lr=0.1)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
started = time.perf_counter()
for epoch in range(epochs):
    order = torch.randperm(len(digits.train.images))
    for chosen in order.split(batch):
        loss = F.cross_entropy(stack(light(digits.train.images[chosen])), digits.train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    schedule.step()
    print(f"epoch {epoch + 1}: last loss {loss.item():.2f}, {time.perf_counter() - started:.0f} s")

# %%
with torch.no_grad():
    u = light(digits.test.images)
    accuracy = (stack(u).argmax(-1) == digits.test.labels).float().mean().item()
    sensor = stack.field(u).abs().square()[:, 0]
print(f"test accuracy {accuracy:.1%}")
assert accuracy > 0.8

# %%
# Where the light of one digit goes, element by element.
with torch.no_grad():
    print(stack.ledger(u[:1]))

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
axes[0].imshow(digits.test.images[0, 0].numpy(), cmap="gray")
axes[1].imshow(stack.masks[0].phase.detach().numpy() % 6.2832, cmap="twilight")
axes[2].imshow(sensor[0].numpy(), cmap="inferno")
axes[3].imshow((stack.regions * torch.arange(1, 11)[:, None, None]).sum(0).numpy(), cmap="tab20")
for axis, title in zip(axes, ("digit", "first mask", "light on the sensor", "squares"), strict=True):
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
