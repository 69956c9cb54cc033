"""Sign-in with an account elsewhere, by OpenID Connect: authorization code, PKCE, state and nonce.

Nobody comes in whom the settings do not name, and nothing the provider says is believed before its signature is.
"""

from kilter.web.oidc.flows import Flow, Flows
from kilter.web.oidc.provider import Identity, Provider
from kilter.web.oidc.settings import Admission, OIDCSettings, read_oidc, read_secret

__all__ = ["Admission", "Flow", "Flows", "Identity", "OIDCSettings", "Provider", "read_oidc", "read_secret"]
