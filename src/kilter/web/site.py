"""What every route needs: the desk, the people, and where the site stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kilter.feedback.accounts import People
from kilter.feedback.work import Desk
from kilter.web.figures import Figures
from kilter.web.limits import Limits

if TYPE_CHECKING:
    from kilter.web.oidc import Provider


@dataclass(frozen=True)
class Site:
    """One workspace's pages.

    Attributes:
        public: where people reach it, if a reverse proxy stands before it, such as https://lab.example/kilter.
        oidc: where people may sign in with an account that they have already.
        runs: the workspace's folder of runs, where studies lie; None where the pages are not to show them.
    """

    desk: Desk
    people: People
    public: str | None = None
    limits: Limits = field(default_factory=Limits)
    figures: Figures = field(default_factory=Figures)
    oidc: Provider | None = None
    runs: Path | None = None

    @property
    def prefix(self) -> str:
        """The path under which it stands, such as "/kilter"; empty at the top."""
        return urlsplit(self.public or "").path.rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether people reach it by https, so that cookies go by https only."""
        return urlsplit(self.public or "").scheme == "https"

    def address(self, base: str) -> str:
        """Where people reach it, without a slash at the end; `base` is what the request was sent to."""
        return (self.public or base).rstrip("/")

    def is_own(self, origin: str, host: str | None) -> bool:
        """Whether a page of `origin` is one of the site's, which was asked for as `host`."""
        return urlsplit(origin).netloc == (urlsplit(self.public).netloc if self.public else host)
