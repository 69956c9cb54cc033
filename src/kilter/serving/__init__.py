"""Models behind an address: a small server that speaks the protocol of OpenAI and vLLM.

`create_app(ServedModel(lm, name))` is the application, `running(app)` serves it from a thread; `kilter serve` does so
from the command line.
"""

from kilter.serving.app import create_app
from kilter.serving.running import running
from kilter.serving.served_model import ServedModel

__all__ = ["ServedModel", "create_app", "running"]
