"""The routes, one file per kind of page."""

from kilter.web.routes import disagreements, entry, home, judging, me, people, quality, studies, tasks

ROUTERS = (
    entry.router,
    home.router,
    judging.router,
    me.router,
    me.api,
    people.router,
    tasks.router,
    quality.router,
    disagreements.router,
    studies.router,
    studies.api,
)

__all__ = ["ROUTERS"]
