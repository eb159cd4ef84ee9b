//! Sessions: opaque tokens in a cookie, of which the database has hashes keyed with SESSION_SECRET,
//! so that a new one ends them all.

use serde_json::json;

use super::Silver;
use crate::crypto;
use crate::http::{Answer, Reply, Request};

pub const LOGIN_FORM: &str = "<!doctype html><title>Sign in</title><form method=post action=/login>\
    <input name=user autocomplete=username><input name=password type=password>\
    <button>Sign in</button></form><a href=/auth/login>Sign in with SEQN</a>";

const COOKIE: &str = "silver_session";

impl Silver {
    pub fn home(&self, request: &Request) -> Answer {
        Ok(match self.signed_in(request)? {
            Some(_) => Reply::html(200, "<!doctype html><title>SEQN</title>Signed in."),
            None => Reply::redirect("/login"),
        })
    }

    pub fn me(&self, request: &Request) -> Answer {
        Ok(match self.signed_in(request)? {
            Some(user) => Reply::json(200, &json!({"user": user})),
            None if request.header("accept").contains("text/html") => Reply::redirect("/login"),
            None => Reply::error(401, "unauthenticated"),
        })
    }

    pub fn login(&self, request: &Request) -> Answer {
        let form = request.form();
        let (Some(user), Some(password)) = (form.get("user"), form.get("password")) else {
            return Ok(Reply::error(400, "user_and_password_required"));
        };
        let row = self.database.with(|client| {
            client.query_opt("SELECT salt, password_hash FROM app_user WHERE name = $1", &[user])
        })?;
        let right = row.is_some_and(|row| password_hash(row.get(0), password) == row.get::<_, String>(1));
        if !right {
            return Ok(Reply::error(401, "invalid_credentials"));
        }
        self.begin_session(user, Reply::json(200, &json!({"user": user})))
    }

    pub fn logout(&self, request: &Request) -> Answer {
        if let Some(token) = request.cookie(COOKIE) {
            let hash = self.token_hash(token)?;
            let delete = "DELETE FROM app_session WHERE token_hash = $1";
            self.database.with(|client| client.execute(delete, &[&hash]))?;
        }
        Ok(Reply::empty(204).with_cookie(COOKIE, "", Some(0)))
    }

    /// Adds the cookie of a new session to the reply.
    pub fn begin_session(&self, user: &str, reply: Reply) -> Answer {
        let token = crypto::random_hex::<32>()?;
        let hash = self.token_hash(&token)?;
        self.database.with(|client| {
            client.execute("INSERT INTO app_session (token_hash, name) VALUES ($1, $2)", &[&hash, &user])
        })?;
        Ok(reply.with_cookie(COOKIE, &token, None))
    }

    fn signed_in(&self, request: &Request) -> Result<Option<String>, String> {
        let Some(token) = request.cookie(COOKIE) else {
            return Ok(None);
        };
        let hash = self.token_hash(token)?;
        let row = self.database.with(|client| {
            client.query_opt("SELECT name FROM app_session WHERE token_hash = $1", &[&hash])
        })?;
        Ok(row.map(|row| row.get(0)))
    }

    fn token_hash(&self, token: &str) -> Result<String, String> {
        Ok(crypto::hex(&crypto::hmac(self.session_secret.as_bytes(), token)?))
    }
}

pub fn password_hash(salt: &str, password: &str) -> String {
    crypto::hash(&format!("{salt}:{password}"))
}
