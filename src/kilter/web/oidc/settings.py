"""The provider, and who of those it knows may come in; one YAML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from kilter.errors import SettingsError
from kilter.feedback.accounts import Role
from kilter.files import read_text
from kilter.settings import Settings, build, parse_yaml

LOOPBACK = ("127.0.0.1", "::1", "localhost")


class Admission(Settings):
    """What somebody may do who comes for the first time."""

    role: Role = Field(description="owner, researcher, rater or auditor.")
    tasks: tuple[str, ...] | None = Field(None, description="Names of the tasks that a rater may judge; null: all.")


class OIDCSettings(Settings):
    """An OpenID provider, and whom of those it knows to let in."""

    issuer: str = Field(description="Address of the provider, as its discovery document names it.")
    client_id: str = Field(min_length=1, max_length=500, description="What the provider calls this site.")
    secret_env: str | None = Field(None, description="Environment variable that holds the client secret.")
    secret_file: str | None = Field(None, description="File that holds it, beside this one. Neither: PKCE alone.")
    name: str = Field("OpenID", min_length=1, max_length=60, description="What the button calls the provider.")
    identity: str = Field(
        "email", min_length=1, max_length=100, description="Claim that says who somebody is; email must be verified."
    )
    admit: dict[str, Role | Admission] = Field(
        min_length=1, description="Who may come: an identity, or @ and a domain, and their role. Nobody else."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not is_private(self.issuer):
            raise ValueError("the issuer must be reached by https; http is for a provider on this machine")
        if self.secret_env is not None and self.secret_file is not None:
            raise ValueError("secret_env and secret_file both say where the client secret is; keep one")
        odd = next((one for one in self.admit if not one.isascii() or one in ("", "@") or one.startswith("@*")), None)
        if odd is not None:
            raise ValueError(f"admit names {odd!r}; write ada@lab.example for one, or @lab.example for a domain")
        return self

    def admission(self, identity: str) -> Admission | None:
        """What an identity may do: by its own entry, else by its domain's; None lets nobody in."""
        if not identity.isascii():  # letters that only look alike must not become an entry's by being lowered
            return None
        entries = {key.lower(): value for key, value in self.admit.items()}
        known = identity.lower()
        _, at, domain = known.rpartition("@")
        found = entries.get(known) or (entries.get(f"@{domain}") if at else None)
        return Admission(role=found) if isinstance(found, str) else found


def is_private(address: str) -> bool:
    """Whether nobody on the way can read what is sent there: https, or this machine."""
    parts = urlsplit(address)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))


def read_oidc(file: Path) -> OIDCSettings:
    """Read the settings.

    Raises:
        SettingsError: the file is missing or not of this form, with every problem named.
    """
    if not file.is_file():
        raise SettingsError(f"There is no file {file} that describes a sign-in; docs/feedback.md has an example.")
    tree = parse_yaml(file)
    if not isinstance(tree, dict):
        raise SettingsError(f"{file} describes no sign-in: it needs issuer, client_id and admit.")
    return build(OIDCSettings, tree, file.name)


def read_secret(settings: OIDCSettings, folder: Path) -> str | None:
    """The client secret, which is in no settings, log or message; None for a client without one.

    Raises:
        SettingsError: the variable or file that should hold it is missing or empty.
    """
    if settings.secret_env is not None:
        secret = os.environ.get(settings.secret_env, "").strip()
        if not secret:
            raise SettingsError(f"The environment variable {settings.secret_env}, for the client secret, is not set.")
        return secret
    if settings.secret_file is not None:
        path = folder / settings.secret_file
        secret = read_text(path).strip() if path.is_file() else ""
        if not secret:
            raise SettingsError(f"There is no client secret in {path}, which secret_file names.")
        return secret
    return None
