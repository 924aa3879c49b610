import copy
import sys
import types

import pytest
import torch
from torch import nn

from photonet.distill import TrainConfig, distill
from photonet.errors import DataError, DataMissing, InvalidArgument, MissingDependency
from photonet.models import compressed_meta, lenet, load_teacher

# torch copies its own tree specifications by a way that it calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning")


def exported(net, x):
    return torch.export.export(net.eval(), (x,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def test_an_exported_teacher_answers_as_the_original_and_teaches():
    x = torch.rand(24, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    net = lenet()
    teacher = load_teacher(exported(net, x[:4]))
    for count in (1, 2, 24):
        torch.testing.assert_close(teacher(x[:count]), net(x[:count]))
    assert not any(p.requires_grad for p in teacher.parameters())
    assert copy.deepcopy(teacher).train().eval()(x).shape == (24, 10)
    settings = TrainConfig(epochs=1, batch_size=10)
    result = distill(compressed_meta(), teacher, (x, torch.arange(24) % 10), method="kd", config=settings)
    assert result.history["kd"].values.item() > 0


def test_archives_that_may_hold_pickles_are_left_to_the_caller(tmp_path):
    with pytest.raises(InvalidArgument, match="pass torch.export.load.* if you trust this one"):
        load_teacher(tmp_path / "teacher.pt2")
    with pytest.raises(DataMissing, match="teacher.onnx: no such file"):
        load_teacher(tmp_path / "teacher.onnx")


def test_without_the_converter_the_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx2torch", None)
    (tmp_path / "teacher.onnx").write_bytes(b"")
    with pytest.raises(MissingDependency, match="pip install 'photonet.onnx"):
        load_teacher(tmp_path / "teacher.onnx")


@pytest.fixture
def onnx(monkeypatch):
    """onnx beside onnx2torch, which wants torchvision for two operators on boxes that no network here has.

    torchvision has to be built for the very torch that is installed; none is for the pinned one.
    """
    known = set(sys.modules)
    vision, boxes = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
    boxes.roi_align = None
    monkeypatch.setitem(sys.modules, "torchvision", vision)
    monkeypatch.setitem(sys.modules, "torchvision.ops", boxes)
    pytest.importorskip("onnx2torch")
    yield pytest.importorskip("onnx")
    for name in set(sys.modules) - known:  # nobody else shall get the modules that saw an empty torchvision
        if name.startswith("onnx2torch"):
            del sys.modules[name]


def test_an_onnx_teacher_answers_as_the_original(tmp_path, onnx):
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 4)).eval()
    weights = {name.replace(".", "_"): p.detach().numpy() for name, p in net.named_parameters()}
    node = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["x", "0_weight", "0_bias"], ["a"], kernel_shape=[3, 3]),
            node("Relu", ["a"], ["b"]),
            node("MaxPool", ["b"], ["c"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Flatten", ["c"], ["d"]),
            node("Gemm", ["d", "4_weight", "4_bias"], ["y"], transB=1),
        ],
        "teacher",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 1, 8, 8])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    onnx.save(model, tmp_path / "teacher.onnx")
    x = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(load_teacher(tmp_path / "teacher.onnx")(x), net(x))
    (tmp_path / "damaged.onnx").write_bytes(b"not protobuf")
    with pytest.raises(DataError, match="damaged.onnx: not a model that onnx2torch can convert"):
        load_teacher(tmp_path / "damaged.onnx")


def test_what_the_converter_needs_is_named_where_that_is_missing(tmp_path, monkeypatch):
    converter = types.ModuleType("onnx2torch")
    monkeypatch.setitem(sys.modules, "onnx", types.ModuleType("onnx"))
    monkeypatch.setitem(sys.modules, "onnx2torch", converter)
    (tmp_path / "teacher.onnx").write_bytes(b"")

    class Finder:
        @staticmethod
        def find_spec(name, path=None, target=None):
            if name == "onnx2torch":
                raise ModuleNotFoundError("No module named 'torchvision'", name="torchvision")

    monkeypatch.delitem(sys.modules, "onnx2torch")
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    with pytest.raises(MissingDependency, match="onnx2torch needs torchvision"):
        load_teacher(tmp_path / "teacher.onnx")
