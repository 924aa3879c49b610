"""
Which design is worth making?
=============================

Before anything is trained, regression with the neural tangent kernel tells designs of a hybrid student apart:
how many optical kernels, and how coarsely the sensor bins. Here six designs are estimated on 500 handwritten
digits and then trained, to see whether the order holds.

Expect the same order for designs of different rank; within a rank the estimate does not claim any. The
trained accuracies are higher, because training also learns features. Runs in 12 seconds.
"""

# %%
from functools import partial

import matplotlib.pyplot as plt
import torch

import photonet
from photonet import data
from photonet.distill import TrainConfig, distill
from photonet.models import compressed_meta

kernels, binnings = (1, 4, 16), (4, 14)
pictures = 500
epochs = 6

# %%
# A design is a function that makes a fresh network.
train, val, _ = data.digits()
designs = {
    f"{k} kernels, binning {b}": partial(compressed_meta, k, binning=b) for b in binnings for k in kernels
}
found = photonet.estimate(designs, train, samples=pictures)
print(found)

# %%
# The same designs, trained.
trained = {}
for name, design in designs.items():
    torch.manual_seed(0)
    result = distill(design(), None, train, val=val, method="ce", config=TrainConfig(epochs=epochs))
    trained[name] = result.metrics["val_accuracy"]

# %%
# Intervals of the estimate beside what training reached.
table = found.to_xarray()
names = [str(name) for name in table.design.values]
low, high = table.accuracy - table.low, table.high - table.accuracy
figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
axis.errorbar(100 * table.accuracy, names, xerr=[100 * low, 100 * high], fmt="o", label="estimated, 95 %")
axis.plot([100 * trained[name] for name in names], names, "x", color="black", label="trained")
axis.set(xlabel="accuracy, %")
axis.invert_yaxis()
axis.legend(loc="lower left")
plt.show()
