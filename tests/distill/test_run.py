import json

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file
from torch import nn

from photonet.arrays import UNLABELLED
from photonet.data import Images
from photonet.distill import METHODS, TrainConfig, distill
from photonet.errors import DataError, GridMismatch, InvalidArgument, TrainingDiverged, UnknownName

CONFIG = TrainConfig(epochs=4, batch_size=12, lr=1e-2)


class Student(nn.Module):
    """A student whose power fails after some batches."""

    def __init__(self, fuse=None):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.layers = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))
        self._fuse = fuse

    def forward(self, x):
        if self.training and self._fuse is not None:
            self._fuse -= 1
            if self._fuse < 0:
                raise KeyboardInterrupt
        return self.layers(x)


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_weights(method, teacher, data):
    a, b, other = (distill(Student(), teacher, data, method=method, config=CONFIG, seed=s) for s in (0, 0, 1))
    assert torch.equal(weights(a.student), weights(b.student))
    xr.testing.assert_equal(a.history, b.history)
    assert not torch.equal(weights(a.student), weights(other.student))


@pytest.mark.parametrize("method", METHODS)
def test_only_the_terms_of_the_method_are_measured(method, teacher, data):
    history = distill(Student(), teacher, data, method=method, config=CONFIG).history
    assert history.sizes["epoch"] == CONFIG.epochs
    measured = {name for name in history if not str(name).startswith("val_")}
    assert measured == {term.name for term in METHODS[method]}
    assert all((history[name] > 0).all() for name in measured)


@pytest.mark.parametrize("method", METHODS)
def test_training_learns(method, teacher, data):
    # the teacher answers as the labels say, so every method has something to learn from
    distill(teacher, None, data, val=data, method="ce", config=TrainConfig(epochs=40, batch_size=12, lr=2e-2))
    result = distill(
        Student(), teacher, data, val=data, method=method,
        config=TrainConfig(epochs=30, batch_size=12, lr=2e-2),
    )  # fmt: skip
    assert result.metrics["val_accuracy"] > 0.9  # chance is 1/3


def test_teacher_and_global_random_state_stay_as_they_were(teacher, data):
    teacher.train().requires_grad_(False)
    before, state = weights(teacher), torch.random.get_rng_state()
    distill(Student(), teacher, data, config=CONFIG)
    assert torch.equal(weights(teacher), before)
    assert teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("method", ["ce", "ntkd"])
@pytest.mark.parametrize("batches", [1, 6, 11])
def test_an_interrupted_run_ends_where_the_whole_one_does(method, batches, teacher, data, tmp_path):
    whole = distill(Student(), teacher, data, method=method, config=CONFIG)
    with pytest.raises(KeyboardInterrupt):
        distill(Student(fuse=batches), teacher, data, method=method, config=CONFIG, out=tmp_path)
    assert not [f.name for f in tmp_path.iterdir() if f.name.startswith(".")]  # nothing half-written
    resumed = distill(Student(), teacher, data, method=method, config=CONFIG, out=tmp_path)
    assert torch.equal(weights(resumed.student), weights(whole.student))
    xr.testing.assert_equal(resumed.history, whole.history)


def test_a_finished_run_is_not_trained_again(teacher, data, tmp_path):
    first = distill(Student(), teacher, data, config=CONFIG, out=tmp_path)
    again = distill(Student(fuse=0), teacher, data, config=CONFIG, out=tmp_path)
    assert torch.equal(weights(first.student), weights(again.student))


@pytest.mark.parametrize("change", [{"seed": 1}, {"config": TrainConfig(epochs=5, batch_size=12)},
                                    {"method": "kd"}])  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused(change, teacher, data, tmp_path):
    arguments = {"config": CONFIG, "out": tmp_path}
    distill(Student(), teacher, data, **arguments)
    with pytest.raises(DataError, match="checkpoint of another run|features of another data"):
        distill(Student(), teacher, data, **arguments | change)
    anew = distill(Student(), teacher, data, **arguments | change, resume=False)
    fresh = distill(Student(), teacher, data, **{"config": CONFIG} | change)
    assert torch.equal(weights(anew.student), weights(fresh.student))


def test_a_checkpoint_that_was_judged_on_other_samples_is_refused(data, tmp_path):
    arguments = {"method": "ce", "config": CONFIG, "out": tmp_path}
    distill(Student(), None, data, val=data, **arguments)
    with pytest.raises(DataError, match="checkpoint of another run"):
        distill(Student(), None, data, val=(data[0], (data[1] + 1) % 3), **arguments)


def test_a_damaged_checkpoint_is_named(teacher, data, tmp_path):
    distill(Student(), teacher, data, config=CONFIG, out=tmp_path)
    [file] = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match=file.name):
        distill(Student(), teacher, data, config=CONFIG, out=tmp_path)


def test_divergence_names_the_term(data):
    with pytest.raises(TrainingDiverged, match="'ce' became"):
        distill(Student(), None, data, method="ce", config=TrainConfig(epochs=3, batch_size=12, lr=1e38))


def test_a_student_without_a_way_to_learn_is_refused(data):
    with pytest.raises(InvalidArgument, match=r"^student: expected at least one parameter"):
        distill(Student().requires_grad_(False), None, data, method="ce", config=CONFIG)


def test_labels_of_another_length_are_refused(data):
    with pytest.raises(InvalidArgument, match="train labels: expected 48 labels, one per input, got 47"):
        distill(Student(), None, (data[0], data[1][1:]), method="ce")
    with pytest.raises(InvalidArgument, match="val labels"):
        distill(Student(), None, data, val=(data[0], data[1][1:]), method="ce")


