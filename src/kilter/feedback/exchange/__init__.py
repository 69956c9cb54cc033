"""In and out: items and old answers from files of other tools, answers of a task as training data.

What is taken in keeps who said it, under a name that tells nothing of them, and counts only where that is asked for.
What goes out says of every row on which judgments it rests, and is a data set on the record.
"""

from kilter.feedback.exchange.export import Exported, export
from kilter.feedback.exchange.fields import Columns
from kilter.feedback.exchange.found import Found, FoundData, OldAnswer
from kilter.feedback.exchange.intake import Intake, take_in
from kilter.feedback.exchange.layouts import Choices
from kilter.feedback.exchange.sources import read_source
from kilter.feedback.exchange.verdicts import Aggregator, Verdict, verdicts, ways

__all__ = [
    "Aggregator",
    "Choices",
    "Columns",
    "Exported",
    "Found",
    "FoundData",
    "Intake",
    "OldAnswer",
    "Verdict",
    "export",
    "read_source",
    "take_in",
    "verdicts",
    "ways",
]
