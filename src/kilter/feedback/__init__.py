"""Feedback from people: what they wrote, preferred and ranked, read from wherever it was kept.

Files, `datasets` folders and hub data sets become preferences, demonstrations or texts. What cannot be used
is skipped and counted with its reason; what is wrong stops the reader with the line it is on.
"""

from kilter.feedback.demonstrations import Demonstration, DemonstrationData, read_demonstrations
from kilter.feedback.marks import Mark, MarkData, read_marks
from kilter.feedback.messages import Message
from kilter.feedback.preferences import Preference, PreferenceData, read_preferences
from kilter.feedback.prompts import PromptData, read_prompts
from kilter.feedback.recording import RecordedPreferences, record_preferences
from kilter.feedback.split import split
from kilter.feedback.step_labels import StepLabelData, StepLabels, read_step_labels
from kilter.feedback.texts import TextData, read_texts

__all__ = [
    "Demonstration",
    "DemonstrationData",
    "Mark",
    "MarkData",
    "Message",
    "Preference",
    "PreferenceData",
    "PromptData",
    "RecordedPreferences",
    "StepLabelData",
    "StepLabels",
    "TextData",
    "read_demonstrations",
    "read_marks",
    "read_preferences",
    "read_prompts",
    "read_step_labels",
    "read_texts",
    "record_preferences",
    "split",
]
