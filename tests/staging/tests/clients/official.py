"""Authentik's own client and a standard OpenID Connect library against the staging VPS.

Reads the raised.json named as its argument. Prints a line for each thing that works; the first that
doesn't ends it."""

import json
import sys
from urllib.parse import parse_qs, urlsplit

import authentik_client
import requests
from authlib.integrations.requests_client import OAuth2Session
from joserfc import jwt
from joserfc.jwk import KeySet

with open(sys.argv[1], encoding="utf-8") as file:
    raised = json.load(file)
authentik = raised["authentik_url"]
silver = raised["api_url"]


def works(what):
    print("ok", what, flush=True)


def api(key):
    configuration = authentik_client.Configuration(host=authentik + "/api/v3", access_token=key)
    return authentik_client.ApiClient(configuration)


def refused(status, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except authentik_client.ApiException as error:
        assert error.status == status, (error.status, error.body)
        return error.body
    raise AssertionError(f"{call} was not refused")


# --- The admin API, by authentik-client --------------------------------------------------------

operator = api(raised["authentik_admin_token"])
core = authentik_client.CoreApi(operator)
me = core.core_users_me_retrieve().user
assert me.username == "akadmin" and me.is_superuser
stranger = authentik_client.CoreApi(api("nobody"))
assert "Token invalid" in refused(403, stranger.core_users_me_retrieve)
works("core/users/me tells a good token from a bad one")

old = core.core_tokens_list(identifier="silver-auth-api").results[0]
assert old.intent == "api" and old.expiring is False
owner = old.user_obj
assert owner.username == "silver-provisioning" and not owner.is_superuser
works("core/tokens is listed by identifier")

made = core.core_tokens_create(
    authentik_client.TokenRequest(
        identifier="replacement",
        intent="api",
        user=owner.pk,
        description="made by the official client",
        expiring=False,
    )
)
assert made.user == owner.pk and made.expiring is False
refused(400, core.core_tokens_create, authentik_client.TokenRequest(identifier="replacement"))
key = core.core_tokens_view_key_retrieve("replacement").key
minion = authentik_client.CoreApi(api(key))
assert minion.core_users_me_retrieve().user.pk == owner.pk
assert [token.identifier for token in minion.core_tokens_list().results] == ["replacement", "silver-auth-api"]
refused(403, minion.core_tokens_view_key_retrieve, "silver-auth-api")
refused(403, authentik_client.ProvidersApi(api(key)).providers_oauth2_list)
events = authentik_client.EventsApi(operator).events_events_list(action="secret_view").results
assert len(events) == 1 and "replacement" in str(events[0].context)
works("a token is made, its key is seen once and audited, and it may what its user may")

core.core_tokens_set_key_create("replacement", authentik_client.TokenSetKeyRequest(key="a" * 60))
refused(403, minion.core_users_me_retrieve)
assert authentik_client.CoreApi(api("a" * 60)).core_users_me_retrieve().user.pk == owner.pk
works("set_key changes the key at once")

patch = authentik_client.PatchedTokenRequest
app_password = core.core_tokens_partial_update(
    "replacement", patch(intent="app_password", user=owner.pk, expires="2099-01-01T00:00:00Z")
)
assert app_password.intent == "app_password" and app_password.expires.year == 2099
reset = core.core_tokens_partial_update("replacement", patch(description="only this"))
assert reset.intent == "api" and reset.expires.year < 2099 and reset.user == me.pk
works("a change that names neither intent nor user resets both")

core.core_tokens_destroy("replacement")
refused(404, core.core_tokens_retrieve, "replacement")
works("a deleted token is gone")

providers = authentik_client.ProvidersApi(operator)
provider = providers.providers_oauth2_list(client_id="silver-auth").results[0]
secret = provider.client_secret
assert provider.redirect_uris[0].url == silver + "/auth/callback"
changed = authentik_client.PatchedOAuth2ProviderRequest
# The client itself would refuse to send this.
long = requests.patch(
    f"{authentik}/api/v3/providers/oauth2/{provider.pk}/",
    json={"client_secret": "x" * 256},
    headers={"Authorization": "Bearer " + raised["authentik_admin_token"]},
    timeout=10,
)
assert long.status_code == 400 and "client_secret" in long.json(), long.text
fresh = "b" * 64
assert providers.providers_oauth2_partial_update(provider.pk, changed(client_secret=fresh)).client_secret == fresh


def probe(candidate):
    answer = requests.post(
        authentik + "/application/o/token/",
        data={"grant_type": "authorization_code"},
        auth=("silver-auth", candidate),
        timeout=10,
    )
    return answer.status_code, answer.json()["error"]


assert probe(secret) == (400, "invalid_client")
assert probe(fresh) == (400, "invalid_grant")
providers.providers_oauth2_partial_update(provider.pk, changed(client_secret=secret))
assert probe(secret) == (400, "invalid_grant")
works("a client secret is changed, and told from a wrong one without a user")

# --- OpenID Connect, by Authlib ----------------------------------------------------------------

about = requests.get(
    authentik + "/application/o/silver-auth/.well-known/openid-configuration", timeout=10
).json()
assert about["issuer"] == authentik + "/application/o/silver-auth/"


def sign_in(browser, location):
    """Fills in the login page that `location` leads to; gives where the browser is sent back to."""
    page = browser.get(location, timeout=10)
    assert page.status_code == 200 and "<form" in page.text, page.text
    wrong = browser.post(page.url, data={"uidField": raised["login_user"], "password": "wrong"}, timeout=10)
    assert wrong.status_code == 200 and "Failed to authenticate" in wrong.text
    done = browser.post(
        page.url,
        data={"uidField": raised["login_user"], "password": raised["login_password"]},
        allow_redirects=False,
        timeout=10,
    )
    assert done.status_code == 302, done.text
    back = browser.get(authentik + done.headers["Location"], allow_redirects=False, timeout=10)
    assert back.status_code == 302, back.text
    return back.headers["Location"]


client = OAuth2Session(
    "silver-auth",
    secret,
    scope="openid profile email",
    redirect_uri=silver + "/auth/callback",
    code_challenge_method="S256",
)
verifier = "v" * 64
url, state = client.create_authorization_url(
    about["authorization_endpoint"], nonce="n-0S6_WzA2Mj", code_verifier=verifier
)
callback = sign_in(requests.Session(), url)
assert parse_qs(urlsplit(callback).query)["state"] == [state]
token = client.fetch_token(about["token_endpoint"], authorization_response=callback, code_verifier=verifier)
keys = KeySet.import_key_set(requests.get(about["jwks_uri"], timeout=10).json())
claims = jwt.decode(token["id_token"], keys, algorithms=["ES256"]).claims
registry = jwt.JWTClaimsRegistry(
    iss={"essential": True, "value": about["issuer"]},
    aud={"essential": True, "value": "silver-auth"},
    nonce={"essential": True, "value": "n-0S6_WzA2Mj"},
    exp={"essential": True},
)
registry.validate(claims)
assert claims["email"] == raised["login_user"]
info = client.get(about["userinfo_endpoint"]).json()
assert info["sub"] == claims["sub"] and info["email"] == raised["login_user"]
works("a standard library logs in, and trusts the id token")

try:
    client.fetch_token(about["token_endpoint"], authorization_response=callback, code_verifier=verifier)
    raise AssertionError("a code worked twice")
except Exception as error:  # Authlib's own
    assert "invalid_grant" in str(error), error
works("a code works once")
