import math

import matplotlib
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from photonet import materials
from photonet.errors import DataError, DataMissing, InvalidArgument, UnknownName
from photonet.fabrication import HeightError, LateralError, MaskOverlay, WidthError
from photonet.mask import HeightMask, Mask, MetaAtomMask, PhaseMask, TransmissionMask

LIBRARY = "sin-pillars-293nm"
RGB = [635e-9, 532e-9, 450e-9]


def rand(*shape, seed=0, dtype=torch.float64):
    return torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def kinds(dtype=torch.float64, shape=(6, 5)):
    values = rand(*shape, dtype=dtype)
    return [
        Mask.from_phase(6 * values - 3, pitch=1e-6, wavelength=532e-9, distance=1e-3),
        Mask.from_height(1e-6 * values, pitch=(1e-6, 2e-6), material="SiO2", surround="vacuum"),
        Mask.from_transmission(torch.polar(values, 3 * values), pitch=1e-6, wavelength=600e-9),
        Mask.from_meta_atoms(65e-9 + 170e-9 * values, library=LIBRARY, pitch=586e-9),
    ]


def test_kinds_and_their_grid():
    assert [type(m) for m in kinds()] == [PhaseMask, HeightMask, TransmissionMask, MetaAtomMask]
    assert kinds()[1].grid.pitch == (1e-6, 2e-6)
    assert kinds()[1].grid.shape == (6, 5)
    assert Mask.from_meta_atoms(np.zeros((2, 2)), library=LIBRARY).grid.pitch == (293e-9, 293e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("which", range(4))
@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_transmission_has_wavelength_before_y_and_x_and_keeps_precision(dtype, which, lead):
    t = kinds(dtype, (*lead, 6, 5))[which].transmission(RGB)
    assert t.shape == (*lead, 3, 6, 5)
    assert t.dtype == (torch.complex64 if dtype == torch.float32 else torch.complex128)
    if which != 2:
        torch.testing.assert_close(
            t.abs(), torch.ones_like(t.abs())
        )  # no loss: the energy of the light stays


def test_height_becomes_phase_through_the_index_contrast():
    wavelength = 633e-9
    h = rand(4, 4) * 5e-6
    contrast = materials.load("PMMA").index(wavelength) - materials.load("air").index(wavelength)
    expected = torch.exp(2j * math.pi * h * contrast / wavelength)
    t = Mask.from_height(h, pitch=1e-6, material="PMMA").transmission(wavelength)
    torch.testing.assert_close(t[0], expected)


def test_an_absorbing_relief_follows_beer_and_lambert():
    h = torch.tensor([[0.0, 5e-8, 2e-7]], dtype=torch.float64)
    mask = Mask.from_height(h, pitch=1e-6, material="a-Si", surround="vacuum")
    k = materials.load("a-Si").index(532e-9).imag.item()
    power = mask.transmission(532e-9).abs().square()[0]
    torch.testing.assert_close(power, torch.exp(-4 * math.pi * k * h / 532e-9))
    assert torch.autograd.gradcheck(
        lambda um: Mask.from_height(um * 1e-6, pitch=1e-6, material="a-Si").transmission(532e-9),
        (h * 1e6 + 0.1).requires_grad_(),
    )


def test_a_tall_relief_in_single_precision_keeps_its_phase():
    """1 mm of silica is 4,500 rad: in float32 the phase itself would be wrong by 3e-4 rad."""
    h = (1e-3 + rand(8, 8, dtype=torch.float32) * 1e-6).to(torch.float32)
    single = Mask.from_height(h, pitch=1e-6, material="SiO2").transmission(633e-9)
    double = Mask.from_height(h.double(), pitch=1e-6, material="SiO2").transmission(633e-9)
    # what is left is the rounding of a wrapped phase below pi and of its sine
    assert (single.to(torch.complex128) - double).abs().max() < 4 * math.pi * torch.finfo(torch.float32).eps


def test_phase_at_other_wavelengths():
    phi = rand(4, 4) * 6
    everywhere = Mask.from_phase(phi, pitch=1e-6).transmission([500e-9, 1e-6])
    torch.testing.assert_close(everywhere[0], everywhere[1], rtol=0, atol=0)
    relief = Mask.from_phase(phi, pitch=1e-6, wavelength=500e-9).transmission([500e-9, 1e-6])
    torch.testing.assert_close(relief[0], torch.exp(1j * phi))
    torch.testing.assert_close(relief[1], torch.exp(0.5j * phi))


@given(
    phi=st.lists(st.floats(-1e4, 1e4), min_size=4, max_size=4),
    low=st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_a_phase_mask_is_exp_i_phi_and_keeps_energy(phi, low):
    tensor = torch.tensor(phi, dtype=torch.float32 if low else torch.float64).reshape(2, 2)
    mask = Mask.from_phase(tensor, pitch=1e-6)
    t = mask.transmission(633e-9)
    # base + (phi - base) costs a rounding of each in the precision of the mask
    rounding = 4 * torch.finfo(tensor.dtype).eps
    expected = torch.exp(1j * tensor.double())
    assert (t[0].to(torch.complex128) - expected).abs().max() <= rounding * (tensor.abs().max() + 4)
    assert t.abs().square().mean().item() == pytest.approx(1, abs=rounding)


@pytest.mark.parametrize("border", ["numpy", "xarray", "list"])
def test_border(border):
    array = rand(3, 4).numpy()
    given_ = {"numpy": array, "list": array.tolist(), "xarray": xr.DataArray(array.T, dims=("x", "y"))}[
        border
    ]
    mask = Mask.from_phase(given_, pitch=1e-6)
    assert mask.geometry.shape == (3, 4)
    np.testing.assert_allclose(mask.phase.numpy(), array, rtol=1e-6)


@pytest.mark.parametrize(("sigma", "strehl"), [(0.1, 0.990), (0.3, 0.914), (0.5, 0.779)])
def test_random_phase_lowers_strehl_as_exp_minus_variance(sigma, strehl):
    n = 128
    flat = torch.full((n, n), 1.0, dtype=torch.float64)
    mask = Mask.from_phase(flat, pitch=1e-6).perturb(HeightError(random=sigma), seed=4, devices=4)
    on_axis = mask.transmission(633e-9).mean((-2, -1)).abs().square().mean().item()
    # |mean|^2 = exp(-s^2) + (1 - exp(-s^2)) / N; its spread over devices is below s^2 / N
    expected = math.exp(-(sigma**2)) * (1 - 1 / n**2) + 1 / n**2
    standard_error = math.exp(-(sigma**2)) * sigma * (2 * sigma**2 + 1 / n) / n
    assert on_axis == pytest.approx(expected, abs=4 * standard_error)
    assert expected == pytest.approx(strehl, abs=6e-4)


def test_a_common_height_error_leaves_a_piston_mask_alone_and_defocuses_a_relief():
    flat = Mask.from_phase(torch.ones(16, 16), pitch=1e-6).perturb(HeightError(mean=0.1), seed=0)
    assert flat.transmission(633e-9).mean().abs().item() == pytest.approx(1, abs=1e-6)
    blaze = (torch.arange(64, dtype=torch.float64) % 8 * (2 * math.pi / 8)).expand(8, 64)
    made = Mask.from_phase(blaze, pitch=1e-6).perturb(HeightError(mean=0.1), seed=0).transmission(633e-9)
    zero = made.mean().abs().square().item()
    # a blaze of depth 1.1: the zero order is sinc^2(1.1) of a continuous one, over 8 steps the Dirichlet form
    dirichlet = (math.sin(math.pi * 1.1) / (8 * math.sin(math.pi * 1.1 / 8))) ** 2
    assert zero == pytest.approx(dirichlet, rel=1e-9)


def test_the_relief_of_a_phase_lies_above_its_lowest_point():
    phi = torch.tensor([[-2.0, 0.0, 1.0]], dtype=torch.float64)
    made = Mask.from_phase(phi, pitch=1e-6).perturb(HeightError(mean=0.1), seed=0)
    torch.testing.assert_close(made.phase, torch.tensor([[-2.0, 0.2, 1.3]], dtype=torch.float64))
    above = Mask.from_phase(phi + 3, pitch=1e-6).perturb(HeightError(mean=0.1), seed=0)
    torch.testing.assert_close(above.phase, 1.1 * (phi + 3))


def test_one_geometry_for_all_wavelengths():
    """A width bias moves the phase of all colours together, by the library's slopes."""
    width = torch.full((2, 2), 150e-9, dtype=torch.float64)
    mask = Mask.from_meta_atoms(width, library=LIBRARY)
    made = mask.perturb(WidthError(mean=1e-9), seed=0)
    change = (made.transmission(RGB) / mask.transmission(RGB)).angle()[:, 0, 0]
    assert change.tolist() == pytest.approx([0.029, 0.042, 0.058], abs=6e-4)  # rad per nm


def test_pillar_height_scales_the_phase():
    mask = Mask.from_meta_atoms(np.full((2, 2), 150e-9), library=LIBRARY)
    made = mask.perturb(HeightError(mean=0.05), seed=0)
    phase = mask.library.phase(mask.width, RGB)
    torch.testing.assert_close(made.transmission(RGB), torch.exp(1.05j * phase))


@pytest.mark.parametrize("which", range(4))
def test_lateral_errors_act_on_every_kind(which):
    mask = kinds()[which]
    one = mask.perturb(LateralError(systematic=3e-7, random=2e-8), seed=1)
    several = mask.perturb(LateralError(systematic=3e-7, random=2e-8), seed=1, devices=2)
    wavelengths = RGB
    assert several.transmission(wavelengths).shape == (2, 3, 6, 5)
    torch.testing.assert_close(several.transmission(wavelengths)[0], one.transmission(wavelengths))
    assert (one.transmission(wavelengths) - mask.transmission(wavelengths)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("which", "error", "lacks"),
    [(0, WidthError(mean=1e-9), "width"), (1, WidthError(), "width"), (2, HeightError(random=0.1), "height")],
)
def test_errors_that_cannot_act_are_refused(which, error, lacks):
    with pytest.raises(InvalidArgument, match=f"^errors: .*it has no {lacks}"):
        kinds()[which].perturb([LateralError(mean=1e-7), error], seed=0)


def test_perturb_is_of_the_seed_and_leaves_the_mask_alone():
    mask = kinds()[3]
    before = mask.transmission(RGB)
    errors = [
        HeightError(systematic=0.02, random=0.005),
        WidthError(systematic=5e-9),
        LateralError(random=1e-8),
    ]
    first, again, other = (mask.perturb(errors, seed=s).transmission(RGB) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    assert torch.equal(mask.transmission(RGB), before)


def test_gradients_reach_phase_height_width_and_transmission():
    values = rand(2, 3) * 0.9 + 0.05
    errors = [HeightError(systematic=0.02, random=0.01), LateralError(mean=2e-7)]
    cases = [
        lambda v: Mask.from_phase(4 * v - 1, pitch=1e-6, wavelength=532e-9).perturb(errors, seed=1),
        lambda v: Mask.from_height(1e-6 * v, pitch=1e-6, material="Si3N4").perturb(errors, seed=1),
        lambda v: Mask.from_meta_atoms(70e-9 + 160e-9 * v, library=LIBRARY).perturb(errors[0], seed=1),
        lambda v: Mask.from_transmission(v, pitch=1e-6).perturb(errors[1], seed=1),
    ]
    for make in cases:
        assert torch.autograd.gradcheck(
            lambda v, make=make: make(v).transmission(RGB), values.requires_grad_()
        )


def test_gradient_reaches_the_wavelength_of_a_relief():
    mask = Mask.from_height(1e-6 * rand(2, 2), pitch=1e-6, material="SiO2")
    um = torch.tensor([0.5, 0.6], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: mask.transmission(w * 1e-6), um)


def test_quantize_rounds_what_is_made():
    phase, height, transmission, atoms = kinds()
    levels = phase.quantize(4).phase
    assert set((levels / (math.pi / 2)).round(decimals=12).flatten().tolist()) <= {0.0, 1.0, 2.0, 3.0}
    assert height.quantize(2, depth=1e-6).height.unique().tolist() == [0.0, 1e-6]
    assert height.quantize(3).height.max() == height.height.max()
    widths = Mask.from_meta_atoms([[0.0, 65e-9, 100e-9, 237e-9]], library=LIBRARY).quantize(3).width
    torch.testing.assert_close(
        widths, torch.tensor([[0.0, 65e-9, 65e-9, 237e-9]]).double(), rtol=1e-6, atol=0
    )
    assert atoms.quantize(5).width.unique().numel() <= 5
    with pytest.raises(InvalidArgument, match="levels"):
        transmission.quantize(4)


def test_levels_below_the_relief_are_refused():
    """Of 2 pi in N levels a step lies above the highest; more is not cut off silently."""
    relief = Mask.from_height([[0.0, 1e-6]], pitch=1e-6, material="SiO2")
    assert relief.quantize(4, depth=0.75e-6).height.flatten().tolist() == pytest.approx([0.0, 0.75e-6])
    with pytest.raises(InvalidArgument, match="depth: expected at most one step below the highest point"):
        relief.quantize(4, depth=0.3e-6)


def test_a_flat_relief_has_one_level():
    flat = Mask.from_height(torch.zeros(2, 2), pitch=1e-6, material="SiO2")
    assert torch.equal(flat.quantize(4).height, flat.height)


def test_straight_through_reaches_the_design_and_hard_does_not():
    phi = (6 * rand(4, 4)).requires_grad_()
    for straight, zero in ((True, False), (False, True)):
        t = Mask.from_phase(phi, pitch=1e-6).quantize(8, straight_through=straight).transmission(633e-9)
        (gradient,) = torch.autograd.grad(t.real.sum(), phi)
        assert (gradient.abs().max() == 0) == zero


@pytest.mark.parametrize("which", range(4))
def test_a_file_gives_the_mask_back(which, tmp_path):
    errors = [LateralError(systematic=1e-7, random=1e-8)]
    if which != 2:
        errors.append(HeightError(random=0.01))
    mask = kinds()[which].perturb(errors, seed=1, devices=2)
    mask.save(tmp_path / "made.h5")
    back = Mask.load(tmp_path / "made.h5")
    assert type(back) is type(mask)
    assert torch.equal(back.transmission(RGB), mask.transmission(RGB))
    assert (back.wavelength, back.distance, back.grid) == (mask.wavelength, mask.distance, mask.grid)
    assert [p.name for p in tmp_path.iterdir()] == ["made.h5"]
    assert torch.equal(
        back.perturb(errors, seed=2).transmission(RGB), mask.perturb(errors, seed=2).transmission(RGB)
    )


def test_a_file_carries_a_material_of_the_users_own(tmp_path):
    resist = materials.constant(1.61, name="my resist")
    Mask.from_height([[0.0, 1e-6]], pitch=1e-6, material=resist).save(tmp_path / "a.h5")
    assert Mask.load(tmp_path / "a.h5").material == resist


def test_damaged_files_are_data_errors(tmp_path):
    import h5py

    file = tmp_path / "mask.h5"
    with pytest.raises(DataMissing, match="no such file"):
        Mask.load(file)
    kinds(shape=(64, 64))[0].save(file)
    whole = file.read_bytes()
    for kept in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:kept])
        with pytest.raises(DataError, match=r"mask\.h5"):
            Mask.load(file)
    for change, message in (
        ({"version": 2}, "version 2"),
        ({"format": "else"}, "not one that"),
        ({"kind": "Lens"}, "damaged"),
    ):
        file.write_bytes(whole)
        with h5py.File(file, "r+") as opened:
            opened.attrs.update(change)
        with pytest.raises(DataError, match=message):
            Mask.load(file)
    file.write_bytes(whole)
    with h5py.File(file, "r+") as opened:
        del opened["mask/base"]
    with pytest.raises(DataError, match="damaged"):
        Mask.load(file)


def test_to_moves_every_tensor():
    for mask in kinds():
        errors = LateralError(mean=1e-7, random=1e-8)
        moved = mask.perturb(errors, seed=0).to("meta")
        assert moved.transmission(RGB).device.type == "meta"


def test_to_changes_the_precision_of_what_has_one():
    for mask in kinds():
        made = mask.perturb(LateralError(mean=1e-7), seed=0).to(torch.float32)
        assert {t.dtype for t in made.geometry.tensors().values()} == {torch.float32}
        assert made.transmission(RGB).dtype == torch.complex64
        for dtype in (torch.int32, torch.float16, "foo"):
            with pytest.raises(InvalidArgument, match="dtype: expected float32 or float64"):
                mask.to(dtype=dtype)
        with pytest.raises(InvalidArgument, match="device: expected a device, as 'cpu'"):
            mask.to("foo")


def test_lengths_in_other_units_are_named():
    with pytest.raises(InvalidArgument, match=r"^h: .* got 1 m; if they are in um, pass 1e-6 \* h"):
        Mask.from_height(torch.ones(4, 4), pitch=1e-6, material="SiO2")
    with pytest.raises(InvalidArgument, match=r"^h: .* got 600 m; if they are in nm"):
        Mask.from_height(torch.full((4, 4), 600.0), pitch=1e-6, material="SiO2")


def test_materials_are_named_as_the_caller_wrote_them():
    for name in ("material", "surround"):
        with pytest.raises(UnknownName, match=f"^{name}: expected one of"):
            Mask.from_height([[0.0]], pitch=1e-6, **{"material": "SiO2", name: "Foo"})
    with pytest.raises(UnknownName, match="^library: expected one of"):
        Mask.from_meta_atoms([[0.0]], library="Foo")
    with pytest.raises(InvalidArgument, match="^wavelength: expected one wavelength .* got None"):
        Mask.from_phase([[0.0]], pitch=1e-6).transmission(None)


@pytest.mark.parametrize("which", range(4))
def test_plot_returns_axes(which):
    matplotlib.use("Agg")
    from matplotlib import pyplot

    mask = kinds(shape=(2, 6, 5))[which]
    axes = mask.plot()
    assert axes.get_xlabel() == "x (µm)"
    assert mask.plot(axes) is axes
    pyplot.close("all")


NAN = [[0.0, float("nan")]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mask.from_phase(NAN, pitch=1e-6), r"^phi: expected finite values, got 1 NaN.*\(0, 1\)"),
        (lambda: Mask.from_phase([0.0, 1.0], pitch=1e-6), r"^phi: expected at least 2 axes"),
        (lambda: Mask.from_phase([[1j]], pitch=1e-6), r"^phi: expected real values"),
        (lambda: Mask.from_phase(np.zeros((0, 4)), pitch=1e-6), r"^phi: expected at least one sample"),
        (lambda: Mask.from_phase([["a"]], pitch=1e-6), r"^phi: expected numbers"),
        (lambda: Mask.from_phase([[0.0]], pitch=-1e-6), r"^pitch: expected a positive length"),
        (lambda: Mask.from_phase([[0.0]], pitch=(1e-6, 0)), r"^pitch: expected a positive length"),
        (lambda: Mask.from_phase([[0.0]], pitch=1e-6, wavelength=633), r"^wavelength: .*633e-9"),
        (lambda: Mask.from_phase([[0.0]], pitch=1e-6, wavelength=RGB), r"^wavelength: expected one design"),
        (lambda: Mask.from_phase([[0.0]], pitch=1e-6, distance="far"), r"^distance: expected"),
        (
            lambda: Mask.from_height([[-1e-7]], pitch=1e-6, material="SiO2"),
            r"^h: expected heights of at least 0",
        ),
        (lambda: Mask.from_height([[0.0]], pitch=1e-6, material=1.5), r"^material: .*constant"),
        (lambda: Mask.from_transmission([[1.2]], pitch=1e-6), r"^t: expected magnitudes of at most 1"),
        (
            lambda: Mask.from_meta_atoms([[3e-7]], library=LIBRARY),
            r"^width: expected 0 \(no pillar\) or 6\.5e-08",
        ),
        (lambda: Mask.from_meta_atoms([[5e-8]], library=LIBRARY), r"^width: expected"),
        (
            lambda: Mask.from_meta_atoms([[1e-7]], library=LIBRARY, pitch=4e-7),
            r"^pitch: expected a whole multiple",
        ),
        (
            lambda: Mask.from_meta_atoms([[1e-7]], library=LIBRARY).transmission(525e-9),
            r"^wavelength: .*635 nm",
        ),
        (lambda: Mask.from_phase([[0.0]], pitch=1e-6).transmission(633), r"^wavelength: .*633e-9"),
        (
            lambda: Mask.from_height([[0.0]], pitch=1e-6, material="TiO2").transmission(300e-9),
            r"^wavelength: .*TiO2",
        ),
    ],
)
def test_bad_input_is_named(make, message):
    with pytest.raises(InvalidArgument, match=message):
        make()


