"""Event-tree stories, correct summaries of them, and summaries with planted flaws, exactly gradable.

`generate` makes cases of 200 to 20,000 words from a small simulated world; plots, names and wordings of the test
split never occur in train. `load_faithfulness` reads real summaries with annotated passages in XSum's style.
"""

from __future__ import annotations

from kilter.testbeds.stories.annotations import load_faithfulness
from kilter.testbeds.stories.generate import TYPES, generate

__all__ = ["TYPES", "generate", "load_faithfulness"]
