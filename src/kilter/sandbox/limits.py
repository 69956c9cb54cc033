"""What a program may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

from kilter.errors import SettingsError


@dataclass(frozen=True)
class Limits:
    """Upper bounds for each program.

    Attributes:
        seconds: time on the wall, after which the program and all that it started are killed.
        cpu_seconds: processor time.
        memory_mb: address space, in MiB.
        file_mb: size of what it may write into its temporary folder, in MiB.
        output_bytes: how much it may print on each of stdout and stderr; it is stopped there.
        processes: how many processes and threads it may have, itself included.
        open_files: how many files it may have open.
    """

    seconds: float = 5.0
    cpu_seconds: int = 5
    memory_mb: int = 512
    file_mb: int = 8
    output_bytes: int = 64_000
    processes: int = 1
    open_files: int = 32

    def __post_init__(self) -> None:
        """Refuse limits under which nothing can run."""
        for field in fields(self):
            if getattr(self, field.name) <= 0:
                raise SettingsError(f"{field.name} of the sandbox is {getattr(self, field.name)}; set more than 0.")
        if self.memory_mb < 64:
            raise SettingsError(f"memory_mb of the sandbox is {self.memory_mb}; Python itself needs 64 or more.")
