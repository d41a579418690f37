"""Programs with what NaN would end the process in: given none, and NaN comes out all the same."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from crossfade.manifest import Precision
from services.worker.engine.flat import flatten
from services.worker.engine.light import pack_if_light, unpack
from services.worker.engine.nan_in_matrices import keep_nan_out
from tests.unit.worker.exported import exported


class _Spectrum(nn.Module):
    """The eigenvalues of a row's matrix."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[rows, 9] to the parts of [rows, 3]."""
        values = torch.linalg.eigvals(x.reshape(-1, 3, 3))
        return values.real, values.imag


class _Branch(nn.Module):
    """Likewise, or not."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, 9] to [rows, 3]."""
        branched: torch.Tensor = torch.cond(
            x[0, 0] > 0, lambda x: torch.linalg.eigvals(x.reshape(-1, 3, 3)).real + 0.0, lambda x: x[:, :3] + 0.0, (x,)
        )
        return branched


class _NumbersAlone(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Fails where the process would end."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "eig" in str(func):
            assert args[0].isfinite().all()
        return func(*args, **(kwargs or {}))


ROWS = torch.randn(5, 9, generator=torch.Generator().manual_seed(3))


def kept(module: nn.Module) -> torch.fx.GraphModule:
    made = exported(module, ROWS)
    keep_nan_out(made)
    return made


def test_of_numbers_the_answers_are_the_same_to_the_bit() -> None:
    made, expected = kept(_Spectrum()), _Spectrum()(ROWS)
    packed = pack_if_light(made, [ROWS[:1]], Precision.FP32)
    for program in (made, flatten(made), unpack(packed).function()):
        for found, part in zip(program(ROWS), expected, strict=True):
            assert torch.equal(found, part)


@pytest.mark.parametrize("what", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("module", [_Spectrum(), _Branch()])
def test_what_is_no_number_is_not_given_to_it_and_its_row_alone_is_none(module: nn.Module, what: float) -> None:
    rows, made = ROWS.abs(), kept(module)
    rows[2, 4] = what
    program = made if isinstance(module, _Spectrum) else made.get_submodule("true_graph_0")
    with torch.no_grad(), _NumbersAlone():  # type: ignore[no-untyped-call]
        outputs = program(rows)
    for output in outputs:
        assert output.isfinite().all(dim=1).tolist() == [True, True, False, True, True]
        assert output[2].isnan().all()
