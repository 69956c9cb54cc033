"""The routes, one file per kind of page."""

from kilter.web.routes import entry, home, judging, me, people, tasks

ROUTERS = (entry.router, home.router, judging.router, me.router, people.router, tasks.router)

__all__ = ["ROUTERS"]
