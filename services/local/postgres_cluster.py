"""The files of a PostgreSQL of one's own: who owns them, and how they are made."""

import os
import pwd
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

MAJOR: Final = "18"
"""PostgreSQL's release, whose files no other one reads."""
ROLE: Final = "crossfade"
"""The database's user."""


class PostgresError(Exception):
    """The server cannot be started; the message says what to do."""


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The operating system's user that the server runs as.

    Attributes:
        other: None: ours.
    """

    other: pwd.struct_passwd | None

    @classmethod
    def find(cls) -> Self:
        """Ours, unless that is root.

        Raises:
            PostgresError: it is, and there is no way to be another one.
        """
        if os.geteuid() != 0:
            return cls(None)
        if shutil.which("setpriv") is None:
            raise PostgresError("PostgreSQL does not run as root: start this as another user, or install setpriv")
        return cls(pwd.getpwnam("nobody"))

    @property
    def is_ours(self) -> bool:
        """Whether files that we make are the server's at once."""
        return self.other is None

    @property
    def command(self) -> list[str]:
        """What goes before a command so that it runs as this user."""
        if self.other is None:
            return []
        # PostgreSQL refuses to run as root. It keeps the right to pass folders that only root may enter, for the data
        # and the wheel may lie below one; and by that bit access(2), which initdb looks for itself with, heeds it, too.
        return [
            "setpriv",
            f"--reuid={self.other.pw_uid}",
            f"--regid={self.other.pw_gid}",
            "--clear-groups",
            "--securebits=+no_setuid_fixup",
            "--inh-caps=-all,+dac_override",
            "--ambient-caps=-all,+dac_override",
            "--",
        ]

    def give(self, path: Path) -> None:
        """Makes a file or a folder the server's."""
        if self.other is not None:
            os.chown(path, self.other.pw_uid, self.other.pw_gid)


def make_cluster(folder: Path, password_file: Path, programs: Path, user: ServerUser) -> None:
    """Makes the folder `data` with its first database and its password, unless it is there.

    Args:
        folder: where.
        password_file: gets a new password, in libpq's form.
        programs: folder of initdb.
        user: the server's.

    Raises:
        PostgresError: it belongs to another release of PostgreSQL, or cannot be made.
    """
    data = folder / "data"
    version = data / "PG_VERSION"
    if version.exists():
        found = version.read_text().strip()
        if found != MAJOR:
            raise PostgresError(
                f"{folder} was written by PostgreSQL {found} and this release has {MAJOR}: "
                "use the release that wrote it, or choose another folder"
            )
        return
    # Made beside its place and renamed, so that a half-made cluster is never taken for one.
    shutil.rmtree(data, ignore_errors=True)
    making = folder / "data.making"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700)
    user.give(making)
    password = secrets.token_urlsafe(32)
    password_file.unlink(missing_ok=True)
    with os.fdopen(os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"*:*:*:*:{password}\n")
    # In the folder, where the next start finds what is left of this one if it is killed now.
    chosen = folder / "password.making"
    chosen.unlink(missing_ok=True)
    with os.fdopen(os.open(chosen, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as given:
        given.write(password)
    try:
        user.give(chosen)
        done = subprocess.run(
            [
                *user.command,
                programs / "initdb",
                f"--pgdata={making}",
                f"--username={ROLE}",
                f"--pwfile={chosen}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
            ],
            check=False,
            capture_output=True,
            # It names the folder, whose name may be beyond what the terminal's encoding has.
            encoding="utf-8",
            errors="replace",
            env=environment(),
            cwd="/",
        )
    finally:
        chosen.unlink()
    if done.returncode != 0:
        raise PostgresError(f"PostgreSQL could not make its files in {folder}: {done.stderr.strip()}")
    making.rename(data)


def environment() -> dict[str, str]:
    """Ours without what would make PostgreSQL's programs do something else."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
