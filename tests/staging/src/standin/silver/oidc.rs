//! Logins by Authentik: the code flow with PKCE, as a confidential client.

use std::time::{SystemTime, UNIX_EPOCH};

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use serde_json::{Value, json};

use super::Silver;
use crate::client::{self, authority};
use crate::crypto::{self, base64url, from_base64url};
use crate::http::{Answer, Reply, Request, encoded_pairs};
use crate::required;

/// Remembers a login that was begun.
const COOKIE: &str = "silver_login";
/// Seconds that people have for it.
const PATIENCE: u32 = 600;

pub struct Client {
    pub id: String,
    secret: String,
    /// As browsers reach Authentik.
    issuer: String,
    /// As this service reaches it.
    authentik: String,
    redirect_uri: String,
}

/// A login that was begun.
struct Begun {
    state: String,
    nonce: String,
    verifier: String,
}

impl Client {
    pub fn from_environment() -> Result<Client, String> {
        Ok(Client {
            id: required("OIDC_CLIENT_ID")?,
            secret: required("OIDC_CLIENT_SECRET")?,
            issuer: required("OIDC_ISSUER")?,
            authentik: required("AUTHENTIK_URL")?,
            redirect_uri: format!("{}/auth/callback", required("PUBLIC_URL")?),
        })
    }

    /// A request to Authentik under the name that browsers have for it, from which it tells the
    /// issuer.
    fn ask(
        &self,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<client::Answer, String> {
        let public = authority(&self.issuer)?;
        let path = url.split_once(public).map_or(url, |(_, path)| path);
        let headers = [&[("Host", public)], headers].concat();
        client::send(method, &format!("{}{path}", self.authentik), &headers, body)
    }

    /// What Authentik says of itself.
    fn discovered(&self) -> Result<Value, String> {
        let url = format!("{}.well-known/openid-configuration", self.issuer);
        let answer = self.ask("GET", &url, &[], "")?;
        match answer.status {
            200 => Ok(answer.json()),
            status => Err(format!("discovery: {status}")),
        }
    }

    /// The id token's claims for this code, or the reason why there are none.
    fn exchange(&self, code: &str, begun: &Begun) -> Result<Value, String> {
        let unreachable = |_| "unreachable".to_owned();
        let about = self.discovered().map_err(unreachable)?;
        let at = |key: &str| about[key].as_str().unwrap_or_default();
        let body = encoded_pairs(&[
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("client_id", &self.id),
            ("client_secret", &self.secret),
            ("code_verifier", &begun.verifier),
        ]);
        let form = [("Content-Type", "application/x-www-form-urlencoded")];
        let answer = self.ask("POST", at("token_endpoint"), &form, &body).map_err(unreachable)?;
        let said = answer.json();
        if answer.status != 200 {
            return Err(said["error"].as_str().unwrap_or("unreachable").to_owned());
        }
        let keys = self.ask("GET", at("jwks_uri"), &[], "").map_err(unreachable)?.json();
        let token = said["id_token"].as_str().unwrap_or_default();
        let claims = verified(token, &keys).ok_or("invalid_id_token")?;
        let fits = claims["iss"] == json!(self.issuer)
            && claims["aud"] == json!(self.id)
            && claims["nonce"] == json!(begun.nonce)
            && claims["exp"].as_u64() > Some(now());
        fits.then_some(claims).ok_or_else(|| "invalid_id_token".to_owned())
    }
}

impl Silver {
    pub fn begin_login(&self, _: &Request) -> Answer {
        let about = match self.client.discovered() {
            Ok(about) => about,
            Err(why) => return Ok(Reply::error_because(502, "identity_provider_unreachable", &why)),
        };
        let begun = Begun {
            state: crypto::random_hex::<16>()?,
            nonce: crypto::random_hex::<16>()?,
            verifier: crypto::random_hex::<32>()?,
        };
        let query = encoded_pairs(&[
            ("response_type", "code"),
            ("client_id", &self.client.id),
            ("redirect_uri", &self.client.redirect_uri),
            ("scope", "openid profile email"),
            ("state", &begun.state),
            ("nonce", &begun.nonce),
            ("code_challenge", &base64url(&crypto::sha256(&begun.verifier))),
            ("code_challenge_method", "S256"),
        ]);
        let to = about["authorization_endpoint"].as_str().unwrap_or_default();
        let end = now() + u64::from(PATIENCE);
        let remembered = format!("{}.{}.{}.{end}", begun.state, begun.nonce, begun.verifier);
        let cookie = format!("{remembered}.{}", self.signature(&remembered)?);
        Ok(Reply::redirect(&format!("{to}?{query}")).with_cookie(COOKIE, &cookie, Some(PATIENCE)))
    }

