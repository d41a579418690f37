"""A Worker that trusts a key loads what it has signed, and says what is missing of the rest."""

from pathlib import Path
from typing import Any

from crossfade.signing import make_signing_key, sign_artifact
from tests.fakes.models import package_scores, reference_rows
from tests.fakes.registry import FakeRegistry, lane
from tests.support.wait import until


async def test_only_signed_versions_go_live(
    registry: FakeRegistry, start_worker: Any, caller_of: Any, want: Any, tmp_path: Path
) -> None:
    private, public = tmp_path / "ours.key", tmp_path / "ours.pem"
    make_signing_key(private, public)
    make_signing_key(tmp_path / "other.key", tmp_path / "other.pem")
    signed, unsigned, foreign = (
        package_scores(tmp_path / name, scale=scale)
        for name, scale in (("signed", 1.0), ("unsigned", 2.0), ("foreign", 3.0))
    )
    sign_artifact(signed.artifact.path, private)
    sign_artifact(foreign.artifact.path, tmp_path / "other.key")
    wanted = [want(one, version) for one, version in ((signed, "v1"), (unsigned, "v2"), (foreign, "v3"))]
    await registry.set_lanes(lane("scores", *wanted))
    await start_worker(trusted_keys=public)
    caller = await caller_of("v1")
    assert (await caller.predict(reference_rows(1))).model_version == "v1"

    def error(version: str) -> str:
        serving = registry.serving("scores", version)
        return serving.error if serving is not None else ""

    await until(lambda: error("v2") and error("v3"), 60)
    assert "has no model.sig" in error("v2")
    assert "is by no trusted key" in error("v3")
    assert registry.state("scores", "v3") == "FAILED"
    assert registry.state("scores", "v2") != "FAILED"
