"""Stored programs whose graphs could run code are refused before torch reads them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from services.worker.artifacts.operators import ATEN
from services.worker.artifacts.vetting import vet
from services.worker.domain import LoadError
from tests.unit.worker.programs import CALL, SYMBOL, Parts, program, write


def test_a_plain_program_passes(tmp_path: Path) -> None:
    vet(write(tmp_path / "program.pt2", program()))


@pytest.mark.parametrize(
    "expression",
    [
        SYMBOL,
        "Integer(4)",
        "Mul(Integer(2), Symbol('s0'))",
        "FloorDiv(s77, 2)",
        "2*s77 + 1",
        "Max(1, u0)",
        "s77 >= 2",
        "(2*s77 + 1)**2",
        "Pow(Symbol('s77'), Rational(-1, 2))",
        "FloatPow(ToFloat(s77), Float('0.5', precision=53))",
        "Pow(s77, 3, evaluate=False)",
        "RShift(s77, 1)",
    ],
)
def test_expressions_over_symbols_pass(tmp_path: Path, expression: str) -> None:
    vet(write(tmp_path / "program.pt2", program(expression=expression)))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('id')",
        "().__class__.__bases__",
        "s77.__class__",
        "[s77 for s77 in (1,)]",
        "lambda: 1",
        "eval('1')",
        "Symbol('os')",
        "Symbol('s77').func",
        "open('/etc/passwd')",
        "s77(1)(2)",
        "",
        "(" * 3000,
        "s77 := 1",
        "u999999999999999",
        "CeilToInt(Float('1e999999999'))",
        "9" * 100,
    ],
)
def test_expressions_that_are_code(tmp_path: Path, expression: str) -> None:
    with pytest.raises(LoadError, match="symbolic expression"):
        vet(write(tmp_path / "program.pt2", program(expression=expression)))


@pytest.mark.parametrize(
    "expression",
    [
        "9**9**9**9",
        "((9**99)**99)**99",
        "Pow(Integer(9), Pow(Integer(9), Integer(99)))",
        "PowByNatural(9, s77)",
        "2**(s77 - s77 + 9**9)",
        "LShift(1, 999999999)",
        "1 << 999999999",
        "FloatPow(2.0, -999999999)",
        "Pow(2, exp=999999999)",
        "RoundDecimal(1.5, -999999999)",
        "Float('0.1', 999999999)",
        "Float('0.1', precision=999999999)",
    ],
)
def test_expressions_that_sympy_would_compute_for_ever(tmp_path: Path, expression: str) -> None:
    with pytest.raises(LoadError, match="could take for ever"):
        vet(write(tmp_path / "program.pt2", program(expression=expression)))


@pytest.mark.parametrize("symbol", ["u999999999999999", "u1; exit()", ""])
def test_symbols_up_to_which_torch_would_count(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(LoadError, match="no symbol that torch makes"):
        vet(write(tmp_path / "program.pt2", with_graph(range_constraints={symbol: {"min_val": 0, "max_val": 4}})))


@pytest.mark.parametrize(
    "target",
    [
        "torch.hub.load",
        "torch.load",
        "torch.ops.load_library",
        "torch.ops.aten.relu.default.__class__",
        "torch.os.system",
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten._reshape_alias.default",
        "torch.ops.aten.set_.source_Tensor_storage_offset",
        "torch.ops.aten._sparse_coo_tensor_unsafe.default",
        "torch.ops.aten.max_pool2d_with_indices_backward.default",
        "torch.ops.aten.segment_reduce.default",
        "torch.ops.aten._ctc_loss.default",
        "torch.ops.aten._ctc_loss.Tensor_out",
        "torch.ops.aten.ctc_loss.IntList",
        "torch.ops.aten._cudnn_ctc_loss.Tensor",
        "torch.ops.aten._index_put_impl_.default",
        "torch.ops.aten._index_put_impl.out",
        # Writes where the author says: an index is a tensor of its own.
        "torch.ops.aten.to_sparse.default",
        "torch.ops.aten._indices.default",
        "torch.ops.aten.col_indices.default",
        # Answers the bytes of a C++ object, which others take for one.
        "torch.ops.aten.fbgemm_pack_gemm_matrix_fp16.default",
        "torch.ops.aten.fbgemm_linear_fp16_weight_fp32_activation.default",
        "torch.ops.aten.mkldnn_reorder_conv2d_weight.default",
        "torch.ops.aten._nested_view_from_buffer.default",
        "torch.ops.aten._sobol_engine_draw.default",
        "torch.ops.aten.resize_.default",
        "torch.ops.aten.an_operator_of_tomorrow.default",
        "torch.ops.prims.resize.default",
        "torch.ops.prims._make_token.default",
        "torch.ops.aten.relu.__class__",
        "_operator.attrgetter",
        "_operator.methodcaller",
        "math.__loader__",
        "#custom",
        "builtins.eval",
    ],
)
def test_operators_from_elsewhere(tmp_path: Path, target: str) -> None:
    with pytest.raises(LoadError, match="none of the operators that Workers run: do without it, or package"):
        vet(write(tmp_path / "program.pt2", program(target=target)))


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten._unsafe_view.default",
        "torch.ops.aten.reshape.default",
        "torch.ops.aten.index_put.default",
        "torch.ops.aten.index_put_.default",
        "torch.ops.aten.fill_diagonal_.default",
        "torch.ops.aten.__and__.Tensor",
        # nn.Embedding(max_norm=…), nn.MaxPool1d(return_indices=True), and what is trained for quantization.
        "torch.ops.aten.embedding_renorm_.default",
        "torch.ops.aten.max_pool1d_with_indices.default",
        "torch.ops.aten.fake_quantize_per_tensor_affine_cachemask.default",
        "torch.ops.prims.convert_element_type.default",
    ],
)
def test_operators_that_check_what_they_are_given(tmp_path: Path, target: str) -> None:
    vet(write(tmp_path / "program.pt2", program(target=target)))


def test_each_operator_of_the_list_is_one_of_torch() -> None:
    assert not [name for name in ATEN if not (hasattr(torch.ops.aten, name) or hasattr(torch.ops.aten, f"{name}_"))]


class Several(nn.Module):
    """What models are made of."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.MaxPool2d(2), nn.Upsample(8))
        self.words = nn.EmbeddingBag(10, 8)
        self.series = nn.LSTM(8, 8, batch_first=True)
        self.attending = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.rows = nn.Sequential(
            nn.LayerNorm(8), nn.utils.parametrizations.weight_norm(nn.Linear(8, 3)), nn.Softmax(-1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = self.image(x).flatten(2)[..., :8]
        series, _ = self.series(image)
        words = self.words(x.flatten(1).abs().long() % 10)
        spectrum = torch.fft.irfft(torch.fft.rfft(words), 8) + torch.linalg.norm(words, dim=-1, keepdim=True)
        rows: torch.Tensor = self.rows(
            self.attending(series).mean(1) + torch.where((words > 0) & (words < 2), spectrum, words).sort()[0]
        )
        return rows


@pytest.mark.parametrize("decomposed", [False, True])
def test_what_models_are_made_of_passes(tmp_path: Path, *, decomposed: bool) -> None:
    program = torch.export.export(Several().eval(), (torch.randn(2, 1, 12, 12),))
    program = program.run_decompositions() if decomposed else program
    program.example_inputs = None
    torch.export.save(program, tmp_path / "program.pt2")
    vet(tmp_path / "program.pt2")


def with_graph(**fields: Any) -> Parts:
    return program() | {"models/model.json": json.dumps({"nodes": [fields]}).encode()}


@pytest.mark.parametrize("value", [{"as_bool": True}, {"as_int": 1}, {"as_sym_bool": {"as_name": "b"}}])
def test_operators_that_are_told_not_to_check(tmp_path: Path, value: Any) -> None:
    asked = {"name": "unsafe", "arg": value, "kind": 2}
    with pytest.raises(LoadError, match="'unsafe'"):
        vet(write(tmp_path / "program.pt2", with_graph(inputs=[asked])))
    for plain in ({"name": "unsafe", "arg": {"as_bool": False}}, {"name": "x", "arg": value}, {"name": "unsafe"}):
        vet(write(tmp_path / "program.pt2", with_graph(inputs=[plain])))


def packed(kind: str, context: object) -> str:
    return json.dumps([1, {"type": kind, "context": context, "children_spec": []}])


@pytest.mark.parametrize(
    "fields",
    [
        # torch writes these into the source of a function, and runs it.
        {"inputs": [{"as_tensor": {"name": f"x={CALL}"}}]},
        {"arg": {"as_sym_int": {"as_name": f"x={CALL}"}}},
        {"signature": {"forward_arg_names": ["x", f"y={CALL}"]}},
        {"parameter": {"parameter_name": 'w", [exit()] and "weight'}},
        {"fqn": "layer\n    exit()"},
        {"as_operator": "torch.os.system"},
        {"anything_new": CALL},
        # It imports what these name.
        {"in_spec": packed("builtins.dict", json.dumps([{"__enum__": True, "fqn": "antigravity:x", "name": "y"}]))},
        {"out_spec": packed("builtins.dict", json.dumps({"__enum__": True, "fqn": "antigravity:x", "name": "y"}))},
        {"in_spec": packed("collections.defaultdict", {"default_factory_module": "antigravity"})},
        {"in_spec": packed("builtins.dict", json.dumps([f"x={CALL}"]))},
        {"in_spec": "[" * 100_000},
        {"in_spec": "1"},
    ],
)
def test_graphs_that_are_code(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match=r"could run code|none of the operators"):
        vet(write(tmp_path / "program.pt2", with_graph(**fields)))


def test_graphs_that_say_what_graphs_say(tmp_path: Path) -> None:
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    inputs = {"type": "builtins.dict", "context": '["class-probs", "x"]', "children_spec": [leaf, leaf]}
    fields = {
        "name": "",
        "inputs": [{"name": "self", "arg": {"as_tensor": {"name": "inputs_0"}}}, {"as_string": "bilinear"}],
        "parameter_name": "module.blocks.0.conv 1x1 (a).weight",
        "fqn": "",
        "device": {"type": "cuda:0", "index": None},
        "in_spec": json.dumps([1, {"type": "builtins.tuple", "context": "null", "children_spec": [inputs]}]),
        "metadata": {"stack_trace": 'File "a.py", line 1\n  x = f("y")', "nn_module_stack": "L['self'],,a.B.<locals>"},
        "torch_version": "2.13.0+cu128",
    }
    vet(write(tmp_path / "program.pt2", with_graph(**fields)))