    pub fn finish_login(&self, request: &Request) -> Answer {
        let asked = |name: &str| request.query.get(name).map_or("", String::as_str);
        let begun = self.begun(request.cookie(COOKIE).unwrap_or_default())?;
        let Some(begun) = begun.filter(|begun| begun.state == asked("state")) else {
            return Ok(Reply::error(400, "invalid_state"));
        };
        if !asked("error").is_empty() {
            return Ok(Reply::error_because(502, "code_exchange_failed", asked("error")));
        }
        let claims = match self.client.exchange(asked("code"), &begun) {
            Ok(claims) => claims,
            Err(reason) => {
                crate::log(&format!("code exchange: {reason}"));
                return Ok(Reply::error_because(502, "code_exchange_failed", &reason));
            }
        };
        let name = ["email", "preferred_username", "sub"].iter().find_map(|claim| claims[*claim].as_str());
        let name = name.unwrap_or_default();
        // Without a password of its own.
        let insert = "INSERT INTO app_user VALUES ($1, '', '') ON CONFLICT DO NOTHING";
        self.database.with(|client| client.execute(insert, &[&name]))?;
        let reply = Reply::redirect("/").with_cookie(COOKIE, "", Some(0));
        self.begin_session(name, reply)
    }

    /// What the cookie says, if it is ours and not too old.
    fn begun(&self, cookie: &str) -> Result<Option<Begun>, String> {
        let Some((remembered, signature)) = cookie.rsplit_once('.') else {
            return Ok(None);
        };
        let parts: Vec<&str> = remembered.split('.').collect();
        let [state, nonce, verifier, end] = parts[..] else {
            return Ok(None);
        };
        let fresh = end.parse().is_ok_and(|end: u64| end >= now());
        if !fresh || self.signature(remembered)? != signature {
            return Ok(None);
        }
        let [state, nonce, verifier] = [state, nonce, verifier].map(ToOwned::to_owned);
        Ok(Some(Begun { state, nonce, verifier }))
    }

    fn signature(&self, text: &str) -> Result<String, String> {
        Ok(base64url(&crypto::hmac(self.session_secret.as_bytes(), text)?))
    }
}

/// The claims of a token that one of these keys signed.
fn verified(token: &str, keys: &Value) -> Option<Value> {
    let (text, signature) = token.rsplit_once('.')?;
    let (header, claims) = text.split_once('.')?;
    let read = |part: &str| serde_json::from_slice::<Value>(&from_base64url(part)?).ok();
    let header = read(header)?;
    if header["alg"] != "ES256" {
        return None;
    }
    let key = keys["keys"].as_array()?.iter().find(|key| key["kid"] == header["kid"])?;
    let mut point = vec![4];
    for coordinate in ["x", "y"] {
        point.extend(from_base64url(key[coordinate].as_str()?)?);
    }
    let key = VerifyingKey::from_sec1_bytes(&point).ok()?;
    let signature = Signature::from_slice(&from_base64url(signature)?).ok()?;
    key.verify(text.as_bytes(), &signature).ok()?;
    read(claims)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
