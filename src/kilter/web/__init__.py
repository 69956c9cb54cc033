"""The pages where people judge, and where researchers see what the judgments are worth.

Plain HTML from the server, small ES modules, nothing to build. What a judge must not see never leaves the server.
"""

from kilter.web.app import create_app
from kilter.web.site import Site

__all__ = ["Site", "create_app"]
