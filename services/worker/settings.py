"""Settings of the Worker, from the environment (CROSSFADE_…) or from arguments."""

import os
from pathlib import Path
from typing import Final

from pydantic import Field, field_validator

from crossfade.architecture import NAME_PATTERN
from crossfade.manifest import Precision
from services.common.settings import ServiceSettings

_HIGHEST_PORT: Final = 65_535
_MODELS: Final = r"(?:[a-z0-9][a-z0-9._-]*\*?|\*)"
"""The name of a model, or how names begin."""


class WorkerSettings(ServiceSettings):
    """Settings of one Worker.

    Attributes:
        listen: host:port of the supervisor; the versions' processes listen on free ports of the same host.
        models: names, as in `churn, fraud-*` with `*` for whatever follows, of the models whose versions are loaded
            here; unset: all. Each model wants a Worker that has it, or better two.
        artifact_cache: folder of fetched artifacts, by digest; safe to delete while no Worker runs.
        artifact_cache_bytes: beyond it, artifacts that no version needs are removed when another comes, first those
            used least recently; 0: no bound.
        artifact_sources: addresses under which artifacts may lie, as in `s3://models, https://artifacts.example/prod`;
            unset: any that the Worker can reach.
        trusted_keys: public key (PEM: P-256, P-384 or P-521), or a folder of such (`*.pem`): only artifacts that one of
            them has signed are loaded; unset: signatures are not looked at.
        allow_unsigned: without `trusted_keys`, listen beyond loopback all the same.
        architectures: names, as in `mlp,resnet18`, of the architectures that weights may be for. Their packages, which
            are installed beside the Worker, run in its versions' processes; unset: only exported programs are loaded.
        token_keys: file with a line `ID HEX` per key that signs prediction ids; unset: answers have no prediction id.
        device: `auto` (CUDA where there is one), `cpu`, `cuda` or `cuda:N`; a device that is not there keeps the Worker
            from starting.
        precision: what versions run in that do not say it themselves: `auto` (mixed precision on CUDA, and on
            processors with instructions for bfloat16, where it agrees and takes a tenth less time), `fp32`, `bf16` or
            `fp16`.
        version_ports: ports that the versions' processes may listen on, as in `21000-21199`: each version and kind of
            traffic takes one, and keeps it for 15 min after its end; unset: any free one.
        version_threads: CPU threads of one version's process; 0: the cores shared out, or as many as `version_cores`,
            unless OMP_NUM_THREADS is set.
        version_cores: processors of one version and kind of traffic, which its processes alone run on while there are
            enough; what floods one version then costs the others nothing, and none can use what the others leave idle.
            0: all run on all.
        max_batch: rows of the largest batch; a version's manifest may allow fewer.
        batch_seconds: a batch size that takes longer than this at warm-up is not used.
        queue_rows: rows that may wait for a version; beyond it requests are turned away.
        front_ends: processes that take a version's requests, each a gRPC server before the same engine. A connection
            reaches one of them.
        pin_front_ends: each front-end stays on one processor, which takes less of it for a call; unset: where a version
            has two processors, and a front-end for each.
        inline_rows: where a program is small and runs on a CPU, a front-end runs a row that comes alone itself, which
            spares its caller two changes of process.
        pause_seconds: how long the engine pauses at a time for a larger batch, where that pays; 0: never.
        hang_seconds: a batch that runs longer than this is taken to hang, and its version's process to have crashed.
        version_memory_bytes: a version whose engine takes more of the machine's memory for itself is ended, and started
            again; unset: half of what the machine or the container has; 0: no bound.
        version_device_memory_bytes: of a GPU's memory for one version; one that needs more to load has failed, and one
            that needs more to run gets smaller batches; 0: no bound.
        cuda_graphs: on a GPU record each version for every size of batch, so that a batch is one launch.
        compile_programs: have AOTInductor compile each exported program at its load, and run what that gives where it
            answers alike and takes a tenth less time; a load takes a C++ compiler beside the Worker then, and from some
            seconds to minutes more.
        quiet_seconds: a version that is no longer wanted ends when no request came for so long.
        fetch_seconds: a fetch that takes longer is given up, and tried again later.
        load_seconds: a load that takes longer has failed, from the start of its process on; a start that takes longer
            is tried again.
        parallel_loads: how many versions load at once.
        poll_seconds: how often the versions' counts are fetched; a crash loses what was counted since.
    """

    listen: str = "127.0.0.1:8600"
    models: str = Field(default="", pattern=rf"^({_MODELS}(, *{_MODELS})*)?$")
    artifact_cache: Path = Path(".crossfade/artifacts")
    artifact_cache_bytes: int = Field(default=20 << 30, ge=0)
    artifact_sources: str = ""
    trusted_keys: Path | None = None
    allow_unsigned: bool = False
    architectures: str = Field(default="", pattern=rf"^({NAME_PATTERN}(, *{NAME_PATTERN})*)?$")
    token_keys: Path | None = None
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:[0-9]+)?)$")
    precision: Precision = Precision.AUTO
    version_ports: str = Field(default="", pattern=r"^([0-9]{1,5}-[0-9]{1,5})?$")
    version_threads: int = Field(default=0, ge=0)
    version_cores: int = Field(default=0, ge=0)
    max_batch: int = Field(default=64, ge=1, le=4096)
    batch_seconds: float = Field(default=0.02, gt=0)
    queue_rows: int = Field(default=1024, ge=1)
    front_ends: int = Field(default=2, ge=1, le=32)
    pin_front_ends: bool | None = None
    inline_rows: bool = True
    pause_seconds: float = Field(default=0.0004, ge=0, le=0.1)
    hang_seconds: float = Field(default=30.0, gt=0)
    version_memory_bytes: int | None = Field(default=None, ge=0)
    version_device_memory_bytes: int = Field(default=0, ge=0)
    cuda_graphs: bool = True
    compile_programs: bool = False
    quiet_seconds: float = Field(default=1.0, ge=0)
    fetch_seconds: float = Field(default=1800.0, gt=0)
    load_seconds: float = Field(default=300.0, gt=0)
    parallel_loads: int = Field(default=1, ge=1)
    poll_seconds: float = Field(default=1.0, gt=0)

    def has_model(self, model: str) -> bool:
        """Whether a model's versions are loaded here."""
        names = _listed(self.models)
        return not names or any(model.startswith(name[:-1]) if name.endswith("*") else model == name for name in names)

    @property
    def allowed_architectures(self) -> frozenset[str]:
        """The names in `architectures`."""
        return frozenset(_listed(self.architectures))

    @property
    def allowed_sources(self) -> tuple[str, ...]:
        """The addresses in `artifact_sources`."""
        return _listed(self.artifact_sources)

    @field_validator("version_ports")
    @classmethod
    def _check_ports(cls, value: str) -> str:
        _ports(value)
        return value

    @property
    def allowed_ports(self) -> range | None:
        """The ports in `version_ports`; None: any."""
        return _ports(self.version_ports)

    @property
    def threads(self) -> int:
        """CPU threads of one version's process: stable, control and test share the cores unless it is set."""
        cores = len(os.sched_getaffinity(0))
        return self.version_threads or min(self.version_cores, cores) or max(1, cores // 3)


def _listed(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _ports(text: str) -> range | None:
    if not text:
        return None
    first, last = map(int, text.split("-"))
    if not 1 <= first <= last <= _HIGHEST_PORT:
        raise ValueError(f"{text} is no range of ports: the first is 1 at least, and the last 65535 at most")
    return range(first, last + 1)
