"""Running Python programs that nobody has read: in a child without network, home, environment or much of anything.

`run` runs one program, `run_many` many in one child, each forked; both say in their results which protection they had.
Where the system offers none that holds, code that is not our own is refused.
"""

from __future__ import annotations

from kilter.sandbox.limits import Limits
from kilter.sandbox.run import Program, Protection, Result, Status, protection, run, run_many

__all__ = ["Limits", "Program", "Protection", "Result", "Status", "protection", "run", "run_many"]
