"""
Distil, fabricate, correct
==========================

A digital teacher trains an optical student, masks are designed for its kernels, a device is made with
errors, and a
tenth of the measured scenes brings its accuracy back, without a single label.

One seed and short training, about half a minute on one core. Uncorrected the device loses some points;
corrected it is within
two points of the simulation. ``photonet quickstart`` does this with three seeds, baselines and a
tolerance study.
"""

# %%
# A teacher and a student
# -----------------------
# Both see scikit-learn's scanned digits. The student has 8 kernels 7 x 7 by light and a small digital
# backend; it learns
# from the teacher's softened outputs.

import matplotlib.pyplot as plt
import torch

from photonet import correct, data, design, distill, measured, models
from photonet.distill import TrainConfig, accuracy, predict
from photonet.plot import kernel_rows
from photonet.units import mm, nm, um

torch.manual_seed(0)
train, val, test = data.digits()
teacher, student = models.lenet(), models.compressed_meta()
views = data.augmented(train, 3, torch.Generator().manual_seed(0))
distill(teacher, None, views, val=val, method="ce", config=TrainConfig(epochs=4, batch_size=64))
distill(student, teacher, train, val=val, method="kd", config=TrainConfig(epochs=15, batch_size=64, lr=1e-2))
print(f"teacher {accuracy(predict(teacher, test.images), test.labels):.3f}")

# %%
# Masks for the kernels
# ---------------------
# Reliefs in fused silica whose point spread functions are the positive and the negative part of each
# kernel. From here
# on the student uses what the masks really do.

plan = design.kernels_to_masks(
    student.optics.weight, wavelength=525 * nm, distance=0.8 * mm, pitch=1 * um, pixel=8, samples=120
)
wished = student.optics.weight.detach().clone()
student.optics.set_kernels(plan.kernels())
simulated = accuracy(predict(student, test.images), test.labels)
print(f"efficiency {plan.efficiency.mean():.2f}, simulated accuracy {simulated:.3f}")

# %%
# A device with errors
# --------------------
# 5 % too high, displaced by 1.5 sensor pixels, unequal captures, crosstalk, and a camera.

errors = {"height": [0.05], "shift_y": [1.5], "shift_x": [-1.5], "gain": [0.2], "crosstalk": [0.4]}
device = measured.make_devices(plan, errors, [3], binning=4)[0]
seen = device.measure(test.images, test.labels)
uncorrected = accuracy(predict(student.backend, seen.features), test.labels)

# %%
# Correction
# ----------
# 126 of the 1,258 training scenes are measured; labels are not used.

bench = device.measure(train.images, exposure=1)
result = correct(student, bench, fraction=0.10, method="calibration")
corrected = accuracy(predict(result.student.backend, seen.features), test.labels)
print(f"uncorrected {uncorrected:.3f}, corrected {corrected:.3f}: {result.reason}")
if not (uncorrected < simulated - 0.02 and corrected > simulated - 0.02):
    raise SystemExit("the device should lose more than two points, and correction should win them back")

# %%
# What was wished, what the masks do, and what the camera of the device sees of a point of light:

kernel_rows(
    {
        "wished": wished[:, 0],
        "designed": plan.kernels()[:, 0],
        "measured": device.point_response(15),
    }
)
plt.show()