def test_unknown_material_and_library():
    with pytest.raises(UnknownName, match="did you mean"):
        Mask.from_height([[0.0]], pitch=1e-6, material="Si02")
    with pytest.raises(UnknownName, match=LIBRARY):
        Mask.from_meta_atoms([[0.0]], library="sin")


def test_a_mask_prints_in_a_line():
    mask = Mask.from_phase(torch.zeros(2, 4, 6), pitch=(1e-6, 2e-6), wavelength=525e-9, distance=1e-3)
    assert repr(mask) == "<PhaseMask 2 masks of 4 x 6 at 1 x 2 um for 525 nm at 1 mm>"
    assert repr(mask.geometry) == "<Geometry 2 masks of 4 x 6 at 1 x 2 um: phase>"
    made = mask.perturb(HeightError(systematic=0.1), seed=0, devices=3)
    assert repr(made).startswith("<PhaseMask 3 devices of 2 masks of 4 x 6")
    assert "5e-07" not in repr(Mask.from_phase([[0.0]], pitch=0.5e-6))


def test_the_masks_of_an_overlay_are_no_devices():
    relief = Mask.from_height([[0.0, 1e-6]], pitch=5e-6, material="SiO2")
    mask = relief.perturb(MaskOverlay(systematic=1e-8, masks=2, depth=1e-6), seed=0)
    assert "devices" not in repr(mask)
    made = mask.perturb(HeightError(random=0.01), seed=0, devices=3)
    assert repr(made).startswith("<HeightMask 3 devices of 1 x 2")


