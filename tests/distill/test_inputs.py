"""What comes in is said in words where it cannot be used, before anything is trained."""

import numpy as np
import pytest
import torch
from torch import nn

import photonet
from photonet.data import UNLABELLED
from photonet.distill import KD, NTK, CrossEntropy, Mixed, TrainConfig, distill, predict
from photonet.distill.inputs import labelled
from photonet.errors import GridMismatch, InvalidArgument, TrainingDiverged

ONCE = TrainConfig(epochs=1, batch_size=12)


class Returns(nn.Module):
    """A module whose outputs come in something else."""

    def __init__(self, wrap):
        super().__init__()
        self.layer, self.wrap = nn.Linear(4, 3), wrap

    def forward(self, x):
        return self.wrap(self.layer(x))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"student": nn.Linear}, "student: expected a torch module, got type"),
        ({"teacher": "lenet"}, "teacher: expected a torch module, or None, got str"),
        ({"config": {"epochs": 3}}, r"config: expected a TrainConfig, got dict; TrainConfig\("),
        ({"config": {}}, "config: expected a TrainConfig, got dict"),
        ({"noise": 3}, "noise: expected a function .* got 3"),
        ({"views": 3}, "views: expected a function .* got 3"),
        (
            {"views": lambda x, generator: x[1:]},
            r"views: expected .* 12 views of 12 inputs, got shape \(11, 4\)",
        ),
        ({"views": lambda x, generator: None}, "views: expected .* got NoneType"),
        ({"out": 3}, "out: expected a folder, got 3"),
        ({"tune": 0.01}, r"tune: expected True, or learning rates, got 0.01; .*TrainConfig\(lr=\)"),
        ({"tune": ()}, "tune: expected at least one learning rate"),
        ({"tune": [1e-3, -1.0]}, "tune: expected positive learning rates, got -1.0"),
        (
            {"student": Returns(lambda y: (y, y))},
            "student: expected .* returns one tensor, got a tuple; wrap",
        ),
        ({"teacher": Returns(lambda y: {"logits": y})}, "teacher: expected .* one tensor, got a dict; wrap"),
    ],
)
def test_an_argument_of_another_kind_is_named(wrong, message, teacher, data):
    plain = {"student": nn.Linear(4, 3), "teacher": teacher, "train": data, "config": ONCE}
    with pytest.raises(InvalidArgument, match=f"^{message}"):
        distill(**plain | wrong)


def test_a_model_that_returns_no_tensor_is_named_by_predict():
    with pytest.raises(
        InvalidArgument, match="^model: expected a module that returns one tensor, got a list"
    ):
        predict(Returns(lambda y: [y]), torch.rand(5, 4))


def test_a_file_is_no_folder(teacher, data, tmp_path):
    file = tmp_path / "results"
    file.write_text("kept")
    with pytest.raises(InvalidArgument, match="^out: expected a folder, got the file .*results"):
        distill(nn.Linear(4, 3), teacher, data, out=file, config=ONCE)
    assert file.read_text() == "kept"


def test_validation_inputs_are_like_those_to_train_on(teacher, data):
    x, labels = data
    with pytest.raises(
        GridMismatch, match=r"^val inputs: expected shape \[n, 4\], as in train, got \[n, 5\]"
    ):
        distill(nn.Linear(4, 3), teacher, data, val=(torch.rand(9, 5), labels[:9]), config=ONCE)
    # NumPy's own precision is double
    runs = [distill(nn.Linear(4, 3), None, data, val=(v, labels), method="ce", config=ONCE)
            for v in (x, x.double().numpy())]  # fmt: skip
    assert all(np.isfinite(run.metrics["val_accuracy"]) for run in runs)


def test_labels_of_which_none_is_known_teach_nothing(teacher, data):
    x, nothing = data[0], torch.full((48,), UNLABELLED)
    for method in ("ce", "ntkd"):
        with pytest.raises(
            InvalidArgument, match=r"^train labels: expected .* known, got none; .*\[KD\(\)\]"
        ):
            distill(nn.Linear(4, 3), teacher, (x, nothing), method=method, config=ONCE)
    run = distill(nn.Linear(4, 3), teacher, (x, nothing), method=[KD()], config=ONCE)
    # there is no score, and none is made up
    assert run.metrics == {}
    assert list(run.history) == ["kd", "val_loss"]


