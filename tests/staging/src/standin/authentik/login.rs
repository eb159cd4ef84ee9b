//! The default authentication flow: as a form without scripts, and step by step as the real
//! server's page does it by its flow executor.

use serde_json::{Value, json};

use super::{Server, password_hash, record};
use crate::crypto;
use crate::http::{Answer, Reply, Request, encoded, escaped, pairs};

pub const FLOW: &str = "default-authentication-flow";
pub const PAGE: &str = "/if/flow/default-authentication-flow/";
const COOKIE: &str = "authentik_session";

/// Who has a session here, and since when.
pub struct SignedIn {
    pub user: i32,
    /// Seconds since 1970.
    pub since: i64,
}

impl Server {
    /// Where to log in before `target` is asked for again.
    pub fn to_login(target: &str) -> Reply {
        Reply::redirect(&format!("{PAGE}?next={}", encoded(target)))
    }

    pub fn signed_in(&self, request: &Request) -> Result<Option<SignedIn>, String> {
        let Some(token) = request.cookie(COOKIE) else {
            return Ok(None);
        };
        let query = "SELECT user_pk, extract(epoch FROM signed_in)::bigint FROM ak_session \
                     WHERE token_hash = $1 AND user_pk IS NOT NULL";
        let row = self.database.with(|client| client.query_opt(query, &[&crypto::hash(token)]))?;
        Ok(row.map(|row| SignedIn { user: row.get(0), since: row.get(1) }))
    }

    pub fn login_page(&self, request: &Request) -> Answer {
        let next = next_of(request.query.get("next"));
        match request.method.as_str() {
            "GET" => {
                self.database.works()?;
                Ok(page(&next, ""))
            }
            "POST" => {
                let form = request.form();
                let field = |name: &str| form.get(name).map_or("", String::as_str);
                match self.check(field("uidField"), field("password"))? {
                    Some(user) => Ok(self.begin_session(user)?(Reply::redirect(&next))),
                    None => Ok(page(&next, "Failed to authenticate.")),
                }
            }
            _ => Ok(Reply::empty(405)),
        }
    }

    /// One stage after the other: who, then the password, then where to go.
    pub fn login_step(&self, request: &Request) -> Answer {
        let query = pairs(request.query.get("query").map_or("", String::as_str));
        let next = next_of(query.get("next"));
        let session = request.cookie(COOKIE).map(crypto::hash);
        let pending: Option<String> = match &session {
            None => None,
            Some(hash) => {
                let query = "SELECT pending FROM ak_session WHERE token_hash = $1";
                let row = self.database.with(|client| client.query_opt(query, &[hash]))?;
                row.and_then(|row| row.get(0))
            }
        };
        let signed_in = self.signed_in(request)?.is_some();
        let object = request.object().unwrap_or_default();
        let field = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
        match (request.method.as_str(), pending, signed_in) {
            ("GET", None, true) => Ok(challenge("xak-flow-redirect", json!({"to": next}))),
            ("GET", None, false) => Ok(identification(json!({}))),
            ("GET", Some(user), _) => Ok(password(&user, json!({}))),
            ("POST", None, _) if field("uid_field").is_empty() => {
                Ok(identification(wrong("uid_field", "This field may not be blank.", "blank")))
            }
            ("POST", None, _) => {
                let token = crypto::random_hex::<32>()?;
                let insert = "INSERT INTO ak_session (token_hash, pending) VALUES ($1, $2)";
                let values = (crypto::hash(&token), field("uid_field"));
                self.database.with(|client| client.execute(insert, &[&values.0, &values.1]))?;
                Ok(Reply::redirect(&request.target).with_cookie(COOKIE, &token, None))
            }
            ("POST", Some(user), _) => match self.check(&user, field("password"))? {
                Some(pk) => {
                    let delete = "DELETE FROM ak_session WHERE token_hash = $1";
                    self.database.with(|client| client.execute(delete, &[&session.unwrap_or_default()]))?;
                    Ok(self.begin_session(pk)?(Reply::redirect(&request.target)))
                }
                None => Ok(password(&user, wrong("password", "Invalid password", "invalid"))),
            },
            _ => Ok(Reply::empty(405)),
        }
    }

    /// The user whose name and password these are.
    fn check(&self, name: &str, password: &str) -> Result<Option<i32>, String> {
        self.database.with(|client| {
            let query = "SELECT pk, username, salt, password_hash FROM ak_user \
                         WHERE username = $1 OR email = $1";
            let found = client.query_opt(query, &[&name])?;
            let user = found.filter(|row| password_hash(row.get(2), password) == row.get::<_, String>(3));
            let context = json!({"http_request": {"path": PAGE}});
            match &user {
                Some(row) => record(client, "login", row.get(1), &context)?,
                None => record(client, "login_failed", "AnonymousUser", &context)?,
            }
            Ok(user.map(|row| row.get(0)))
        })
    }

    fn begin_session(&self, user: i32) -> Result<impl Fn(Reply) -> Reply, String> {
        let token = crypto::random_hex::<32>()?;
        let insert = "INSERT INTO ak_session (token_hash, user_pk, signed_in) VALUES ($1, $2, now())";
        self.database.with(|client| client.execute(insert, &[&crypto::hash(&token), &user]))?;
        Ok(move |reply: Reply| reply.with_cookie(COOKIE, &token, None))
    }
}

/// Never off this server.
fn next_of(asked: Option<&String>) -> String {
    let here = asked.filter(|next| next.starts_with('/') && !next.starts_with("//"));
    here.cloned().unwrap_or_else(|| "/if/user/".to_owned())
}

fn page(next: &str, problem: &str) -> Reply {
    Reply::html(
        200,
        &format!(
            "<!doctype html><title>authentik</title><p role=alert>{problem}</p>\
             <form method=post action=\"{PAGE}?next={}\">\
             <input name=uidField autocomplete=username><input name=password type=password>\
             <button>Log in</button></form>",
            escaped(&encoded(next))
        ),
    )
}

fn challenge(component: &str, more: Value) -> Reply {
    let mut value = json!({
        "component": component,
        "flow_info": {"title": "Welcome to authentik!", "layout": "stacked", "cancel_url": "/flows/-/cancel/"},
        "response_errors": {},
    });
    if let (Some(map), Value::Object(more)) = (value.as_object_mut(), more) {
        map.extend(more);
    }
    Reply::json(200, &value)
}

fn identification(more: Value) -> Reply {
    let mut fields = json!({"user_fields": ["email", "username"], "password_fields": false});
    merge(&mut fields, more);
    challenge("ak-stage-identification", fields)
}

fn password(user: &str, more: Value) -> Reply {
    let mut fields = json!({"pending_user": user});
    merge(&mut fields, more);
    challenge("ak-stage-password", fields)
}

fn wrong(field: &str, text: &str, code: &str) -> Value {
    json!({"response_errors": {field: [{"string": text, "code": code}]}})
}

fn merge(into: &mut Value, more: Value) {
    if let (Some(map), Value::Object(more)) = (into.as_object_mut(), more) {
        map.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_off_this_server() {
        for odd in ["http://elsewhere/", "//elsewhere/", ""] {
            assert_eq!(next_of(Some(&odd.to_owned())), "/if/user/");
        }
        assert_eq!(next_of(Some(&"/a?b=c".to_owned())), "/a?b=c");
    }
}
