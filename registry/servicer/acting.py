"""Who may act as a person does: without a look that it rests on, or against what the Registry would wait for."""

from services.common.guard import current_principal
from services.common.identity import Role, require_role


def check_acting(field: str, sequence: int, *, force: bool = False) -> None:
    """Refuses to let a process pass for a person: its role is to act by what it has looked at, and by nothing else.

    What a person has decided stands against what rests on a look (a pause, a monitor switched off), so that who names
    no look must be a person.

    Args:
        field: that names the look.
        sequence: of the look; 0: none.
        force: although too few Workers are ready.

    Raises:
        PermissionDeniedError: ROLE_MISSING.
    """
    if not sequence:
        require_role(current_principal(), Role.OPERATOR, f"act without {field}, the look that it rests on")
    if force:
        require_role(current_principal(), Role.OPERATOR, "use force, which is for people")
