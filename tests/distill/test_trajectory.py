"""Teachers that change while the student learns; what a run leaves for them."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from photonet.distill import KD, Moved, TrainConfig, Trajectory, distill
from photonet.errors import DataError, DataMissing, InvalidArgument

CONFIG = TrainConfig(epochs=4, batch_size=10)


def linear(seed, outputs=3):
    torch.manual_seed(seed)
    return nn.Linear(6, outputs)


@pytest.fixture
def data():
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(2))
    return x, torch.arange(40) % 3


def test_the_state_follows_the_progress_of_the_student():
    states = [linear(s).state_dict() for s in range(4)]
    teacher = Trajectory(linear(9), states, until=0.5)
    found = []
    for progress in (0.0, 0.12, 0.13, 0.3, 0.49, 0.5, 1.0):
        weight = teacher.at(progress).model.weight
        found += [i for i, state in enumerate(states) if torch.equal(weight, state["weight"])]
    assert found == [0, 0, 1, 2, 3, 3, 3]


def test_weights_of_every_epoch_are_kept_and_can_be_followed(data, tmp_path):
    teacher = linear(0)
    distill(teacher, None, data, method="ce", config=CONFIG, out=tmp_path, keep=True)
    files = sorted((tmp_path / "epochs").iterdir())
    assert [f.name for f in files] == [f"{n:04d}.safetensors" for n in (1, 2, 3, 4)]
    assert torch.equal(load_file(files[-1])["weight"], teacher.weight)
    (tmp_path / "epochs" / ".0005-ab.safetensors").write_bytes(b"half-written")
    follows = Trajectory(linear(9), files)
    assert Trajectory(linear(9), tmp_path / "epochs").hash == follows.hash
    assert Trajectory(linear(9), str(tmp_path / "epochs")).hash == follows.hash
    run = distill(linear(1), follows, data, val=data, method=[KD()], config=CONFIG)
    # the first epoch is that of a student of the first state
    first = distill(linear(1), Trajectory(linear(9), files[:1]), data, val=data, method=[KD()], config=CONFIG)
    last = distill(linear(1), teacher, data, val=data, method=[KD()], config=CONFIG)
    values = {name: r.history["kd"].values for name, r in (("run", run), ("first", first), ("last", last))}
    assert values["run"][0] == values["first"][0] != values["last"][0]
    assert values["run"][1] != values["first"][1]
    assert run.config["teacher"] != first.config["teacher"]


def test_the_states_of_a_folder_come_in_the_order_of_their_numbers(tmp_path):
    states = [linear(s).state_dict() for s in range(3)]
    for number, state in zip((2, 9999, 10000), states, strict=True):
        save_file(state, tmp_path / f"{number:04d}.safetensors")
    assert Trajectory(linear(9), tmp_path).hash == Trajectory(linear(9), states).hash


def test_one_state_is_an_ordinary_teacher(data):
    teacher = linear(0)
    for method in ("kd", "ntkd", [KD()]):
        runs = [
            distill(linear(1), t, data, method=method, config=CONFIG).student.weight
            for t in (teacher, Trajectory(linear(9), [teacher.state_dict()]))
        ]
        # the outputs of a batch and of all samples may round differently
        torch.testing.assert_close(*runs, rtol=1e-4, atol=1e-6)


def test_views_are_shown_to_the_present_state():
    x = torch.rand(20, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    nets = [nn.Sequential(nn.Flatten(), nn.Linear(256, 3)) for _ in range(3)]
    follows = Trajectory(nets[0], [n.state_dict() for n in nets[:2]])
    run = distill(nets[2], follows, (x, torch.arange(20) % 3), views=Moved(), method="kd", config=CONFIG)
    assert bool(run.history["kd"].notnull().all())


def test_wrong_states_are_named(tmp_path):
    state, path = linear(0).state_dict(), tmp_path / "a.safetensors"
    save_file(linear(0, outputs=5).state_dict(), path)
    with pytest.raises(InvalidArgument, match="^states: expected at least one"):
        Trajectory(linear(0), [])
    for wrong in (state, 3, None, [nn.Linear(6, 3)]):
        with pytest.raises(InvalidArgument, match=r"^states: expected state dicts or \.safetensors files"):
            Trajectory(linear(0), wrong)
    for folder in (tmp_path / "none", tmp_path / "a.safetensors"):
        with pytest.raises(DataMissing, match=f"{folder.name}: no folder of .safetensors files"):
            Trajectory(linear(0), folder)
    with pytest.raises(InvalidArgument, match="^until"):
        Trajectory(linear(0), [state], until=0.0)
    with pytest.raises(InvalidArgument, match=r"^states: expected .*\.safetensors files, got a\.pt; save"):
        Trajectory(linear(0), [tmp_path / "a.pt"])
    with pytest.raises(DataMissing, match=r"b\.safetensors: no such file"):
        Trajectory(linear(0), [tmp_path / "b.safetensors"])
    with pytest.raises(DataError, match=r"a\.safetensors: the state of another architecture"):
        Trajectory(linear(0), [state, path])
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=r"a\.safetensors: not a readable"):
        Trajectory(linear(0), [path])


@pytest.mark.parametrize("progress", [-0.5, 1.5, float("nan"), "late"])
def test_a_progress_that_is_none_is_named(progress):
    model = nn.Linear(2, 2)
    with pytest.raises(InvalidArgument, match="progress: expected a fraction between 0 and 1"):
        Trajectory(model, [model.state_dict()]).at(progress)
