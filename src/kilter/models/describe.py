"""What can be said of a model from its files alone, without loading its weights."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilter.errors import ModelError
from kilter.models.catalogue import PROVENANCE, file_sha256


@dataclass(frozen=True)
class ModelDescription:
    """A model folder in words; what its files do not say is None."""

    folder: Path
    kind: str  # "model" or "adapter"
    architecture: str | None
    parameters: int
    dtype: str
    layers: int | None
    hidden_size: int | None
    vocabulary: int | None
    context_length: int | None
    tied_embeddings: bool | None
    chat_template: str | None
    base: str | None  # of an adapter: the model it belongs to
    rank: int | None  # of an adapter: its LoRA rank
    license: str | None
    bytes: int
    provenance: dict[str, Any] = field(default_factory=dict)


def describe(folder: Path) -> ModelDescription:
    """Read a model folder's small files and weight headers; raise `ModelError` where they are damaged."""
    config = read_json(folder / "config.json")
    adapter = read_json(folder / "adapter_config.json")
    provenance = read_json(folder / PROVENANCE)
    shapes = weight_shapes(folder)
    architectures = config.get("architectures") or [None]
    return ModelDescription(
        folder=folder,
        kind="adapter" if adapter else "model",
        architecture=architectures[0],
        parameters=sum(math.prod(shape) for shape, _ in shapes.values()),
        dtype=", ".join(sorted({dtype for _, dtype in shapes.values()})),
        layers=config.get("num_hidden_layers"),
        hidden_size=config.get("hidden_size"),
        vocabulary=config.get("vocab_size"),
        context_length=config.get("max_position_embeddings"),
        tied_embeddings=config.get("tie_word_embeddings"),
        chat_template=_chat_template(folder),
        base=adapter.get("base_model_name_or_path"),
        rank=adapter.get("r"),
        license=provenance.get("license"),
        bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
        provenance=provenance,
    )


def weight_shapes(folder: Path) -> dict[str, tuple[tuple[int, ...], str]]:
    """Name -> (shape, dtype) of every weight, from the headers of the folder's safetensors files."""
    shapes: dict[str, tuple[tuple[int, ...], str]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        for name, tensor in _header(path).items():
            if name != "__metadata__":
                shapes[name] = (tuple(tensor["shape"]), str(tensor["dtype"]))
    return shapes


def altered_files(folder: Path) -> list[str] | None:
    """Files whose SHA-256 is not what `kilter.json` says; None where there is no `kilter.json` to compare."""
    files = read_json(folder / PROVENANCE).get("files")
    if files is None:
        return None
    return [
        name
        for name, file in files.items()
        if not (folder / name).is_file() or file_sha256(folder / name) != file["sha256"]
    ]


def _header(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > path.stat().st_size:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
            return header
    except (struct.error, ValueError) as error:
        raise ModelError(f"{path} is not a whole safetensors file ({error}); make or fetch it again.") from error


def _chat_template(folder: Path) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = read_json(folder / "tokenizer_config.json").get("chat_template")
    return template if isinstance(template, str) else None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a model's JSON file; an empty one where there is no such file.

    Raises:
        ModelError: it is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error}); make or fetch the model again.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object; make or fetch the model again.")
    return content
