"""The errors that a user sees: one line that names what was wrong, what was expected and where."""


class TriganError(Exception):
    """Base of all errors that are the user's to mend; the CLI prints its text alone, without a traceback."""

    #: Exit code of a command that ends with this error.
    exit_code = 2


class ConfigError(TriganError):
    """A setting is misspelt, of a wrong type, out of range, or makes no sense beside another one."""


class DataError(TriganError):
    """The data are missing, unreadable, or cannot give what the regime asks for."""


class ArtifactError(TriganError):
    """A stored file is missing, damaged, or cannot be written."""

    exit_code = 3


class SealedError(TriganError):
    """Something reached for test data or hidden labels that it may not see."""

    exit_code = 4


class DivergedError(TriganError):
    """A player's loss or weights stopped being finite."""

    exit_code = 5

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
