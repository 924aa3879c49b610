"""
From a bench's file to a corrected network
==========================================

A device stands on a virtual bench: its camera is warm and uneven, its lens darkens the corners, its laser
fades and flickers, its display and its sensor are turned. The bench writes raw frames to one file, as a real
one would; from there on nobody looks at the device, only at the file.

Expect some 20 points of accuracy lost when the frames are read by the camera's data sheet, and all of them
won back without a label. Runs in half a minute on one core.
"""

# %%
# Parameters, all in SI units.
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from photonet import correct, data, design, distill, models
from photonet.detector import Detector
from photonet.distill import TrainConfig, accuracy, predict
from photonet.measured import (
    Measured,
    MeasuredData,
    calibrate,
    check,
    correct_flicker,
    correct_geometry,
    cut_windows,
    make_devices,
    run_bench,
)

wavelength = 525e-9  # m
distance = 0.8e-3  # m, mask to sensor
interval = 20.0  # s from one scene to the next: 300 of them take 100 minutes
frames = 300  # measured scenes to learn from
errors = {
    "height": [0.06],  # relative, of the relief
    "vignetting": [0.35],  # of the light, in the corners
    "pixel_gain": [0.05],  # relative
    "saturation": [1.5],  # white over the level where the response is flat
    "drift": [-0.5],  # of the laser's power, per hour
    "flicker": [0.02],  # relative, from frame to frame
    "warming": [10.0],  # K per hour
    "rotation": [0.2],  # rad
    "scale": [0.12],
    "scene_shift_x": [2.0],  # pixels
}
camera = Detector(dark_current=2000.0, dsnu=(1.0, 2.0, 8.0), prnu=0.01)

# %%
# A student whose kernels are made by masks, and a device made of them.
torch.manual_seed(0)
train, val, test = data.digits()
student = models.compressed_meta()
distill(student, None, train, val=val, method="ce", config=TrainConfig(epochs=10, batch_size=64, lr=1e-2))
plan = design.kernels_to_masks(
    student.optics.weight, wavelength=wavelength, distance=distance, pitch=1e-6, pixel=8, samples=120
)
student.optics.set_kernels(plan.kernels())
device = make_devices(plan, errors, [7], detector=camera, binning=4)[0]

# %%
# The bench writes one file to learn from and one to judge by.
folder = Path(tempfile.mkdtemp())
run_bench(device, train.images[:frames], folder / "learn.h5", interval=interval)
run_bench(device, test.images, folder / "judge.h5", labels=test.labels, interval=interval, exposure=1)
print(check(folder / "learn.h5") or "nothing wrong with the file")

# %%
# Calibration: each step is fitted to frames of the file and told by frames it was not fitted to. The geometry
# comes last, and before the binning: a feature map of 4 x 4 pixels a value would alias what is displaced.
photometry = ["defects", "dark", "linearity", "drift", "flat", correct_flicker(plan.psf())]
steps = [*photometry, correct_geometry(plan.psf())]


with MeasuredData(folder / "learn.h5") as bench:
    calibration = calibrate(bench, steps)
    print(calibration)
    seen = Measured.from_file(bench, plan.gain, calibration=calibration, binning=4)
    raw_frame, clean_frame = bench.scenes[0], calibrate(bench).read(bench.scenes, slice(1))[0]
with MeasuredData(folder / "judge.h5") as bench:
    judged = Measured.from_file(bench, plan.gain, calibration=calibrate(bench, steps), binning=4)

# %%
# Calibration alone wins back 18 of the 20 points, nearly all by the geometry; photometry makes sure that
# what is learned today still fits when the laser is dimmer and the camera warmer. For what the masks have
# wrong, and for the light that missed the sensor, a linear map from measured to simulated features makes
# up. It needs no labels.
result = correct(student, seen, fraction=1.0, method="calibration")
clock = interval * torch.arange(len(test.images))
sheet = device.measure(test.images, exposure=1, time=clock)
found = {
    "simulated": accuracy(predict(student, test.images), test.labels),
    "by the data sheet": accuracy(predict(student.backend, sheet.features), test.labels),
    "calibrated": accuracy(predict(student.backend, judged.features), test.labels),
    "corrected": accuracy(predict(result.student.backend, judged.features), test.labels),
}
print({name: f"{value:.3f}" for name, value in found.items()})
if (
    not found["by the data sheet"] < found["corrected"] - 0.1
    or found["corrected"] < found["simulated"] - 0.02
):
    raise SystemExit("the device should lose ten points, and correction should win them back")

# %%
# The first frame as it was recorded (all 16 captures, laid side by side) and as calibration leaves it.
figure, axes = plt.subplots(2, 1, figsize=(9, 3.4), layout="constrained")
for axis, picture, title in zip(
    axes, (raw_frame, clean_frame), ("raw, DN", "calibrated, white = 1"), strict=True
):
    captures = cut_windows(picture[None], device.layout)[0]
    shown = axis.imshow(torch.cat(list(captures), 1).numpy(), cmap="gray")
    axis.set(title=title, xticks=[], yticks=[])
    figure.colorbar(shown, ax=axis)
plt.show()
