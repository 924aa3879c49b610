"""
One convolution, made by light
==============================

A signed kernel becomes two phase masks, one for its positive and one for its negative part. Their point
spread functions convolve a scene, two captures are taken, and the difference is compared with the digital
convolution.

Expect 89 % of the light on the kernel's pixels, the rest as faint speckle around them, and a relative
difference of 0.03 between optics and arithmetic. What is left is known, so the backend of a hybrid
network can be trained, or corrected, with the kernels that the optics really has. Runs in 5 seconds.
"""

# %%
# Parameters, all in SI units.
import matplotlib.pyplot as plt
import torch

from photonet import data
from photonet.design import kernels_to_masks
from photonet.nn import OpticalConv2d

wavelength = 525e-9  # m
distance = 1e-3  # m, mask to sensor
pitch = 1e-6  # m, of the mask
pixel = 6  # mask samples per sensor pixel: 6 um pixels
samples = 126  # of a mask: 21 pixels of the sensor
steps = 150  # of the descent

# %%
# The kernel looks for vertical edges; the scene is a scanned 28 x 28 digit.
kernel = torch.tensor([[1.0, 0, -1], [2, 0, -2], [1, 0, -1]])[None, None]
scene = data.digits().test.images[4:5]

# %%
# Two masks are designed, by descent through the exact propagation.
design = kernels_to_masks(
    kernel, wavelength=wavelength, distance=distance, pitch=pitch, pixel=pixel, samples=samples, steps=steps
)
print(f"light on the kernel: {[f'{e:.0%}' for e in design.efficiency.flatten().tolist()]}")
print(f"error of the PSFs:   {[f'{e:.0%}' for e in design.error.flatten().tolist()]}")

# %%
# Wished and obtained: the same layer, once with the kernel and once with what the masks act as.
wished, obtained = OpticalConv2d(1, 1, 3), OpticalConv2d(1, 1, 3)
wished.set_kernels(kernel)
obtained.set_kernels(design.kernels().detach())
with torch.no_grad():
    digital, optical = wished(scene), obtained(scene)

# %%
# A common factor is no error: the first digital layer absorbs it.
scale = (digital * optical).sum() / optical.square().sum()
difference = (scale * optical - digital).norm() / digital.norm()
print(f"relative difference of the feature maps: {difference:.2f}")
assert difference < 0.05

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
axes[0].imshow(scene[0, 0].numpy(), cmap="gray")
axes[1].imshow(1e6 * design.mask.height[0, 0].numpy(), cmap="viridis")
for axis, feature_map in zip(axes[2:], (digital, scale * optical), strict=True):
    axis.imshow(feature_map[0, 0].numpy(), cmap="RdBu", vmin=-3, vmax=3)
for axis, title in zip(axes, ("scene", "relief, positive part", "by arithmetic", "by light"), strict=True):
    axis.set_title(title)
    axis.set_axis_off()
plt.show()