def test_no_rate_is_chosen_by_labels_that_are_not_known(teacher, data, tmp_path):
    val = data[0], torch.full((48,), UNLABELLED)
    with pytest.raises(
        InvalidArgument, match=r"^val labels: expected at least one .* got none; the learning rate"
    ):
        distill(nn.Linear(4, 3), teacher, data, val=val, config=ONCE, tune=True, out=tmp_path)
    assert not list(tmp_path.iterdir())


class Reads(nn.Module):
    """A network of tokens."""

    def __init__(self, width):
        super().__init__()
        self.words, self.read = nn.Embedding(20, width), nn.Linear(width, 3)

    def forward(self, tokens):
        return self.read(torch.tanh(self.words(tokens)).mean(dim=1))


@pytest.fixture
def sentences():
    tokens = torch.randint(0, 20, (90, 7), generator=torch.Generator().manual_seed(0))
    return tokens, tokens[:, 0] % 3


@pytest.mark.parametrize(
    "method", ["ntkd", "ntkd-paper", "features", [CrossEntropy(), NTK(outputs="full", centred=True)]]
)
@pytest.mark.parametrize("accumulate", [1, 2])
def test_networks_of_tokens_are_distilled(method, accumulate, sentences, tmp_path):
    torch.manual_seed(0)
    student, teacher = Reads(5), Reads(12)
    start = student.words.weight.detach().clone()
    config = TrainConfig(epochs=2, batch_size=18, accumulate=accumulate)
    extra = {"val": sentences, "unlabelled": sentences[0].numpy()}
    run = distill(student, teacher, sentences, method=method, config=config, out=tmp_path, **extra)
    assert bool(run.history.to_array().notnull().all())
    assert not torch.equal(student.words.weight, start)


def test_designs_for_tokens_are_estimated(sentences):
    torch.manual_seed(0)
    assert 0 < float(photonet.estimate({"narrow": Reads(5)}, sentences).table["accuracy"][0]) <= 1
    with pytest.raises(InvalidArgument, match=r"^train inputs: .* numbers that designs\['dense'\] takes"):
        photonet.estimate({"dense": nn.Linear(7, 3)}, sentences)


def test_numbers_for_tokens_may_be_regressed(sentences):
    torch.manual_seed(0)
    targets = torch.rand(90, 3, generator=torch.Generator().manual_seed(1))
    run = distill(Reads(5), Reads(12), (sentences[0], targets), config=ONCE)
    assert np.isfinite(run.metrics["val_r2"])


@pytest.mark.parametrize(
    ("dtype", "taken"),
    [(torch.int64, torch.int64), (torch.int32, torch.int64), (torch.int16, torch.int64),
     (torch.uint8, torch.float32), (torch.bool, torch.float32), (torch.float64, torch.float64)],
)  # fmt: skip
def test_whole_numbers_stay_whole_and_bytes_are_pixels(dtype, taken):
    x = torch.ones(3, 2, dtype=dtype)
    for inputs in (x, x.numpy()):
        assert labelled("train", (inputs, torch.arange(3)))[0].dtype == taken


def test_whole_numbers_for_a_network_of_real_ones_are_explained(sentences):
    with pytest.raises(InvalidArgument, match=r"^train inputs: expected numbers that student takes.*tokens"):
        distill(nn.Linear(7, 3), None, sentences, method="ce")
    with pytest.raises(
        InvalidArgument, match=r"^val inputs: expected torch.int64, as in train, got torch.float32"
    ):
        distill(Reads(5), None, sentences, val=(sentences[0].float(), sentences[1]), method="ce")
    with pytest.raises(
        InvalidArgument, match=r"^views: expected inputs that can be mixed, got whole numbers"
    ):
        distill(Reads(5), Reads(12), sentences, views=Mixed(), config=ONCE)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (None, "train labels: expected a class or numbers for each input, got None"),
        (["a"] * 20, "train labels: expected numbers, got an array of"),
        (3, "train labels: expected whole numbers or real ones, one row per input"),
    ],
)
def test_what_is_no_label_is_named(labels, words):
    with pytest.raises(InvalidArgument, match=words):
        photonet.distill(nn.Linear(4, 3), None, (torch.rand(20, 4), labels), method="ce")


@pytest.mark.parametrize("change", [lambda y: y[::-1], lambda y: y.astype(">i4"), lambda y: y.tolist()])
def test_labels_come_in_any_order_of_bytes(change):
    labels = change(np.arange(20) % 3)
    inputs, read = labelled("train", (torch.rand(20, 4), labels))
    assert read.tolist() == list(labels)
    assert len(inputs) == 20


