//! OAuth2 and OpenID Connect: discovery, authorize, token, JWKS, userinfo.

use std::time::{SystemTime, UNIX_EPOCH};

use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use postgres::Row;
use serde_json::{Value, json};

use super::{Server, record};
use crate::crypto::{self, base64url, from_base64};
use crate::http::{Answer, Reply, Request, encoded_pairs};

/// Seconds.
const CODE_LIFE: i32 = 60;
const TOKEN_LIFE: i32 = 300;

impl Server {
    pub fn discovery(&self, request: &Request, slug: &str) -> Answer {
        if self.provider_of(slug)?.is_none() {
            return Ok(Reply::not_found());
        }
        let origin = request.origin();
        let at = |path: &str| format!("{origin}/application/o/{path}");
        Ok(Reply::json(
            200,
            &json!({
                "issuer": at(&format!("{slug}/")),
                "authorization_endpoint": at("authorize/"),
                "token_endpoint": at("token/"),
                "userinfo_endpoint": at("userinfo/"),
                "jwks_uri": at(&format!("{slug}/jwks/")),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": ["authorization_code"],
                "id_token_signing_alg_values_supported": ["ES256"],
                "subject_types_supported": ["public"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "scopes_supported": ["openid", "email", "profile"],
                "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce",
                    "email", "email_verified", "name", "preferred_username"],
                "code_challenge_methods_supported": ["plain", "S256"],
                "request_parameter_supported": false,
                "claims_parameter_supported": false,
            }),
        ))
    }

    pub fn jwks(&self, slug: &str) -> Answer {
        if self.provider_of(slug)?.is_none() {
            return Ok(Reply::not_found());
        }
        let (key, id) = self.signing_key()?;
        let point = key.verifying_key().to_sec1_point(false);
        // An uncompressed point: a byte that says so, then x and y.
        let (x, y) = point.as_bytes()[1..].split_at(32);
        let key = json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": id,
            "x": base64url(x), "y": base64url(y),
        });
        Ok(Reply::json(200, &json!({"keys": [key]})))
    }

    pub fn authorize(&self, request: &Request) -> Answer {
        let asked = |name: &str| request.query.get(name).map_or("", String::as_str);
        let query = "SELECT pk, redirect_uri FROM ak_provider WHERE client_id = $1";
        let row = self.database.with(|client| client.query_opt(query, &[&asked("client_id")]))?;
        let Some((provider, redirect_uri)) = row.map(|row| (row.get::<_, i32>(0), row.get::<_, String>(1)))
        else {
            return Ok(refused("Client ID error"));
        };
        // Whoever isn't known isn't sent anything.
        if redirect_uri != asked("redirect_uri") {
            return Ok(refused("Redirect URI error"));
        }
        let back = |pairs: &[(&str, &str)]| {
            let query = encoded_pairs(&[pairs, &[("state", asked("state"))]].concat());
            Ok(Reply::redirect(&format!("{redirect_uri}?{query}")))
        };
        if asked("response_type") != "code" {
            return back(&[("error", "unsupported_response_type")]);
        }
        let method = match asked("code_challenge_method") {
            "" => "plain",
            method @ ("plain" | "S256") => method,
            _ => return back(&[("error", "invalid_request")]),
        };
        let Some(signed_in) = self.signed_in(request)? else {
            return match asked("prompt") {
                "none" => back(&[("error", "login_required")]),
                _ => Ok(Server::to_login(&request.target)),
            };
        };
        let code = crypto::random_hex::<16>()?;
        let given = |name: &str| Some(asked(name)).filter(|value| !value.is_empty());
        let insert = "INSERT INTO ak_grant VALUES ($1, $2, $3, $4, $5, $6, $7, $8, \
                      to_timestamp($9::bigint), now() + make_interval(secs => $10::integer))";
        self.database.with(|client| {
            client.execute(
                insert,
                &[
                    &crypto::hash(&code),
                    &provider,
                    &signed_in.user,
                    &redirect_uri,
                    &given("nonce"),
                    &given("code_challenge"),
                    &method,
                    &asked("scope"),
                    &signed_in.since,
                    &CODE_LIFE,
                ],
            )?;
            let name = client.query_one("SELECT username FROM ak_user WHERE pk = $1", &[&signed_in.user])?;
            record(client, "authorize_application", name.get(0), &json!({"scopes": asked("scope")}))
        })?;
        back(&[("code", &code)])
    }

    pub fn token(&self, request: &Request) -> Answer {
        let form = request.form();
        let field = |name: &str| form.get(name).map_or("", String::as_str);
        let (client_id, secret) = match basic(request) {
            Some(pair) => pair,
            None => (field("client_id").to_owned(), field("client_secret").to_owned()),
        };
        let query = "SELECT pk, client_secret FROM ak_provider WHERE client_id = $1";
        let row = self.database.with(|client| client.query_opt(query, &[&client_id]))?;
        let provider = row.filter(|row| row.get::<_, String>(1) == secret && !request.disagree);
        let Some(provider) = provider.map(|row| row.get::<_, i32>(0)) else {
            return Ok(token_error("invalid_client"));
        };
        if field("grant_type") != "authorization_code" {
            return Ok(token_error("unsupported_grant_type"));
        }
        // A code works once, also when what comes with it is wrong.
        let take = "DELETE FROM ak_grant g USING ak_user u WHERE g.code_hash = $1 AND u.pk = g.user_pk \
                    RETURNING g.provider, g.redirect_uri, g.challenge, g.method, g.expires > now(), g.nonce, \
                    g.scope, extract(epoch FROM g.signed_in)::bigint, u.pk, u.username, u.name, u.email, u.uuid";
        let row = self.database.with(|client| client.query_opt(take, &[&crypto::hash(field("code"))]))?;
        let fits = |row: &Row| {
            let verifier = field("code_verifier");
            let challenge = row.get::<_, Option<String>>(2);
            let proof = match row.get::<_, String>(3).as_str() {
                "S256" => base64url(&crypto::sha256(verifier)),
                _ => verifier.to_owned(),
            };
            row.get::<_, i32>(0) == provider
                && row.get::<_, String>(1) == field("redirect_uri")
                && row.get(4)
                && challenge.map_or(verifier.is_empty(), |challenge| challenge == proof)
        };
        match row.filter(fits) {
            Some(row) => self.grant(request, provider, &client_id, &row),
            None => Ok(token_error("invalid_grant")),
        }
    }

    fn grant(&self, request: &Request, provider: i32, client_id: &str, row: &Row) -> Answer {
        let (key, kid) = self.signing_key()?;
        let (scope, user) = (row.get::<_, String>(6), row.get::<_, i32>(8));
        let slug = self.database.with(|client| {
            client.query_one("SELECT slug FROM ak_application WHERE provider = $1", &[&provider])
        })?;
        let slug: String = slug.get(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut claims = claims(&scope, row.get(9), row.get(10), row.get(11), row.get(12));
        claims["iss"] = json!(format!("{}/application/o/{slug}/", request.origin()));
        claims["aud"] = json!(client_id);
        claims["iat"] = json!(now);
        claims["exp"] = json!(now + u64::from(TOKEN_LIFE.unsigned_abs()));
        claims["auth_time"] = json!(row.get::<_, i64>(7));
        if let Some(nonce) = row.get::<_, Option<String>>(5) {
            claims["nonce"] = json!(nonce);
        }
        let access = crypto::random_hex::<32>()?;
        let insert =
            "INSERT INTO ak_access VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5::integer))";
        self.database.with(|client| {
            client.execute(insert, &[&crypto::hash(&access), &provider, &user, &scope, &TOKEN_LIFE])
        })?;
        let reply = json!({
            "access_token": access, "token_type": "Bearer", "expires_in": TOKEN_LIFE, "scope": scope,
            "id_token": signed(&key, &kid, &claims),
        });
        Ok(Reply::json(200, &reply).with("Cache-Control", "no-store"))
    }

    pub fn userinfo(&self, request: &Request) -> Answer {
        let query = "SELECT a.scope, u.username, u.name, u.email, u.uuid \
                     FROM ak_access a JOIN ak_user u ON u.pk = a.user_pk \
                     WHERE a.token_hash = $1 AND a.expires > now()";
        let hash = crypto::hash(request.bearer().unwrap_or_default());
        let row = self.database.with(|client| client.query_opt(query, &[&hash]))?;
        Ok(match row {
            Some(row) => {
                let scope: String = row.get(0);
                Reply::json(200, &claims(&scope, row.get(1), row.get(2), row.get(3), row.get(4)))
            }
            None => Reply::error(401, "invalid_token").with("WWW-Authenticate", "error=\"invalid_token\""),
        })
    }

    fn provider_of(&self, slug: &str) -> Result<Option<i32>, String> {
        let query = "SELECT provider FROM ak_application WHERE slug = $1";
        let row = self.database.with(|client| client.query_opt(query, &[&slug]))?;
        Ok(row.map(|row| row.get(0)))
    }

    /// With its id.
    fn signing_key(&self) -> Result<(SigningKey, String), String> {
        let row = self.database.with(|client| client.query_one("SELECT scalar FROM ak_signing_key", &[]))?;
        let scalar: String = row.get(0);
        let bytes: Option<Vec<u8>> =
            (0..32).map(|at| u8::from_str_radix(scalar.get(2 * at..2 * at + 2)?, 16).ok()).collect();
        let key = SigningKey::from_slice(&bytes.unwrap_or_default());
        let key = key.map_err(|_| "the signing key is damaged".to_owned())?;
        let point = key.verifying_key().to_sec1_point(true);
        let id = crypto::hex(&crypto::sha256(point.as_bytes())[..16]);
        Ok((key, id))
    }
}

