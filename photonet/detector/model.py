"""The linear camera of EMVA 1288 release 4.0, as functions on tensors.

    mu_p = A E t lambda / (h c)              photons that reach a pixel during the exposure
    mu_e = eta(lambda) mu_p                  electrons they set free
    mu_d = mu_I t                            electrons that heat sets free, mu_I = mu_ref 2^((T - Tref)/Td)
    mu_y = K (mu_d + mu_e) + black level     the grey value in DN
    sigma_y^2 = K^2 sigma_0^2 + 1/12 + K (mu_y - black level)

Symbols: A pixel area, E irradiance, t exposure time, eta quantum efficiency, K system gain in DN per
electron, sigma_0 dark noise without dark current, 1/12 the variance of rounding. The standard's own
mu_d also holds the offset of the black level; here the black level stands apart.
Source: EMVA Standard 1288, release 4.0 linear, sections 2 and 3.
"""

from __future__ import annotations

from typing import Any

import torch

from .. import checks
from ..arrays import as_tensor
from ..errors import InvalidArgument
from ..transforms import tracked
from ..units import LIGHT_SPEED, PLANCK

__all__ = ["dark_current", "light", "numbers", "photons", "poisson", "read_out", "several", "shot_noise"]

ROUNDING = 1e-5
"""Negative light, relative to the brightest, that passes as the rounding error of an FFT."""


def numbers(name: str, value: Any, unit: str, hint: str = "") -> torch.Tensor:
    """Real numbers [...] from whatever holds them.

    Raises:
        InvalidArgument: not finite real numbers.

    Example:
        >>> numbers("signal", [1.0, 2.0], "DN")
        tensor([1., 2.], dtype=torch.float64)
    """
    found = as_tensor(name, value)
    if found.is_complex():
        raise InvalidArgument(name, f"real numbers in {unit}", "complex ones", hint)
    return found


def light(name: str, value: Any, unit: str, hint: str = "") -> torch.Tensor:
    """The same of what cannot be negative; what rounding left below 0 stays.

    Raises:
        InvalidArgument: not finite real numbers, or negative ones.

    Example:
        >>> light("irradiance", [1.0, -1e-8], "W/m^2").shape
        torch.Size([2])
    """
    found = numbers(name, value, unit, hint)
    if found.numel() and found.min() < -ROUNDING * found.max().clamp(min=0):
        raise InvalidArgument(name, "no negative values", f"{found.min().item():g} {unit}")
    return found


def photons(irradiance: Any, wavelength: Any, area: float, exposure: float) -> torch.Tensor:
    """Mean number of photons that reach each pixel: mu_p = A E t lambda / (h c).

    Args:
        irradiance: [..., L, y, x] in W/m^2 with ``wavelength`` [L], or [..., y, x] with one number.
        wavelength: vacuum wavelengths in m, [L] or one number.
        area: area of a pixel in m^2 (the whole cell: the quantum efficiency counts the fill factor).
        exposure: exposure time in s.

    Returns:
        As ``irradiance``, in photons.

    Raises:
        InvalidArgument: irradiance that is negative, complex or of another number of wavelengths, no
            wavelength in m, or an area or exposure that is not positive.

    Example:
        The standard's rule of thumb: 50.34 photons for 1 um^2, 1 ms, 1 um and 1 uW/cm^2.

        >>> one = torch.tensor([[0.01]], dtype=torch.float64)  # 1 uW/cm^2 in W/m^2
        >>> round(photons(one, 1e-6, area=1e-12, exposure=1e-3).item(), 2)
        50.34
    """
    watts = light("irradiance", irradiance, "W/m^2", "pass abs(u)^2 of a field")
    waves = checks.wavelength(wavelength)
    area = checks.positive("area", area, "a positive area in m^2")
    exposure = checks.positive("exposure", exposure, "a positive time in s")
    factor = (area * exposure / (PLANCK * LIGHT_SPEED) * waves).to(watts)
    if not several(wavelength):
        return watts * factor[0]
    if watts.ndim < 3 or watts.shape[-3] != len(waves):
        expected = f"shape [..., {len(waves)}, y, x]: one plane for each wavelength"
        raise InvalidArgument("irradiance", expected, tuple(watts.shape))
    return watts * factor[:, None, None]


def several(wavelength: Any) -> bool:
    """Whether these are wavelengths with planes of their own, and not one number."""
    return getattr(wavelength, "ndim", 0) > 0 or isinstance(wavelength, (list, tuple))


def dark_current(reference: float, temperature: Any, at: float, doubling: float) -> Any:
    """Dark current at a temperature: mu_I = mu_ref 2^((T - Tref) / Td), in electrons per second.

    Args:
        reference: dark current at ``at``, in e-/s.
        temperature: temperature of the sensor in degrees C, a number or a tensor.
        at: temperature of the reference in degrees C.
        doubling: the rise in K that doubles it.

    Example:
        >>> dark_current(2.0, temperature=41.0, at=25.0, doubling=8.0)
        8.0
    """
    return reference * 2 ** ((temperature - at) / doubling)


def shot_noise(mean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Draw from the Poisson distribution of each mean, with a gradient.

    The value is an exact Poisson draw n. The gradient is the path of the Gaussian with the same mean and
    variance, n = mu + sqrt(mu) e with e held fixed, so dn/dmu = 1 + (n - mu) / (2 mu). Averaged over
    draws this is the true gradient of E[n] and of E[n^2]: it sees that more light means more noise, not
    only more signal. Below one electron the divisor stays 2, which keeps the gradient's variance under
    1/4 and its mean at 1.

    Args:
        mean: [...] in electrons, at least 0.
        generator: on the device of ``mean``.

    Returns:
        [...] whole numbers of electrons, in the dtype of ``mean``.

    Raises:
        InvalidArgument: a mean that is negative or not a finite real number, or no generator.

    Example:
        >>> mean = torch.full((100_000,), 9.0)
        >>> drawn = shot_noise(mean, torch.Generator().manual_seed(0))
        >>> bool(abs(drawn.mean() - 9) < 0.05), bool(abs(drawn.var() - 9) < 0.2)
        (True, True)
    """
    checks.instance("generator", generator, torch.Generator, "a torch.Generator")
    mean = numbers("mean", mean, "electrons")
    if bool((mean < 0).any()):
        raise InvalidArgument("mean", "electrons of at least 0", mean.min().item())
    return poisson(mean, generator)


def poisson(mean: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """`shot_noise` for means that were looked at."""
    fixed = mean.detach()
    drawn = torch.poisson(fixed, generator=generator)
    if not tracked(mean):
        return drawn
    slope = 1 + (drawn - fixed) / (2 * fixed.clamp(min=1))
    return drawn + (mean - fixed) * slope


def read_out(
    charge: torch.Tensor, gain: float, black_level: float, dark_noise: float, generator: torch.Generator
) -> torch.Tensor:
    """Amplify charge to a continuous grey value, with the noise of the amplifier.

    Args:
        charge: [...] in electrons.
        gain: system gain K in DN/e-.
        black_level: in DN.
        dark_noise: sigma_0 in e-, Gaussian, independent of its input (so is its gradient).
        generator: on the device of ``charge``.

    Returns:
        [...] in DN, before the converter.

    Example:
        >>> read_out(torch.tensor([100.0]), 0.5, 16.0, 0.0, torch.Generator().manual_seed(0)).item()
        66.0
    """
    noise = torch.randn(charge.shape, generator=generator, device=charge.device, dtype=charge.dtype)
    return gain * (charge + dark_noise * noise) + black_level