def test_inputs_that_do_not_fit_are_named_with_the_words_of_torch():
    data = torch.rand(20, 4), torch.arange(20) % 3
    for student, teacher in ((nn.Linear(5, 3), None), (nn.Linear(4, 3), nn.Linear(5, 3))):
        who = "student" if teacher is None else "teacher"
        method = "ce" if teacher is None else "kd"
        with pytest.raises(InvalidArgument, match=f"train inputs: expected numbers that {who} takes.*mat1"):
            photonet.distill(student, teacher, data, method=method)
    with pytest.raises(InvalidArgument, match="method: expected a name, or terms"):
        photonet.distill(nn.Linear(4, 3), None, data, method=3)
    with pytest.raises(InvalidArgument, match="schedule: expected points"):
        NTK(schedule=0.5)


def test_bytes_are_numbers_from_0_to_1_whatever_their_shape_and_place():
    pixels = torch.randint(0, 256, (20, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    labels = torch.arange(20) % 3
    students = [nn.Linear(4, 3) for _ in range(3)]
    for student in students[1:]:
        student.load_state_dict(students[0].state_dict())
    runs = [
        distill(student, students[2], (given, labels), val=(given, labels), unlabelled=given, config=ONCE)
        for student, given in zip(students, (pixels, pixels / 255), strict=False)
    ]
    assert labelled("train", (pixels.numpy(), labels))[0].max() <= 1
    assert runs[0].history.equals(runs[1].history)
    assert torch.equal(students[0].weight, students[1].weight)


def test_the_double_precision_of_numpy_is_taken_in_that_of_the_student(data):
    x, labels = data[0].double().numpy(), data[1].numpy()
    assert distill(nn.Linear(4, 3), nn.Linear(4, 3), (x, labels), config=ONCE).metrics
    targets = np.stack([x[:, 0], x[:, 1]], axis=1)
    assert distill(nn.Linear(4, 2), None, (x, targets), method="ce", config=ONCE).metrics
    assert distill(nn.Linear(4, 3).double(), None, data, method="ce", config=ONCE).metrics


class Lost(nn.Module):
    """A teacher that has no number for some inputs."""

    def __init__(self, outputs=3):
        super().__init__()
        self.layer = nn.Linear(4, outputs)

    def forward(self, x):
        return torch.where(x[:, :1] > 0, self.layer(x), torch.nan)


@pytest.mark.parametrize("method", ["kd", "ntkd", "features"])
@pytest.mark.parametrize("numbers", [False, True])
def test_a_teacher_that_says_nan_is_refused_at_once(method, numbers, data):
    x, labels = data
    targets = x[:, :3] if numbers else labels
    expected = "teacher outputs: expected finite values, got [0-9]+ NaN"
    teacher = nn.Sequential(Lost(), nn.Linear(3, 3)) if method == "features" else Lost()
    if method == "features":
        expected = "teacher features: expected finite values"
    with pytest.raises(InvalidArgument, match=expected):
        distill(nn.Linear(4, 3), teacher, (x, targets), method=method, config=ONCE)


def test_a_teacher_whose_answers_become_nan_stops_a_regression(data):
    views = lambda x, generator: -x  # noqa: E731
    x = data[0].abs()
    with pytest.raises(TrainingDiverged, match="'outputs' became nan"):
        distill(nn.Linear(4, 3), Lost(), (x, x[:, :3]), method="kd", views=views, config=ONCE)


def test_numbers_that_are_not_known_are_nan_and_no_number_is_infinite(data):
    x = data[0]
    targets = x[:, :2].clone()
    targets[::5] = torch.nan
    for y in (targets, targets.numpy()):
        run = distill(nn.Linear(4, 2), None, (x, y), method="ce", config=ONCE)
        assert bool(run.history.to_array().notnull().all())
    with pytest.raises(InvalidArgument, match="train labels: expected finite values, got 1 NaN or infinite"):
        distill(nn.Linear(4, 2), None, (x, torch.where(targets == targets[1, 0], torch.inf, targets)))
    with pytest.raises(InvalidArgument, match="train labels: expected at least one that is known"):
        distill(nn.Linear(4, 2), None, (x, torch.full_like(targets, torch.nan)), method="ce")


def test_a_student_is_trained_where_the_caller_keeps_no_gradients(teacher, data):
    with torch.no_grad():
        assert distill(nn.Linear(4, 3), teacher, data, config=ONCE).metrics
