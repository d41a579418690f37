"""What a signature, a traffic plan and a policy must look like."""

from typing import Final

from crossfade.common.v1 import model_pb2, policy_pb2
from crossfade.name_checks import LABEL_LIMIT, is_label
from crossfade.registry.v1 import service_pb2
from services.common.errors import InvalidArgumentError
from services.common.policy import messages
from services.common.policy.defaults import check_together, complete_plan, complete_policy
from services.common.policy.records import Meaning
from services.common.policy.sizes import CLASSES_BYTES, size_violations
from services.common.policy.timing import check_times
from services.common.text import shown

_DATATYPES: Final = frozenset(
    {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"}
    | {"FP16", "FP32", "FP64", "BF16", "BYTES"}
)
_MOST_FEATURES: Final = 64
SIGNATURE_BYTES: Final = CLASSES_BYTES
"""Of a signature, serialized: a lane's routes have one for each version that Workers hold, and go in one message."""
_PROPORTION_ERROR: Final = 1e-3
"""As the manifest allows: its proportions are rounded."""
NOT_KNOWN: Final = Meaning()
"""Of a version that has not been read yet."""
_TASKS: Final = ("classification", "regression", "other")


def refuse(field: str, message: str) -> InvalidArgumentError:
    """The error of a field that is wrong."""
    return InvalidArgumentError("FIELD_INVALID", f"{field} {message}", field=field)


def check_signature(field: str, signature: model_pb2.Signature) -> None:
    """Checks what callers may send and get.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    octets = signature.ByteSize()
    if octets > SIGNATURE_BYTES:
        raise refuse(
            field,
            f"has {octets:,} bytes; at most {SIGNATURE_BYTES:,} are taken, for every Router and Worker is sent it. "
            "Package the artifact with shorter names of its classes and tensors, or with fewer of them",
        )
    _tensors(f"{field}.inputs", list(signature.inputs))
    _tensors(f"{field}.outputs", list(signature.outputs))
    if signature.task not in _TASKS:
        raise refuse(f"{field}.task", f"is {signature.task!r}; use {', '.join(_TASKS)}")
    classes = list(signature.classes)
    if classes and signature.task != "classification":
        raise refuse(f"{field}.classes", f"are for a classification, and the task is {signature.task}")
    if len(set(classes)) != len(classes):
        raise refuse(f"{field}.classes", "must be different")
    for name in classes:
        _check_label(f"{field}.classes", name)
    if signature.positive_class and signature.positive_class not in classes:
        raise refuse(f"{field}.positive_class", f"{signature.positive_class!r} is not among the classes")
    for name, named, specs in (("parts", signature.parts, "outputs"), ("state", signature.state, "inputs")):
        known = {spec.name for spec in getattr(signature, specs)}
        if len(set(named)) != len(named) or not known.issuperset(named):
            raise refuse(f"{field}.{name}", f"must be different names of {specs}")
    if signature.state and not signature.parts:
        raise refuse(f"{field}.state", "is for a version that answers in parts, and parts names no output")


def check_profile(field: str, profile: model_pb2.ReferenceProfile, classes: int) -> None:
    """Checks what the inputs looked like in training.

    Args:
        field: its path.
        profile: the profile.
        classes: how many classes the signature has.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    if not profile.profile_id:
        raise refuse(f"{field}.profile_id", "is required: the digest under which Workers count")
    _check_label(f"{field}.profile_id", profile.profile_id)
    if profile.rows <= 0:
        raise refuse(f"{field}.rows", f"is {profile.rows}; a profile is made of at least one row")
    if len(profile.features) > _MOST_FEATURES:
        raise refuse(f"{field}.features", f"are {len(profile.features)}; at most {_MOST_FEATURES} are watched")
    seen = set()
    for index, feature in enumerate(profile.features):
        where = f"{field}.features[{index}]"
        if not feature.feature or feature.feature in seen:
            raise refuse(f"{where}.feature", f"{feature.feature!r} is empty or there twice")
        _check_label(f"{where}.feature", feature.feature)
        if not feature.kind.isprintable():
            raise refuse(f"{where}.kind", f"is {shown(feature.kind)}; use numeric or categorical")
        seen.add(feature.feature)
        _proportions(f"{where}.proportions", list(feature.proportions))
    if profile.class_proportions:
        if len(profile.class_proportions) != classes:
            raise refuse(f"{field}.class_proportions", f"are {len(profile.class_proportions)} for {classes} classes")
        _proportions(f"{field}.class_proportions", list(profile.class_proportions))


def _check_label(field: str, name: str) -> None:
    """As the manifest allows: what is shown in terminals says nothing to them."""
    if not is_label(name):
        raise refuse(field, f"has {shown(name)}; a name has 1 to {LABEL_LIMIT} printable characters")


def _proportions(field: str, proportions: list[float]) -> None:
    # A comparison with NaN is false, so that this refuses it, too.
    if not (all(0 <= one <= 1 for one in proportions) and abs(sum(proportions) - 1) <= _PROPORTION_ERROR):
        raise refuse(field, "are not proportions: each is 0 to 1, and together they are 1")


def _tensors(field: str, specs: list[model_pb2.TensorSpec]) -> None:
    if not specs:
        raise refuse(field, "is empty; name at least one tensor")
    seen = set()
    for index, spec in enumerate(specs):
        where = f"{field}[{index}]"
        if not spec.name or spec.name in seen:
            raise refuse(f"{where}.name", f"{shown(spec.name)} is empty or there twice")
        _check_label(f"{where}.name", spec.name)
        seen.add(spec.name)
        if spec.datatype not in _DATATYPES:
            raise refuse(f"{where}.datatype", f"is {spec.datatype!r}; use one of {', '.join(sorted(_DATATYPES))}")
        shape = list(spec.shape)
        if not shape or shape[0] != -1 or any(size < -1 for size in shape):
            raise refuse(f"{where}.shape", f"is {shape}; the first dimension is the batch, -1, and none is below -1")


def check_spec(field: str, spec: service_pb2.RolloutSpec, meaning: Meaning = NOT_KNOWN) -> None:
    """Checks how a rollout is to be done, with every default filled in: what passes here the Evaluator can judge by.

    Args:
        field: its path.
        spec: how it is to be done.
        meaning: of the version's answers.

    Raises:
        InvalidArgumentError: FIELD_INVALID.
    """
    objective = messages.objective(spec.objective)
    if objective is None:
        raise refuse(f"{field}.objective", "is unknown; use NON_INFERIOR or SUPERIOR")
    if spec.assignment not in policy_pb2.Assignment.values():
        raise refuse(f"{field}.assignment", "is unknown; use REQUEST or KEY")
    for violation in size_violations(spec.policy, spec.plan):
        raise refuse(f"{field}.{violation.field}", violation.description)
    for index, step in enumerate(spec.plan.steps):
        if step.mode not in policy_pb2.Mode.values():
            raise refuse(f"{field}.plan.steps[{index}].mode", "is unknown; use LIVE or SHADOW")
    if spec.policy.period_end not in policy_pb2.PeriodEnd.values():
        raise refuse(f"{field}.policy.period_end", "is unknown; use INCONCLUSIVE, HOLD or ROLLBACK")
    plan, wrong_plan = complete_plan(messages.plan_draft(spec.plan), objective)
    sticky = spec.assignment == policy_pb2.ASSIGNMENT_KEY
    policy, wrong_policy = complete_policy(messages.policy_draft(spec.policy), meaning, objective, sticky=sticky)
    wrong = (*wrong_plan, *wrong_policy, *check_together(policy, plan, sticky=sticky))
    for violation in wrong or check_times(policy, plan):
        raise refuse(f"{field}.{violation.field}", f"is wrong: {violation.description}")
