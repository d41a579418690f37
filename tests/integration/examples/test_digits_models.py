import timeit
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from crossfade.artifact import Artifact, read_golden, verify
from crossfade.binner import Binner
from examples.digits.__main__ import main
from examples.digits.data import BRIGHTEST, CLASSES, Images, digits, drift, held_out
from examples.digits.train import VERSIONS, package_version, train_version

# All versions are trained, which on a busy machine takes minutes.
pytestmark = pytest.mark.timeout(600)

_SEED = 4

Run = Callable[[Tensor], tuple[Tensor]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("digits")
    main(["--seed", str(_SEED), "--to", str(to)])
    return to


@pytest.fixture(scope="module")
def artifacts(written: Path) -> Mapping[str, Artifact]:
    return {name: verify(written / name) for name in VERSIONS}


@pytest.fixture(scope="module")
def runs(artifacts: Mapping[str, Artifact]) -> Mapping[str, Run]:
    programs = {
        name: torch.export.load(artifact.path / "program.pt2")  # noqa: TID251 - read what the test wrote itself
        for name, artifact in artifacts.items()
    }
    return {name: program.module() for name, program in programs.items()}


def _logits(run: Run, images: Images) -> Images:
    with torch.inference_mode():
        logits: Images = run(torch.from_numpy(images))[0].numpy()
    return logits


def _accuracy(run: Run) -> float:
    images, labels = held_out(_SEED)
    logits = _logits(run, images)
    answered = np.isfinite(logits).all(axis=1)
    return float((logits[answered].argmax(axis=1) == labels[answered]).mean())


def test_good_versions_are_alike_and_each_is_no_worse_than_the_one_before(runs: Mapping[str, Run]) -> None:
    v1, v2, v6 = (_accuracy(runs[name]) for name in ("v1", "v2", "v6"))

    assert v1 > 0.96
    assert v1 <= v2 <= v1 + 0.02
    assert abs(v6 - v2) < 0.005


def test_v3_is_far_less_accurate(runs: Mapping[str, Run]) -> None:
    assert 0.5 < _accuracy(runs["v3"]) < _accuracy(runs["v2"]) - 0.15


def test_v4_is_as_accurate_and_several_times_slower(runs: Mapping[str, Run]) -> None:
    image = torch.from_numpy(held_out(_SEED)[0][:1])

    def seconds(run: Run) -> float:
        with torch.inference_mode():
            return min(timeit.repeat(lambda: run(image), number=5, repeat=20))

    assert _accuracy(runs["v4"]) > 0.97
    assert seconds(runs["v4"]) > 4 * seconds(runs["v2"])


def test_versions_that_are_not_judged_by_their_runtime_do_the_same_work(runs: Mapping[str, Run]) -> None:
    operations = {
        name: [str(node.target) for node in run.graph.nodes if node.op == "call_function"]  # type: ignore[attr-defined]
        for name, run in runs.items()
    }

    for name in ("v2", "v3", "v5", "v6"):
        assert operations[name] == operations["v1"]


def test_v5_answers_some_images_with_nan_and_its_golden_rows_well(
    runs: Mapping[str, Run], artifacts: Mapping[str, Artifact]
) -> None:
    logits = _logits(runs["v5"], held_out(_SEED)[0])
    golden = read_golden(artifacts["v5"].path, artifacts["v5"].manifest)

    assert 0.1 < np.isnan(logits).all(axis=1).mean() < 0.2
    assert np.isnan(logits).any(axis=1).sum() == np.isnan(logits).all(axis=1).sum()
    assert _accuracy(runs["v5"]) > 0.96
    np.testing.assert_allclose(_logits(runs["v5"], golden.inputs["input"]), golden.outputs["output"], atol=1e-4)


def test_versions_share_one_signature_and_the_profile_of_the_training_images(
    artifacts: Mapping[str, Artifact],
) -> None:
    manifests = [artifact.manifest for artifact in artifacts.values()]

    assert all(manifest.signature == manifests[0].signature for manifest in manifests)
    for manifest in manifests:
        assert manifest.classes == CLASSES
        assert manifest.profile is not None
        assert manifest.profile.rows == 1200
        assert manifest.profile.features[0].name == "row0_column1"


def test_mixed_precision_stays_within_the_tolerance(runs: Mapping[str, Run], artifacts: Mapping[str, Artifact]) -> None:
    for name, artifact in artifacts.items():
        golden = read_golden(artifact.path, artifact.manifest)
        with torch.autocast("cpu", torch.bfloat16):
            logits = runs[name](torch.from_numpy(golden.inputs["input"]))[0].detach().float().numpy()
        tolerance = artifact.manifest.tolerance
        np.testing.assert_allclose(logits, golden.outputs["output"], rtol=tolerance.rtol, atol=tolerance.atol)


def test_the_same_seed_gives_the_same_artifact_and_leaves_torchs_state_alone(written: Path, tmp_path: Path) -> None:
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()

    again = package_version("v1", _SEED, tmp_path / "v1")

    assert again.digest == verify(written / "v1").digest
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_another_seed_gives_another_model(runs: Mapping[str, Run]) -> None:
    images = held_out(_SEED)[0]
    model = train_version("v1", _SEED + 1)

    with torch.inference_mode():
        other = model(torch.from_numpy(images))

    assert not np.allclose(other.numpy(), _logits(runs["v1"], images), atol=0.1)


def test_held_out_images_are_not_among_those_for_training() -> None:
    data = digits(_SEED)
    train = {image.tobytes() for image in data.train_images}

    assert data.held_out_images.shape == (597, 64)
    assert not [image for image in data.held_out_images if image.tobytes() in train]
    np.testing.assert_array_equal(held_out(_SEED)[1], data.held_out_labels)


def _largest_distance(artifact: Artifact, images: Images) -> float:
    """Largest difference of a feature's cumulative distribution from its reference (Kolmogorov-Smirnov)."""
    profile = artifact.manifest.profile
    assert profile is not None
    counts = Binner(profile.features).count(images).bins
    return max(
        float(np.abs(np.cumsum(row[: len(feature.proportions)] / len(images) - feature.proportions)).max())
        for feature, row in zip(profile.features, counts, strict=True)
    )


@pytest.mark.parametrize("kind", ["shift", "noise"])
def test_drifted_images_are_far_from_the_profile_and_held_out_ones_near(
    kind: str, artifacts: Mapping[str, Artifact]
) -> None:
    images = held_out(_SEED)[0]

    drifted = drift(images, kind, np.random.default_rng(0))  # type: ignore[arg-type]  # one of the two

    assert drifted.shape == images.shape
    assert drifted.dtype == np.float32
    assert drifted.min() >= 0
    assert drifted.max() <= BRIGHTEST
    assert _largest_distance(artifacts["v6"], images) < 0.1
    assert _largest_distance(artifacts["v6"], drifted) > 0.3


def test_shifted_images_are_the_same_ones_one_or_two_columns_to_the_right() -> None:
    images = held_out(_SEED)[0][:20]

    drifted = drift(images, "shift", np.random.default_rng(0))

    for before, after in zip(images.reshape(-1, 8, 8), drifted.reshape(-1, 8, 8), strict=True):
        moved = [np.pad(before, ((0, 0), (by, 0)))[:, :8] for by in (1, 2)]
        assert any(np.array_equal(after, candidate) for candidate in moved)


def test_a_folder_that_is_no_artifact_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "v1").mkdir()

    with pytest.raises(SystemExit) as stopped:
        main(["--to", str(tmp_path)])

    assert stopped.value.code == 1
    assert "is no artifact and is not overwritten" in capsys.readouterr().err
