"""
Which pictures does a network find alike?
=========================================

The empirical neural tangent kernel says how much a training step on one picture changes the answer to
another. Here it is computed exactly for a trained teacher and for an untrained hybrid student, over the
same 60 digits, sorted by class.

Expect an alignment of about 0.8: both find pictures of one class alike, the trained teacher more so. The
rest, up to 1, is what NTK distillation works on. Runs in 5 seconds.
"""

# %%
import matplotlib.pyplot as plt
import torch

from photonet import data, ntk
from photonet.distill import TrainConfig, distill
from photonet.models import compressed_meta, lenet

per_class = 6
epochs = 5

# %%
# A teacher that has learned the digits, and a student that has not.
train, val, test = data.digits()
torch.manual_seed(0)
teacher, student = lenet(), compressed_meta()
metrics = distill(teacher, None, train, val=val, method="ce", config=TrainConfig(epochs=epochs)).metrics
print(f"teacher: {metrics['val_accuracy']:.1%} on validation")

# %%
# Six pictures of every class.
index = torch.cat([(test.labels == digit).nonzero()[:per_class, 0] for digit in range(10)])
pictures = test.images[index]
with torch.no_grad():
    grams = {"teacher": ntk.gram(teacher, pictures), "student, untrained": ntk.gram(student, pictures)}
print(f"centred alignment: {ntk.alignment(*grams.values()).item():.2f}")

# %%
# Every Gram over the root of its diagonal: cosines of the tangent features.
figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
for axis, (name, gram) in zip(axes, grams.items(), strict=True):
    length = gram.diagonal().sqrt()
    picture = axis.imshow((gram / length[:, None] / length).numpy(), vmin=0, vmax=1)
    axis.set(title=name, xticks=range(2, 60, per_class), yticks=range(2, 60, per_class))
    axis.set_xticklabels(range(10))
    axis.set_yticklabels(range(10))
figure.colorbar(picture, ax=axes, label="cosine of tangent features")
plt.show()
