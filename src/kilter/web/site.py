"""What every route needs: the desk, the people, and where the site stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kilter.feedback.accounts import People
from kilter.feedback.work import Desk
from kilter.web.figures import Figures
from kilter.web.limits import Limits


@dataclass(frozen=True)
class Site:
    """One workspace's pages.

    Attributes:
        public: where people reach it, if a reverse proxy stands before it, such as https://lab.example/kilter.
    """

    desk: Desk
    people: People
    public: str | None = None
    limits: Limits = field(default_factory=Limits)
    figures: Figures = field(default_factory=Figures)

    @property
    def prefix(self) -> str:
        """The path under which it stands, such as "/kilter"; empty at the top."""
        return urlsplit(self.public or "").path.rstrip("/")

    @property
    def secure(self) -> bool:
        """Whether people reach it by https, so that cookies go by https only."""
        return urlsplit(self.public or "").scheme == "https"

    def is_own(self, origin: str, host: str | None) -> bool:
        """Whether a page of `origin` is one of the site's, which was asked for as `host`."""
        return urlsplit(origin).netloc == (urlsplit(self.public).netloc if self.public else host)