def test_labels_of_classes_must_be_whole_numbers(data):
    with pytest.raises(InvalidArgument, match="train labels: expected numbers of shape .*whole numbers"):
        distill(Student(), None, (data[0], data[1].float()), method="ce")
    with pytest.raises(InvalidArgument, match="train labels: expected whole numbers or real ones"):
        distill(Student(), None, (data[0], data[1].to(torch.complex64)), method="ce")


def test_an_unknown_method_is_told_its_neighbours(teacher, data):
    with pytest.raises(UnknownName, match="did you mean ntkd"):
        distill(Student(), teacher, data, method="ntdk")


@pytest.mark.parametrize("method", ["kd", "ntkd"])
def test_a_teacher_of_other_outputs_is_refused(method, data):
    with pytest.raises(GridMismatch, match=r"teacher: expected outputs \(3,\).*got \(7,\)"):
        distill(Student(), nn.Linear(4, 7), data, method=method)


def test_a_method_that_needs_a_teacher_says_so(data):
    with pytest.raises(InvalidArgument, match="teacher: expected a torch module"):
        distill(Student(), None, data)


@pytest.mark.parametrize("bad", [None, "digits", (torch.zeros(3, 4),)])
def test_data_of_another_kind_are_named(bad):
    with pytest.raises(InvalidArgument, match="train: expected Images, or a pair"):
        distill(Student(), None, bad, method="ce")


def test_arrays_of_every_kind_give_the_same_student(data):
    x, y = data
    forms = [
        (x, y),
        (x.numpy(), y.numpy()),
        (xr.DataArray(x.numpy(), dims=["n", "feature"]), xr.DataArray(y.numpy(), dims=["n"])),
    ]
    results = [distill(Student(), None, form, method="ce", config=CONFIG) for form in forms]
    for result in results[1:]:
        assert torch.equal(weights(result.student), weights(results[0].student))


def test_images_are_taken_as_they_are():
    pixels = torch.randint(0, 255, (20, 1, 2, 2), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    images = Images(pixels, torch.arange(20) % 2, ("a", "b"), "toy")
    student = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    result = distill(student, None, images, method="ce", config=TrainConfig(epochs=1, batch_size=9))
    assert set(result.metrics) == {"val_accuracy"}


def test_what_is_saved_can_be_read_again(teacher, data, tmp_path):
    result = distill(Student(), teacher, data, config=CONFIG, seed=3)
    assert result.save(tmp_path / "run") == tmp_path / "run"
    again = Student()
    again.load_state_dict(load_file(tmp_path / "run" / "student.safetensors"))
    assert torch.equal(weights(again), weights(result.student))
    with xr.open_dataset(tmp_path / "run" / "history.nc") as history:
        xr.testing.assert_equal(history, result.history)
        assert history.attrs["seed"] == 3
    written = json.loads((tmp_path / "run" / "run.json").read_text())
    assert written["config"]["method"] == "ntkd"
    assert written["metrics"] == result.metrics


@pytest.mark.parametrize(
    ("setting", "value"),
    [("epochs", 0), ("batch_size", 2.5), ("lr", -1), ("lr", np.nan), ("weight_decay", -0.1),
     ("temperature", 0)],
)  # fmt: skip
def test_settings_outside_their_range_are_named(setting, value):
    with pytest.raises(InvalidArgument, match=f"^{setting}: expected"):
        TrainConfig(**{setting: value})


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_label_that_the_student_cannot_give_is_named(part):
    x, good, bad = torch.rand(8, 4), torch.zeros(8, dtype=torch.int64), torch.full((8,), 3)
    data = {"train": (x, good), "val": (x, good), part: (x, bad)}
    with pytest.raises(InvalidArgument, match=rf"{part} labels: expected classes 0 to 2.* got 3"):
        distill(Student(), None, data["train"], val=data["val"], method="ce")


def test_no_validation_samples_and_a_negative_seed_are_refused():
    x, y = torch.rand(8, 4), torch.zeros(8, dtype=torch.int64)
    with pytest.raises(InvalidArgument, match="val: expected at least one sample"):
        distill(Student(), None, (x, y), val=(x[:0], y[:0]), method="ce")
    with pytest.raises(InvalidArgument, match="seed"):
        distill(Student(), None, (x, y), method="ce", seed=-1)


def test_labels_of_pixels_have_the_shape_of_the_outputs():
    x, student = torch.rand(8, 1, 4, 4), nn.Conv2d(1, 3, 1)
    for labels in (torch.zeros(8).long(), torch.zeros(8, 4, 5).long()):
        with pytest.raises(InvalidArgument, match=r"train labels: expected shape \[n, 4, 4\]"):
            distill(student, None, (x, labels), method="ce")
    with pytest.raises(InvalidArgument, match=r"^student: expected outputs \[n, classes"):
        distill(nn.Flatten(0), None, (torch.rand(1, 4), torch.zeros(1).long()), method="ce")


def test_pixels_to_ignore_take_no_part():
    pixels = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = (pixels[:, 0] > 0.5).long()
    labels[:, 0] = UNLABELLED
    images = Images(pixels, labels, ("dark", "bright"), "toy")
    student = nn.Conv2d(1, 2, 1)
    other = nn.Conv2d(1, 2, 1)
    other.load_state_dict(student.state_dict())
    config = TrainConfig(epochs=1, batch_size=4)
    distill(student, None, images, val=images, method="ce", config=config)
    known = (pixels[:, :, 1:], labels[:, 1:])
    distill(other, None, known, val=known, method="ce", config=config)
    torch.testing.assert_close(student.weight, other.weight)