@pytest.mark.parametrize("which", range(4))
def test_every_kind_is_read_as_it_was_written(which, tmp_path):
    mask = kinds()[which]
    mask.save(tmp_path / "mask.h5")
    again = Mask.load(tmp_path / "mask.h5")
    assert type(again) is type(mask)
    torch.testing.assert_close(again.transmission(RGB), mask.transmission(RGB))


def test_conjugates_are_written_and_read(tmp_path):
    u = torch.polar(rand(4, 4), rand(4, 4, seed=1))
    Mask.from_transmission(u.conj(), pitch=1e-6).save(tmp_path / "mask.h5")
    torch.testing.assert_close(Mask.load(tmp_path / "mask.h5").transmission(RGB)[0], u.conj().resolve_conj())


def test_touching_pillars_of_samples_that_are_not_square():
    mask = Mask.from_meta_atoms(torch.full((4, 4), 230e-9), library=LIBRARY, pitch=(293e-9, 586e-9))
    made = mask.perturb(WidthError(mean=0.0), seed=0)
    torch.testing.assert_close(made.geometry.width, mask.geometry.width)


def test_a_relief_with_overlay_is_not_quantised_again():
    step = 0.3e-6
    relief = Mask.from_height(step * torch.randint(0, 4, (6, 6)).double(), pitch=5e-6, material="SiO2")
    spoilt = relief.perturb(MaskOverlay(masks=2, depth=3 * step, systematic=1e-7), seed=0)
    with pytest.raises(InvalidArgument, match="levels: expected a relief without MaskOverlay"):
        spoilt.quantize(2)
