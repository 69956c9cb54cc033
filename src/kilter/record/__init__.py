"""The record: what happened, kept for ever.

An append-only, content-addressed store of artifacts, judgments, exposures, runs and evidence, under a
Merkle log (RFC 6962), so that an auditor can verify the whole or one row, offline.
"""

from __future__ import annotations

from kilter.record.canonical import canonical, sha256
from kilter.record.environment import code_version, environment
from kilter.record.lineage import JudgeSummary, Lineage, Shaping
from kilter.record.log import Consistency, Inclusion
from kilter.record.merkle import verify_consistency, verify_inclusion
from kilter.record.rows import Artifact, Evidence, Exposure, Judgment, Principal, Row, Run, as_dict
from kilter.record.store import Addition, DetachedRecord, NewArtifact, Record, Transaction
from kilter.record.verification import Damage, Verification
from kilter.record.workspace import Workspace

__all__ = [
    "Addition",
    "Artifact",
    "Consistency",
    "Damage",
    "DetachedRecord",
    "Evidence",
    "Exposure",
    "Inclusion",
    "JudgeSummary",
    "Judgment",
    "Lineage",
    "NewArtifact",
    "Principal",
    "Record",
    "Row",
    "Run",
    "Shaping",
    "Transaction",
    "Verification",
    "Workspace",
    "as_dict",
    "canonical",
    "code_version",
    "environment",
    "sha256",
    "verify_consistency",
    "verify_inclusion",
]