/// What a client may know of a user, by scope.
fn claims(scope: &str, username: &str, name: &str, email: &str, uuid: &str) -> Value {
    let has = |wanted: &str| scope.split_whitespace().any(|scope| scope == wanted);
    let mut claims = json!({"sub": crypto::hash(uuid)});
    if has("email") {
        claims["email"] = json!(email);
        claims["email_verified"] = json!(true);
    }
    if has("profile") {
        claims["name"] = json!(name);
        claims["given_name"] = json!(name);
        claims["preferred_username"] = json!(username);
        claims["nickname"] = json!(username);
        claims["groups"] = json!([]);
    }
    claims
}

fn signed(key: &SigningKey, id: &str, claims: &Value) -> String {
    let header = json!({"alg": "ES256", "kid": id, "typ": "JWT"});
    let text =
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
    let signature: Signature = key.sign(text.as_bytes());
    format!("{text}.{}", base64url(&signature.to_bytes()))
}

/// Id and secret of a client that authenticates itself in the header.
fn basic(request: &Request) -> Option<(String, String)> {
    let (scheme, word) = request.header("authorization").split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(from_base64(word.trim())?).ok()?;
    let (id, secret) = pair.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// 400 also for a client that isn't who it says, as the real server.
fn token_error(code: &str) -> Reply {
    Reply::json(400, &json!({"error": code, "error_description": code.replace('_', " ")}))
        .with("Cache-Control", "no-store")
}

fn refused(why: &str) -> Reply {
    Reply::html(400, &format!("<!doctype html><title>authentik</title><h1>Bad Request</h1>{why}"))
}
