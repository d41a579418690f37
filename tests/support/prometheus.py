"""A real Prometheus that scrapes pages: the one on PATH, or Debian's packages, unpacked once into a cache folder."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import pytest
import yaml

from services.common.ports import free_port

_START_SECONDS = 20.0


class AbsentError(Exception):
    """There is no Prometheus here; the message says why."""


@cache
def program() -> Path:
    """The program `prometheus`.

    Raises:
        AbsentError: it is not installed, and its package cannot be had.
    """
    if installed := shutil.which("prometheus"):
        return Path(installed)
    return _unpacked("prometheus")


@cache
def promtool() -> Path:
    """The program `promtool`: Debian 12 has it in the package of Prometheus, later releases in one of its own.

    Raises:
        AbsentError: as of `program`.
    """
    if installed := shutil.which("promtool"):
        return Path(installed)
    beside = program().with_name("promtool")
    return beside if beside.exists() else _unpacked("promtool")


def _unpacked(package: str) -> Path:
    """The program that is named like its package."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crossfade-tests" / package
    found = root / "usr" / "bin" / package
    if not found.exists():
        _unpack(package, root)
    return found


def _unpack(package: str, root: Path) -> None:
    if sys.platform != "linux" or not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise AbsentError(f"{package} is not installed, and this is no Debian whose package could be used")
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        for command in (["apt-get", "download", package], ["sh", "-c", f"dpkg -x {package}_*.deb unpacked"]):
            try:
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=90)
            except subprocess.TimeoutExpired:
                raise AbsentError(f"{package} is not installed, and {command[0]} took too long") from None
            if done.returncode:
                raise AbsentError(f"{package} is not installed, and its package cannot be had: {done.stderr.strip()}")
        # Whole or not at all, whoever else does the same at this moment.
        if not root.exists():
            (Path(folder) / "unpacked").rename(root)


@dataclass
class Prometheus:
    """A server on a free port.

    Attributes:
        folder: where its data and its configuration lie.
        targets: host:port of the pages, by job.
        interval: seconds between two scrapes.
        labels: what it adds to every target, by job.
    """

    folder: Path
    targets: Mapping[str, Sequence[str]]
    interval: float = 1.0
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts it, and waits until it is ready.

        Raises:
            AbsentError: there is none.
            RuntimeError: it ended, or took too long.
        """
        command = [
            str(program()),
            f"--config.file={self._configuration()}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        ]
        log = self.folder / "log"
        with log.open("wb") as written:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=written, stderr=written)
        end = time.monotonic() + _START_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise RuntimeError(f"Prometheus did not start: {log.read_text(errors='replace')}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Ends it at once; its data are no longer wanted."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _configuration(self) -> Path:
        jobs = [
            {"job_name": job, "static_configs": [{"targets": list(pages), "labels": dict(self.labels.get(job, {}))}]}
            for job, pages in self.targets.items()
        ]
        every = f"{round(self.interval * 1000)}ms"
        whole = {"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": jobs}
        file = self.folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(whole))
        return file

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:  # noqa: S310 - our own server
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def real_prometheus(tmp_path: Path) -> Iterator["MakePrometheus"]:
    """Starts Prometheus servers, which end with the test; skips it where there is none."""
    try:
        program()
    except AbsentError as error:
        pytest.skip(str(error))
    maker = MakePrometheus(tmp_path)
    yield maker
    for one in maker.made:
        one.stop()


@dataclass
class MakePrometheus:
    """Makes servers that scrape pages."""

    folder: Path
    made: list[Prometheus] = field(default_factory=list)

    def __call__(
        self,
        targets: Mapping[str, Sequence[str]],
        interval: float = 1.0,
        labels: Mapping[str, Mapping[str, str]] | None = None,
    ) -> Prometheus:
        """A server that is ready."""
        folder = self.folder / f"prometheus-{len(self.made)}"
        folder.mkdir()
        one = Prometheus(folder, targets, interval, labels or {})
        self.made.append(one)
        one.start()
        return one
