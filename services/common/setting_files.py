"""Files that settings name: when one cannot be used, the message names the setting and the file."""

from pathlib import Path

from services.common.prediction_token import TokenKeys


class SettingFileError(ValueError):
    """A file that a setting names cannot be used.

    Args:
        setting: the variable.
        file: what it names.
        reason: what is wrong.
    """

    def __init__(self, setting: str, file: Path | str, reason: str) -> None:
        super().__init__(f"{setting}: {file} {reason}")


def unreadable(setting: str, file: Path | str, error: OSError) -> SettingFileError:
    """What to raise of a file that the system does not hand out."""
    return SettingFileError(setting, file, f"cannot be read ({error.strerror or error})")


def read_text(setting: str, file: Path) -> str:
    """What a file holds.

    Raises:
        SettingFileError: it cannot be read, or is no text.
    """
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise unreadable(setting, file, error) from error
    except UnicodeDecodeError as error:
        raise SettingFileError(setting, file, "is no text in UTF-8") from error


def read_token_keys(file: Path) -> TokenKeys:
    """The keys in the file of CROSSFADE_TOKEN_KEYS.

    Raises:
        SettingFileError: it cannot be read, or holds something else.
    """
    setting = "CROSSFADE_TOKEN_KEYS"
    try:
        return TokenKeys.parse(read_text(setting, file))
    except SettingFileError:
        raise
    except ValueError as error:
        raise SettingFileError(setting, f"{file}:", str(error)) from error
