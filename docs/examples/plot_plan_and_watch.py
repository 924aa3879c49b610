"""
How much to measure, and when to measure again
==============================================

A device comes from the fab. Sixty measured frames are the pilot: what will correction reach with more of
them? Then the bench runs; eight probe scenes are shown now and then, and tell when the laser or the mount
has moved.

Runs in one to two minutes, as each of thirty trials is a whole calibration; no data folder is needed.
"""

# %%
# A student and a device
# ----------------------
# Scanned digits, eight kernels by light, masks for them, and a device with errors.

from dataclasses import replace

import matplotlib.pyplot as plt
import torch

from photonet import correct, data, design, distill, measured, models
from photonet.distill import TrainConfig
from photonet.plot import drift, learning_curve
from photonet.units import mm, nm, um

torch.manual_seed(0)
train, val, test = data.digits()
student = models.compressed_meta()
distill(student, None, train, val=val, method="ce", config=TrainConfig(epochs=6, batch_size=64, lr=1e-2))
masks = design.kernels_to_masks(
    student.optics.weight, wavelength=525 * nm, distance=0.4 * mm, pitch=2 * um, pixel=4, samples=60
)
student.optics.set_kernels(masks.kernels())
errors = {"height": [0.05], "shift_y": [1.5], "shift_x": [-1.5], "gain": [0.3], "crosstalk": [0.4]}
device = measured.make_devices(masks, errors, [3], binning=4)[0]

# %%
# The pilot
# ---------
# Parts of the pilot are corrected with, and judged by the rest. Clean scenes say whether these sixty digits
# happen to be easy ones; the student has learned from neither.

pilot = device.measure(test.images[:60], test.labels[:60])
clean = test.images[60:], test.labels[60:]
plan = measured.plan_pilot(student, pilot, correct, clean=clean, method="calibration", sizes=[8, 20, 48])
print(plan)
print(plan.needed(0.90))
print(plan.needed(0.995))

# %%
# The points are what parts of the pilot reached before the difficulty of its scenes is known better; right of
# the dotted line the curve is extrapolated, up to three times the pilot and no farther.

learning_curve(plan)
plt.show()

# %%
# The monitor
# -----------
# Sixteen rounds of eight scenes on a quiet bench are the reference. One look is four rounds, 32 frames. At
# most one of a hundred series of twenty looks at a quiet bench may raise an alarm. The camera sees changes of
# the gain below 0.1 %; the network does not mind 2 %, so we say that this is harmless.

probes = test.images[60:68]
monitor = measured.DriftMonitor.fit(
    [device.measure(probes, exposure=i) for i in range(16)],
    false_alarm=0.01,
    looks=20,
    harmless={"gain": 0.02, "offset": 0.005, "shift_y": 0.02, "shift_x": 0.02, "noise": 0.1, "other": 0.02},
)
print(monitor)
print("found with 95 %:", {name: f"{value:.1g}" for name, value in monitor.smallest(rounds=4).items()})

# %%
# The laser fades by 0.1 % an hour, which is harmless for a long time; after the twelfth look somebody leans
# on the table.

fading = replace(device, bench={**device.bench, "drift": -0.001})
errors["shift_y"] = [1.8]
moved = replace(measured.make_devices(masks, errors, [3], binning=4)[0], bench=fading.bench)
looks = []
for hour in range(16):
    bench = fading if hour < 12 else moved
    rounds = [bench.measure(probes, exposure=100 + 4 * hour + i, time=3600.0 * hour) for i in range(4)]
    looks.append(monitor.look(rounds))
    print(f"{hour:2} h  {looks[-1]}")

# %%
# Each statistic over its limit; an alarm is named by what explains most of the change.

drift(looks)
plt.show()
