"""Package a torch model as an artifact that workers run without its author's code, and verify artifacts.

    from crossfade.artifact import package
    package(model, example=X[:64], reference=X, labels=y, to="churn-1")

torch is needed, and imported, only where a model is packaged.
"""

from crossfade.architecture import Architecture
from crossfade.artifact.folder import AnsweredRows, Artifact, ArtifactError, read_golden, verify
from crossfade.artifact.packaging import PackageError, package
from crossfade.loop import Loop
from crossfade.manifest import NanPolicy, Task, Tolerance

__all__ = [
    "AnsweredRows",
    "Architecture",
    "Artifact",
    "ArtifactError",
    "Loop",
    "NanPolicy",
    "PackageError",
    "Task",
    "Tolerance",
    "package",
    "read_golden",
    "verify",
]
