"""Certificates and signing keys that the command makes."""

import shutil
from pathlib import Path

from crossfade.signing import verify_artifact
from tests.integration.cli.conftest import Command, Json


def test_certificates(crossfade: Command, crossfade_json: Json, tmp_path: Path) -> None:
    made = crossfade_json("certs", "dev", "--to", str(tmp_path / "tls"), "--name", "router")
    assert "operator.key" in made["files"]
    assert "already" in crossfade("certs", "dev", "--to", str(tmp_path / "tls"), code=1).stderr


def test_a_signing_key_signs_an_artifact(
    crossfade: Command, crossfade_json: Json, artifact: Path, tmp_path: Path
) -> None:
    made = crossfade_json("certs", "signing", "--to", str(tmp_path))
    assert "never overwritten" in crossfade("certs", "signing", "--to", str(tmp_path), code=1).stderr
    folder = tmp_path / "artifact"
    shutil.copytree(artifact, folder)
    signed = crossfade_json("sign", str(folder), "--key", made["private"])
    assert signed == {"signature": str(folder / "model.sig")}
    assert verify_artifact(folder, [Path(made["public"])]) == Path(made["public"])
    crossfade("publish", "signed", str(folder))
    assert "certs signing" in crossfade("sign", str(folder), "--key", str(tmp_path / "none"), code=1).stderr
    no_file = ("--password-file", str(tmp_path / "none"))
    assert "cannot be read" in crossfade("sign", str(folder), "--key", made["private"], *no_file, code=1).stderr
    assert "is no private key" in crossfade("sign", str(folder), "--key", made["public"], code=1).stderr
    (tmp_path / "latin").write_bytes("Pässwort".encode("latin-1"))
    no_text = ("--password-file", str(tmp_path / "latin"))
    said = crossfade("sign", str(folder), "--key", made["private"], *no_text, code=2).stderr
    assert said == f"error: {tmp_path / 'latin'} is no text: not UTF-8 at byte 1; it has the password\n"
