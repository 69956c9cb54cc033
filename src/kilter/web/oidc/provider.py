"""An OpenID provider: where it is asked, and who it says has come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ConfigDict, ValidationError

from kilter.errors import ServerError, SettingsError
from kilter.web.oidc.flows import Flow, Flows
from kilter.web.oidc.settings import Admission, OIDCSettings, is_private
from kilter.web.security import Refused

if TYPE_CHECKING:
    from kilter.web.oidc.id_token import KeyRing

DISCOVERY = "/.well-known/openid-configuration"
SCOPE = "openid email profile"
LONGEST_NAME = 320

Told = TypeVar("Told", bound=BaseModel)


class Document(BaseModel):
    """What a provider says of itself (OpenID Connect Discovery 1.0); what is not needed here is left out."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    token_endpoint_auth_methods_supported: list[str] = ["client_secret_basic"]
    authorization_response_iss_parameter_supported: bool = False


class Tokens(BaseModel):
    """What the token endpoint answers."""

    id_token: str
    access_token: str = ""


class _Anything(BaseModel):
    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class Identity:
    """Who has come.

    Attributes:
        subject: issuer and the provider's own name for them, which never becomes somebody else's.
        name: what the identity claim says, such as an e-mail address.
        admission: what they may do when they come for the first time.
    """

    subject: str
    name: str
    admission: Admission


class Provider:
    """A provider that was found; `flows` are the sign-ins on their way there."""

    def __init__(
        self, settings: OIDCSettings, secret: str | None, document: Document, keys: KeyRing, client: httpx2.Client
    ) -> None:
        self.settings = settings
        self.flows = Flows()
        self._secret, self._document, self._keys, self._client = secret, document, keys, client

    @staticmethod
    def discover(settings: OIDCSettings, secret: str | None) -> Provider:
        """Ask a provider what it is and for its keys.

        Raises:
            ServerError: it does not answer, or not as an OpenID provider of this name.
            SettingsError: the library that reads signatures is not installed.
        """
        try:
            from kilter.web.oidc.id_token import KeyRing
        except ImportError as error:
            raise SettingsError(
                f"Sign-in by OpenID Connect needs a library that is not installed ({error.name}). Install Kilter with "
                "its extra: pip install 'kilter[oidc]'."
            ) from error
        client = httpx2.Client(timeout=10, follow_redirects=False)  # code and secret are for one address alone
        document = _asked(client, "GET", settings.issuer.rstrip("/") + DISCOVERY, Document)
        if document.issuer != settings.issuer:
            raise ServerError(f"{settings.issuer} calls itself {document.issuer}; write that as the issuer.")
        public = [document.authorization_endpoint, document.token_endpoint, document.jwks_uri]
        for address in [*public, document.userinfo_endpoint or document.jwks_uri]:
            if not is_private(address):
                raise ServerError(f"{settings.issuer} names {address}, which is not reached by https.")
        keys = KeyRing(lambda: _asked(client, "GET", document.jwks_uri, _Anything).model_dump())
        return Provider(settings, secret, document, keys, client)

    def address(self, flow: Flow) -> str:
        """Where a browser goes to sign in."""
        asked = {
            "response_type": "code", "client_id": self.settings.client_id, "scope": SCOPE, "state": flow.state,
            "redirect_uri": flow.redirect, "nonce": flow.nonce, "code_challenge": flow.challenge,
            "code_challenge_method": "S256",
        }  # fmt: skip
        return str(httpx2.URL(self._document.authorization_endpoint).copy_merge_params(asked))

    def identify(self, flow: Flow, code: str, issuer: str | None) -> Identity:
        """Who has come back with this code; `issuer` is what the answer says it is from (RFC 9207).

        Raises:
            Refused: the provider does not answer, or not to be trusted (502); it refuses, or the person may not come in
                (403).
        """
        told = self._document.authorization_response_iss_parameter_supported
        if issuer != self.settings.issuer and (told or issuer is not None):
            raise Refused(400, "This answer came from another provider than was asked; sign in again.")
        try:
            tokens = self._tokens(flow, code)
            claims = self._claims(flow, tokens)
        except ServerError as error:
            status = 403 if 400 <= (error.status or 0) < 500 else 502  # a code that it does not take is no fault
            raise Refused(status, f"{self.settings.name} did not sign you in: {error}") from error
        name = self._name(claims)
        admission = self.settings.admission(name)
        if admission is None:
            raise Refused(403, f"{name} may not come in here. Ask whoever runs this workspace to let you in.")
        return Identity(f"{self.settings.issuer} {claims['sub']}", name, admission)

    def _tokens(self, flow: Flow, code: str) -> Tokens:
        """Exchange the code; the secret goes where the provider wants it."""
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": flow.redirect,
            "code_verifier": flow.verifier, "client_id": self.settings.client_id,
        }  # fmt: skip
        sent: dict[str, Any] = {"data": form}
        if self._secret is not None:
            if "client_secret_basic" in self._document.token_endpoint_auth_methods_supported:
                sent["auth"] = (quote(self.settings.client_id, safe=""), quote(self._secret, safe=""))
            else:
                form["client_secret"] = self._secret
        return _asked(self._client, "POST", self._document.token_endpoint, Tokens, **sent)

    def _claims(self, flow: Flow, tokens: Tokens) -> dict[str, Any]:
        """The ID token's claims, or those of the userinfo endpoint where the identity is told there only."""
        from kilter.web.oidc.id_token import Untrusted

        try:
            claims = self._keys.claims(
                tokens.id_token, issuer=self.settings.issuer, client=self.settings.client_id, nonce=flow.nonce
            )
        except Untrusted as error:
            raise ServerError(f"its ID token is not to be trusted ({error})") from error
        if self.settings.identity in claims or self._document.userinfo_endpoint is None or not tokens.access_token:
            return claims
        headers = {"Authorization": f"Bearer {tokens.access_token}"}
        more = _asked(self._client, "GET", self._document.userinfo_endpoint, _Anything, headers=headers).model_dump()
        if more.get("sub") != claims["sub"]:
            raise ServerError("its user information is of somebody else")
        return more  # whole: an address is verified by who tells it

    def _name(self, claims: dict[str, Any]) -> str:
        claim = self.settings.identity
        name = claims.get(claim)
        if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
            raise Refused(403, f"{self.settings.name} does not say who you are: there is no usable claim '{claim}'.")
        if claim == "email" and claims.get("email_verified") not in (True, "true"):
            raise Refused(403, f"{self.settings.name} has not verified that {name} is your address; do that there.")
        return name.strip()


def _asked(client: httpx2.Client, method: str, address: str, reply: type[Told], **sent: Any) -> Told:
    """What an endpoint answers; raises `ServerError`, whose message holds neither what was sent nor what came."""
    try:
        answer = client.request(method, address, **sent)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise ServerError(f"{address} does not answer ({type(error).__name__})") from error
    if answer.status_code != 200:
        raise ServerError(f"{address} refused with status {answer.status_code}{_reason(answer)}", answer.status_code)
    try:
        return reply.model_validate_json(answer.content)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise ServerError(
            f"{address} answered in a form that no provider has{f': {field}' if field else ''}"
        ) from error


def _reason(answer: httpx2.Response) -> str:
    """The error's short name (RFC 6749), if it is one."""
    try:
        told = answer.json().get("error", "")
    except (ValueError, AttributeError):
        return ""
    return f" ({told})" if isinstance(told, str) and told.isascii() and told.isidentifier() else ""
