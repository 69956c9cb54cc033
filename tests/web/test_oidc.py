"""Coming in with an account elsewhere: who is named may, once, from where they began; nobody else, by no token."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from conftest import PASSWORD, Office, key_of
from fake_provider import CLIENT, SECRET, FakeProvider
from fastapi.testclient import TestClient
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from sqlalchemy import select

from kilter.cli.main import execute
from kilter.errors import ServerError, SettingsError
from kilter.feedback.work.tables import people
from kilter.serving import running
from kilter.web import create_app
from kilter.web.oidc import Flows, OIDCSettings, Provider, read_oidc, read_secret
from kilter.web.oidc.id_token import FRESH, KeyRing, Untrusted

ADMIT: dict[str, Any] = {"ada@lab.example": "researcher", "@lab.example": {"role": "rater", "tasks": ["helpful"]}}
Change = Callable[[dict[str, Any]], dict[str, Any]]


@pytest.fixture
def provider() -> Iterator[FakeProvider]:
    fake = FakeProvider()
    with running(fake.app()) as address:
        fake.issuer = address
        yield fake


def settings_of(provider: FakeProvider, **more: Any) -> OIDCSettings:
    return OIDCSettings(issuer=provider.issuer, client_id=CLIENT, name="Lab", admit=ADMIT, **more)


def with_provider(office: Office, provider: FakeProvider, public: str | None = None, **more: Any) -> Office:
    secret = None if provider.method == "none" else SECRET
    found = Provider.discover(settings_of(provider, **more), secret)
    return replace(office, site=replace(office.site, public=public, oidc=found))


@pytest.fixture
def lab(office: Office, provider: FakeProvider) -> Office:
    """The office, with the provider at its door."""
    return with_provider(office, provider)


def sent_back(browser: TestClient, to: str = "/me", start: str = "") -> str:
    """Press the button, sign in at the provider; where it sends the browser back to."""
    there = browser.get(f"{start}/oidc", params={"to": to}).headers["location"]
    back = httpx2.get(there)
    assert back.status_code == 303, back.text
    return back.headers["location"]


def come_in(browser: TestClient, to: str = "/me") -> httpx2.Response:
    """The answer to what the provider sends the browser back with."""
    return browser.get(sent_back(browser, to))


def names(office: Office) -> list[str]:
    return [one.name for one in office.site.people.all()]


def test_who_is_named_comes_in_and_is_the_same_person_next_time(lab: Office, provider: FakeProvider) -> None:
    browser = lab.client()
    page = browser.get("/sign-in?to=/me").text
    assert 'href="/oidc?to=%2Fme"' in page
    assert "Sign in with Lab" in page
    done = come_in(browser)
    assert (done.status_code, done.headers["location"]) == (303, "/me")
    assert "ada@lab.example" in browser.get("/me").text
    provider.claims["email"] = "ada.lovelace@lab.example"  # a new address, the same subject
    assert come_in(lab.client()).status_code == 303
    [ada] = [one for one in lab.site.people.all() if one.name == "ada@lab.example"]
    assert (ada.role, ada.tasks) == ("researcher", None)
    assert lab.site.people.about(ada.id)["subject"] == f"{provider.issuer} 248289"
    lab.site.people.change(ada.id, "auditor")
    assert come_in(lab.client()).status_code == 303
    assert [one.role for one in lab.site.people.all() if one.id == ada.id] == ["auditor"], "the page's word holds"


def test_a_domain_lets_in_with_its_role_and_tasks(lab: Office, provider: FakeProvider) -> None:
    provider.claims |= {"sub": "2", "email": "Bob@LAB.example"}
    assert come_in(lab.client()).status_code == 303
    [bob] = [one for one in lab.site.people.all() if one.name == "Bob@LAB.example"]
    assert (bob.role, bob.tasks) == ("rater", ("helpful",))


def test_nobody_becomes_somebody_who_has_a_password(lab: Office, provider: FakeProvider) -> None:
    lab.add("ada@lab.example", "owner")
    browser = lab.client()
    come_in(browser)
    assert "ada@lab.example (2)" in browser.get("/me").text
    assert [one.role for one in lab.site.people.all() if one.name.startswith("ada")] == ["owner", "researcher"]


def test_the_account_has_no_password_and_takes_none(lab: Office) -> None:
    browser = lab.client()
    come_in(browser)
    page = browser.get("/me").text
    assert 'action="/me/password"' not in page
    taken = browser.post("/me/password", data={"csrf": key_of(page), "password": PASSWORD})
    assert (taken.status_code, "account elsewhere" in taken.text) == (400, True)
    for password in ("", PASSWORD):
        done = lab.client().post("/sign-in", data={"name": "ada@lab.example", "password": password or "x" * 12})
        assert done.status_code == 401
    assert browser.post("/me/delete", data={"csrf": key_of(page), "sure": "yes"}).status_code == 303
    with lab.site.desk.record.reading() as connection:
        assert "248289" not in str(connection.execute(select(people)).all())


def claims_with(**more: Any) -> Change:
    return lambda claims: {**claims, **more}


def claims_without(name: str) -> Change:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


NOW = int(time.time())


NOT_FOR_US: list[Change] = [
    claims_with(nonce="another"), claims_without("nonce"), claims_with(nonce=["x"]), claims_with(nonce="é"),
    claims_with(aud="another"), claims_with(aud=["another"]), claims_without("aud"),
    claims_with(aud=[CLIENT, "another"]), claims_with(aud=[CLIENT, "another"], azp="another"),
    claims_with(azp="another"),
    claims_with(exp=NOW - 3600), claims_without("exp"), claims_with(exp="never"), claims_with(exp=float("nan")),
    claims_with(iat=NOW + 3600), claims_without("iat"), claims_with(nbf=NOW + 3600),
    claims_with(iss="https://evil.example"), claims_without("iss"),
    claims_without("sub"), claims_with(sub=""), claims_with(sub=7), claims_with(sub="a\nb"),
    claims_with(sub="x" * 256),
]  # fmt: skip


def test_a_token_for_others_or_another_time_lets_nobody_in(lab: Office, provider: FakeProvider) -> None:
    before = names(lab)
    for number, change in enumerate(NOT_FOR_US):
        provider.change = change
        browser = lab.client()
        done = come_in(browser)
        assert done.status_code == 502, (number, done.text)
        assert "its ID token is not to be trusted" in done.text
        assert "set-cookie" not in done.headers
        assert browser.get("/me").headers["location"].startswith("/sign-in")
    assert names(lab) == before


def plain(header: dict[str, Any], claims: dict[str, Any], signature: str = "") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=").decode() for one in (header, claims)]
    return ".".join([*parts, signature])


def by_public_key_as_secret(provider: FakeProvider, claims: dict[str, Any]) -> str:
    """The confusion of algorithms: what everybody knows, taken for a shared secret."""
    signed = plain({"alg": "HS256", "kid": "one"}, claims).rstrip(".")
    digest = hmac.digest(provider.key.as_pem(private=False), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


def by_client_secret(provider: FakeProvider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(SECRET), ["HS256"])


def by_another_key(provider: FakeProvider, claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "one"}, claims, RSAKey.generate_key(2048), ["RS256"])


def by_a_key_it_brings(provider: FakeProvider, claims: dict[str, Any]) -> str:
    own = RSAKey.generate_key(2048)
    header = {"alg": "RS256", "kid": "one", "jwk": own.as_dict(private=False)}
    return jwt.encode(header, claims, own, ["RS256"])


def with_other_words(provider: FakeProvider, claims: dict[str, Any]) -> str:
    head, _, signature = provider.signed(claims).split(".")
    return f"{head}.{plain({}, {**claims, 'email': 'eve@lab.example'}).split('.')[1]}.{signature}"


SPOILT = [
    lambda provider, claims: plain({"alg": "none"}, claims),
    lambda provider, claims: plain({"alg": "None", "kid": "one"}, claims),
    lambda provider, claims: plain({"alg": "none", "kid": "one"}, claims, "c2lnbmVk"),
    lambda provider, claims: plain({"alg": "RS256", "kid": "one"}, claims),
    lambda provider, claims: plain({}, claims),
    lambda provider, claims: plain({"alg": ["RS256"], "kid": 1}, claims),
    by_public_key_as_secret, by_client_secret, by_another_key, by_a_key_it_brings, with_other_words,
    lambda provider, claims: "",
    lambda provider, claims: "no.token.here",
    lambda provider, claims: "\ud7ff.\x00.é",
    lambda provider, claims: "x" * 200_000,
    lambda provider, claims: jwt.encode({"alg": "RS256", "kid": "gone"}, claims, provider.key),
]  # fmt: skip


def test_a_token_that_no_key_of_the_provider_signed_lets_nobody_in(lab: Office, provider: FakeProvider) -> None:
    before = names(lab)
    for number, spoil in enumerate(SPOILT):
        made: list[str] = []
        provider.sign = lambda claims, spoil=spoil, made=made: made.append(spoil(provider, claims)) or made[0]  # type: ignore[misc]
        done = come_in(lab.client())
        assert made, number
        assert (done.status_code, "not to be trusted" in done.text) == (502, True), (number, done.text)
        assert "set-cookie" not in done.headers
    assert names(lab) == before
    provider.sign = provider.signed
    assert come_in(lab.client()).status_code == 303, "and the true one is still believed"


STRANGERS: list[tuple[dict[str, Any], str]] = [
    ({"email": "eve@evil.example"}, "eve@evil.example may not come in here"),
    ({"email": "ada@lab.example.evil.example"}, "may not come in"),
    ({"email": "ada@sub.lab.example"}, "may not come in"),
    ({"email": "ada@lab.example", "email_verified": False}, "has not verified"),
    ({"email": "ada@lab.example", "email_verified": None}, "has not verified"),
    ({"email": "ada@lab.example\n@evil"}, "no usable claim"),
    ({"email": ""}, "no usable claim"),
    ({"email": ["ada@lab.example"]}, "no usable claim"),
    ({"email": "ada@\u212aab.example"}, "may not come in"),
]


def test_who_is_not_named_stays_outside(lab: Office, provider: FakeProvider) -> None:
    before = names(lab)
    for claims, why in STRANGERS:
        provider.claims = {"sub": "248289", "email_verified": True, **claims}
        done = come_in(lab.client())
        assert (done.status_code, why in done.text) == (403, True), (claims, done.text)
    assert names(lab) == before


def test_letters_that_only_look_alike_are_nobodys() -> None:
    settings = OIDCSettings(issuer="https://a.example", client_id="x", admit={"@kelvin.example": "rater"})
    assert settings.admission("a@KELVIN.example") is not None
    assert settings.admission("a@\u212aelvin.example") is None, "its lower case is the letter k"
    for name in ("kelvin.example", "@", "", "a@kelvin.example@evil.example"):
        assert settings.admission(name) is None


def test_a_state_holds_once_and_in_the_browser_that_began(lab: Office) -> None:
    browser = lab.client()
    back = sent_back(browser)
    thief = lab.client()
    assert thief.get(back).status_code == 400, "the state of another browser"
    assert browser.get(back).status_code == 400, "and so it is used up"
    back = sent_back(browser)
    assert browser.get(back).status_code == 303
    again = browser.get(back)
    assert (again.status_code, "is over" in again.text) == (400, True)
    for query in ("", "?code=x", "?code=x&state=made-up", "?state=%00&code=%ff"):
        assert browser.get(f"/oidc/callback{query}").status_code == 400


def test_a_sign_in_is_given_up_after_a_while_and_many_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    flows = Flows(lambda: now[0])
    late, early = flows.begin("r", "/"), flows.begin("r", "/")
    now[0] = 500
    assert flows.finish(early.state, early.browser) == early
    now[0] = 601
    assert flows.finish(late.state, late.browser) is None
    monkeypatch.setattr("kilter.web.oidc.flows.MOST", 3)
    begun = [flows.begin("r", "/") for _ in range(5)]
    assert [flows.finish(one.state, one.browser) is None for one in begun] == [True, True, False, False, False]


def test_a_code_is_worth_nothing_without_the_verifier(lab: Office, provider: FakeProvider) -> None:
    browser = lab.client()
    back = sent_back(browser)
    [state] = parse_qs(urlsplit(back).query)["state"]
    assert lab.site.oidc is not None
    flows = lab.site.oidc.flows._by_state
    flows[state] = replace(flows[state], verifier="stolen codes come without it")
    done = browser.get(back)
    assert done.status_code == 403
    assert "refused with status 400 (invalid_grant)" in done.text
    assert provider.refused == ["the verifier is not the one of the challenge"]
    assert SECRET not in done.text


def test_an_answer_of_another_provider_is_not_taken(lab: Office) -> None:
    browser = lab.client()
    back = sent_back(browser)
    mixed = httpx2.URL(back).copy_set_param("iss", "https://evil.example")
    done = browser.get(str(mixed))
    assert (done.status_code, "another provider" in done.text) == (400, True)


def test_a_provider_that_says_no_is_quoted_briefly(lab: Office) -> None:
    for error, told in (("access_denied", "(access_denied)"), ("<b>x</b>", "it gives no reason")):
        browser = lab.client()
        [state] = parse_qs(urlsplit(sent_back(browser)).query)["state"]
        done = browser.get("/oidc/callback", params={"state": state, "error": error})
        assert (done.status_code, told in done.text, "<b>" in done.text) == (403, True, False)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_secret_goes_where_the_provider_wants_it(office: Office, provider: FakeProvider, method: str) -> None:
    provider.method = method
    assert come_in(with_provider(office, provider).client()).status_code == 303
    assert not provider.refused


def test_the_identity_may_be_told_apart_from_the_token(lab: Office, provider: FakeProvider) -> None:
    provider.in_token = False
    assert come_in(lab.client()).status_code == 303
    assert "ada@lab.example" in names(lab)
    provider.user_info = {**provider.claims, "sub": "somebody else"}
    done = come_in(lab.client())
    assert (done.status_code, "of somebody else" in done.text) == (502, True)


def test_another_claim_may_be_the_identity(office: Office, provider: FakeProvider) -> None:
    provider.claims = {"sub": "9", "upn": "ada@lab.example"}
    lab = with_provider(office, provider, identity="upn")
    assert come_in(lab.client()).status_code == 303
    assert "ada@lab.example" in names(lab)


@pytest.mark.parametrize("start", ["", "/kilter"])
def test_the_way_back_keeps_the_prefix(office: Office, provider: FakeProvider, start: str) -> None:
    lab = with_provider(office, provider, "https://lab.example/kilter")
    browser = TestClient(create_app(lab.site), base_url="https://lab.example", follow_redirects=False)
    asked = browser.get(f"{start}/oidc?to=/people")
    [redirect] = parse_qs(urlsplit(asked.headers["location"]).query)["redirect_uri"]
    assert redirect == "https://lab.example/kilter/oidc/callback"
    cookie = asked.headers["set-cookie"]
    assert all(part in cookie for part in ("Path=/kilter/oidc", "Secure", "HttpOnly", "SameSite=lax"))
    back = httpx2.get(asked.headers["location"]).headers["location"].removeprefix("https://lab.example/kilter")
    done = browser.get(start + back, headers={"Cookie": cookie.partition(";")[0]})
    assert (done.status_code, done.headers["location"]) == (303, "/kilter/people")
    assert 'href="/kilter/oidc?to=%2F"' in browser.get(f"{start}/sign-in").text


def test_the_way_in_leads_nowhere_else(lab: Office) -> None:
    for to, lands in (("/tasks/helpful/judge", "/tasks/helpful/judge"), ("//evil.example", "/"), ("https://x", "/")):
        assert come_in(lab.client(), to).headers["location"] == lands


def test_without_a_provider_there_is_no_such_door(office: Office) -> None:
    assert "Sign in with" not in office.client().get("/sign-in").text
    assert office.client().get("/oidc").status_code == 404


KID = {"kid": "k"}
KEYS: list[tuple[str, Any]] = [
    ("PS256", lambda: RSAKey.generate_key(2048, KID)),
    ("ES256", lambda: ECKey.generate_key("P-256", KID)),
    ("ES512", lambda: ECKey.generate_key("P-521", KID)),
    ("Ed25519", lambda: OKPKey.generate_key("Ed25519", KID)),
]


@pytest.mark.parametrize(("algorithm", "make"), KEYS)
def test_keys_of_other_kinds_are_read(office: Office, provider: FakeProvider, algorithm: str, make: Any) -> None:
    provider.key, provider.algorithm = make(), algorithm
    assert come_in(with_provider(office, provider).client()).status_code == 303


def test_new_keys_are_fetched_when_a_token_names_one_but_not_each_time() -> None:
    old, new = RSAKey.generate_key(2048, {"kid": "old"}), RSAKey.generate_key(2048, {"kid": "new"})
    fetched, now = [], [1_000_000.0]

    def fetch() -> Any:
        fetched.append(1)
        return {"keys": [(old if len(fetched) == 1 else new).as_dict(private=False)]}

    def read(key: RSAKey) -> dict[str, Any]:
        claims = {"iss": "i", "aud": "c", "sub": "s", "nonce": "n", "iat": now[0], "exp": now[0] + 9}
        return ring.claims(jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key), issuer="i", client="c", nonce="n")

    ring = KeyRing(fetch, lambda: now[0])
    assert read(old)["sub"] == "s"
    for _ in range(3):
        with pytest.raises(Untrusted, match="No key for kid"):
            read(new)
    assert len(fetched) == 1
    now[0] += FRESH
    assert read(new)["sub"] == "s"
    with pytest.raises(Untrusted):
        read(old)
    assert len(fetched) == 2


def test_a_provider_that_is_another_or_none_is_refused_at_once(provider: FakeProvider) -> None:
    def refused(match: str, document: dict[str, Any]) -> None:
        provider.document = document
        with pytest.raises(ServerError, match=match):
            Provider.discover(settings_of(provider), SECRET)

    refused("calls itself https://evil.example", {"issuer": "https://evil.example"})
    refused("not reached by https", {"token_endpoint": "http://lab.example/token"})
    refused("not reached by https", {"userinfo_endpoint": "http://lab.example/me"})
    refused("in a form that no provider has: token_endpoint", {"token_endpoint": 3})
    refused("cannot be read|refused with status", {"jwks_uri": f"{provider.issuer}/me"})
    provider.issuer += "/nowhere"
    refused("refused with status 404", {})
    with pytest.raises(ServerError, match="does not answer"):
        Provider.discover(OIDCSettings(issuer="http://127.0.0.1:9", client_id="x", admit=ADMIT), None)


def test_the_file_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "lab.yaml"
    good = "issuer: https://login.lab.example\nclient_id: kilter\nadmit: {ada@lab.example: owner}\n"
    for text, told in (
        (good + "secert_env: X\n", "did you mean 'secret_env'"), (good.replace("https", "http"), "by https"),
        ("issuer: https://a.example\nclient_id: x\n", "'admit' is required"), ("[]", "describes no sign-in"),
        (good.replace("owner", "boss"), "admit"), (good + "secret_env: X\nsecret_file: y\n", "keep one"),
        (good.replace("ada@lab.example", '"@"'), "admit names '@'"), ("a: [", "not valid YAML"),
        (good.replace("{ada@lab.example: owner}", "{}"), "admit"),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(SettingsError, match=told):
            read_oidc(file)
    with pytest.raises(SettingsError, match="There is no file"):
        read_oidc(tmp_path / "none.yaml")
    file.write_text(good + "secret_env: LAB_SECRET\n")
    monkeypatch.delenv("LAB_SECRET", raising=False)
    with pytest.raises(SettingsError, match="LAB_SECRET, for the client secret, is not set"):
        read_secret(read_oidc(file), tmp_path)
    monkeypatch.setenv("LAB_SECRET", f" {SECRET}\n")
    assert read_secret(read_oidc(file), tmp_path) == SECRET
    file.write_text(good + "secret_file: secret.txt\n")
    with pytest.raises(SettingsError, match="There is no client secret"):
        read_secret(read_oidc(file), tmp_path)
    (tmp_path / "secret.txt").write_text(SECRET)
    assert read_secret(read_oidc(file), tmp_path) == SECRET
    assert SECRET not in repr(read_oidc(file))


def test_the_command_says_what_is_wrong(
    tmp_path: Path, provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = ["--workspace", str(tmp_path / "ws")]
    assert execute(["feedback", "serve", "--oidc", str(tmp_path / "none.yaml"), *workspace]) == SettingsError.exit_code
    file = tmp_path / "lab.yaml"
    file.write_text(f"issuer: {provider.issuer}/x\nclient_id: kilter\nadmit: {{'@lab.example': rater}}\n")
    assert execute(["feedback", "serve", "--oidc", str(file), *workspace]) == ServerError.exit_code
    assert "refused with status 404" in capsys.readouterr().err
    assert not (tmp_path / "ws").exists(), "nothing was begun"
