"""What can go wrong in a way that the user can mend, and the exit code of each."""


class KilterError(Exception):
    """A problem with one clear paragraph: what is wrong, where, and how to mend it.

    The command line prints the message without a traceback and exits with `exit_code`.
    """

    exit_code = 1


class SettingsError(KilterError):
    """A setting is unknown, unused, of the wrong type or contradicts another one."""

    exit_code = 2


class DataError(KilterError):
    """A file cannot be read as what it should be, or holds nothing to learn from."""

    exit_code = 3


class ModelError(KilterError):
    """A model is missing, damaged, or does not fit what is asked of it."""

    exit_code = 4


class TrainingStopped(KilterError):
    """A run stopped itself: it diverged, collapsed, or learned nothing from a constant reward."""

    exit_code = 5


class StorageError(KilterError):
    """The disk or the database is full, not writable or not reached; what was written before is still whole."""

    exit_code = 6


class RecordError(KilterError):
    """The record is damaged, or does not hold what was asked for."""

    exit_code = 7


class ServerError(KilterError):
    """A server did not answer, or answered with something that cannot be used; `status` is its HTTP status, if any."""

    exit_code = 8

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class WorkerError(KilterError):
    """Other processes cannot do their part: no cluster, a worker lost every time, nobody at torchrun's address."""

    exit_code = 9


class SweepError(KilterError):
    """Some combinations of a sweep failed; the others are done."""

    exit_code = 10


class SandboxError(KilterError):
    """Code that nobody has read cannot be run safely on this system, or the sandbox itself failed."""

    exit_code = 11
