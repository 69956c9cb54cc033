"""An OpenID provider in this process: real keys, real signatures, and answers that a test may spoil."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote, urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT, SECRET = "kilter", "a secret: with/odd+letters%"


class FakeProvider:
    """Whoever comes to it is signed in as `claims` say.

    Attributes:
        change: spoils the claims of an ID token.
        sign: writes them as a token.
        method: how the client must authenticate; "none" for one without a secret.
        refused: what it found wrong in requests.
        in_token: whether the ID token says the e-mail address; else only the userinfo endpoint does.
    """

    def __init__(self) -> None:
        self.issuer = ""
        self.key: RSAKey | ECKey | OKPKey = RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})
        self.algorithm = "RS256"
        self.claims: dict[str, Any] = {"sub": "248289", "email": "ada@lab.example", "email_verified": True}
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
        self.sign: Callable[[dict[str, Any]], str] = self.signed
        self.document: dict[str, Any] = {}
        self.method = "client_secret_basic"
        self.in_token = True
        self.user_info: dict[str, Any] | None = None
        self.refused: list[str] = []
        self.asked_for_keys = 0
        self._codes: dict[str, dict[str, str]] = {}

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._discovery),
                Route("/keys", self._keys),
                Route("/authorize", self._authorize),
                Route("/token", self._token, methods=["POST"]),
                Route("/me", self._me),
            ]
        )

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": self.algorithm, "kid": self.key.kid}, claims, self.key, [self.algorithm])

    async def _discovery(self, request: Request) -> Response:
        told = {
            "issuer": self.issuer, "authorization_endpoint": f"{self.issuer}/authorize?tenant=lab",
            "token_endpoint": f"{self.issuer}/token", "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/me", "token_endpoint_auth_methods_supported": [self.method],
        }  # fmt: skip
        return JSONResponse({**told, **self.document})

    async def _keys(self, request: Request) -> Response:
        self.asked_for_keys += 1
        unknown = {"kty": "POSTQUANTUM", "kid": "future"}
        return JSONResponse({"keys": [unknown, self.key.as_dict(private=False)]})

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        wanted = {
            "tenant": "lab", "response_type": "code", "client_id": CLIENT, "code_challenge_method": "S256",
            "scope": "openid email profile",
        }  # fmt: skip
        assert {key: asked.get(key) for key in wanted} == wanted
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(back)}", 303)

    async def _token(self, request: Request) -> Response:
        sent = {key: str(value) for key, value in (await request.form()).items()}
        asked = self._codes.pop(sent.get("code", ""), None)
        problem = self._problem(request, sent, asked)
        if problem or asked is None:
            self.refused.append(problem or "")
            return JSONResponse({"error": "invalid_grant", "error_description": str(sent)}, 400)
        own = self.claims if self.in_token else {"sub": self.claims["sub"]}
        now = int(time.time())
        claims = {**own, "iss": self.issuer, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        token = self.sign(self.change(claims))
        return JSONResponse({"id_token": token, "access_token": "for-me", "token_type": "Bearer"})

    def _problem(self, request: Request, sent: dict[str, str], asked: dict[str, str] | None) -> str | None:
        if asked is None:
            return "no such code"
        if sent.get("redirect_uri") != asked["redirect_uri"] or sent.get("grant_type") != "authorization_code":
            return "another redirect address or grant"
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != asked["code_challenge"]:
            return "the verifier is not the one of the challenge"
        given = request.headers.get("authorization", "")
        name, _, password = base64.b64decode(given.removeprefix("Basic ")).decode().partition(":")
        match self.method:
            case "client_secret_basic":
                right = (unquote(name), unquote(password)) == (CLIENT, SECRET)
            case "client_secret_post":
                right = (sent.get("client_id"), sent.get("client_secret"), given) == (CLIENT, SECRET, "")
            case _:
                right = sent.get("client_id") == CLIENT and not given and "client_secret" not in sent
        return None if right else "the client is not who it says"

    async def _me(self, request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer for-me":
            return JSONResponse({"error": "invalid_token"}, 401)
        return JSONResponse(self.claims if self.user_info is None else self.user_info)
