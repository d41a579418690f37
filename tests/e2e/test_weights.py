"""Weights for an architecture, from packaging to a promoted second version, through every service."""

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import torch

from crossfade.artifact import Architecture, Artifact, package
from crossfade.registry.v1 import resources_pb2, service_pb2
from examples.architectures.example_architectures import Experts
from services.local.stack import Ports, Stack, StackOptions
from tests.e2e.conftest import MODEL, House, Load, rows
from tests.support.installing import install_examples

CONFIG = {"inputs": 4, "hidden": 8, "outputs": 2, "experts": 3}


def experts(scale: float = 1.0) -> Experts:
    """Networks that choose the same class, whatever the scale."""
    torch.manual_seed(0)
    module = Experts(**CONFIG).eval()
    with torch.no_grad():
        for expert in module.experts:
            for parameter in list(expert.parameters())[-2:]:
                parameter.mul_(scale)
    return module


def packaged(module: Experts, to: Path) -> Artifact:
    """Its weights."""
    architecture = Architecture("experts", CONFIG)
    return package(
        module, example=rows(64), reference=rows(500), classes=["no", "yes"], architecture=architecture, to=to
    )


@pytest.fixture
async def weights_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Everything is up, and its Worker may build the example's experts."""
    site = install_examples(tmp_path / "site")
    monkeypatch.syspath_prepend(str(site))
    # The services' processes find the package as this one does.
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=":")
    artifacts = {name: packaged(experts(scale), tmp_path / name) for name, scale in (("v1", 1.0), ("v2", 1.5))}
    ports = Ports.free()
    options = StackOptions(tmp_path / "data", ports, environment={"CROSSFADE_ARCHITECTURES": "experts"}, restart=False)
    async with Stack(options) as stack:
        house = House(stack, ports, artifacts)
        await house.create()
        yield house
        await house.close()


@pytest.mark.timeout(240)
async def test_weights_are_published_served_and_promoted(weights_house: House) -> None:
    house = weights_house
    await house.publish("v1")
    await house.until_serves("v1")
    sent = rows(9, seed=3)

    answer = await house.client.predict(MODEL, sent)

    with torch.no_grad():
        expected = experts()(torch.from_numpy(sent)).numpy()
    np.testing.assert_allclose(answer.outputs["output"], expected, rtol=1e-4, atol=1e-5)
    version = await house.registry.GetVersion(service_pb2.GetVersionRequest(name=f"models/{MODEL}/versions/v1"))
    report = version.readiness[0].serving.load_report
    assert report.architecture == "experts of example_architectures 0.1.0"

    load = Load(house.client, rate=100)
    published = await house.publish("v2")
    await house.until_state(published.rollout.name, resources_pb2.ROLLOUT_STATE_PROMOTED, seconds=120)
    await load.stop()
    assert load.errors == []
    assert set(load.versions) == {"v1", "v2"}
