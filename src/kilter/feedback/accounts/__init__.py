"""Accounts: who may judge, research, own or audit a workspace; names stay apart from what they judged."""

from kilter.feedback.accounts.people import ROLES, People, Person, Role, Session

__all__ = ["ROLES", "People", "Person", "Role", "Session"]
