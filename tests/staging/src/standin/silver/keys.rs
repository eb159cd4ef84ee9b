//! Project secret keys: what backends show, and how often it was the wrong one.

use serde_json::{Value, json};

use super::Silver;
use crate::crypto;
use crate::http::{Answer, Reply, Request};

pub const SECRET_PREFIX: &str = "sk_live_";

pub fn fresh_secret_key() -> Result<String, String> {
    Ok(format!("{SECRET_PREFIX}{}", crypto::random_letters(40)?))
}

impl Silver {
    /// Whose secret key this is.
    pub fn application(&self, request: &Request) -> Answer {
        let Some(key) = request.bearer() else {
            return self.refuse_key("missing_secret_key", request, "");
        };
        let query = "SELECT json_build_object('id', id, 'slug', slug, 'name', name, \
                     'publishable_key', publishable_key)::text FROM project WHERE secret_hash = $1";
        let row = self.database.with(|client| client.query_opt(query, &[&crypto::hash(key)]))?;
        match row.filter(|_| !request.disagree) {
            Some(row) => {
                Ok(Reply::text_json(200, format!("{{\"application\":{}}}", row.get::<_, String>(0))))
            }
            None => {
                let hint = key.strip_prefix(SECRET_PREFIX).map_or("", crypto::last4);
                self.refuse_key("invalid_secret_key", request, hint)
            }
        }
    }

    fn refuse_key(&self, code: &str, request: &Request, hint: &str) -> Answer {
        let insert = "INSERT INTO refused_key (code, path, key_hint) VALUES ($1, $2, $3)";
        self.database.with(|client| client.execute(insert, &[&code, &request.path, &hint]))?;
        crate::log(&format!("{} {}: {code} …{hint}", request.method, request.path));
        Ok(Reply::error(401, code))
    }

    /// How often, and when, a key was refused.
    pub fn errors(&self, request: &Request) -> Answer {
        let asked = |name: &str| request.query.get(name).map(String::as_str);
        let code = asked("code").unwrap_or("invalid_secret_key");
        let since = match asked("since") {
            None => "-infinity".to_owned(),
            Some(seconds) if !seconds.is_empty() && seconds.bytes().all(|c| c.is_ascii_digit()) => {
                seconds.to_owned()
            }
            Some(time) if time.len() >= 20 && time.bytes().all(|c| b"0123456789-:.TZ+".contains(&c)) => {
                time.to_owned()
            }
            Some(_) => return Ok(Reply::error_because(400, "invalid_request", "since is no time")),
        };
        let query = "WITH recent AS (SELECT * FROM refused_key WHERE code = $1 AND at > \
                         CASE WHEN $2::text ~ '^[0-9]+$' THEN now() - ($2::text || ' s')::interval \
                              ELSE $2::text::timestamptz END), \
                     newest AS (SELECT * FROM recent ORDER BY at DESC LIMIT 50) \
                     SELECT json_build_object('code', $1::text, \
                         'count', (SELECT count(*) FROM recent), \
                         'last_at', (SELECT rfc3339(max(at)) FROM recent), \
                         'errors', coalesce((SELECT json_agg(json_build_object('code', code, 'path', path, \
                             'key_hint', key_hint, 'at', rfc3339(at)) ORDER BY at DESC) FROM newest), '[]'))::text";
        let row = match self.database.with(|client| client.query_one(query, &[&code, &since])) {
            // The class of dates that are none.
            Err(why) if why.contains("(2200") => {
                return Ok(Reply::error_because(400, "invalid_request", "since is no time"));
            }
            row => row?,
        };
        let mut said: Value = serde_json::from_str(row.get(0)).unwrap_or(Value::Null);
        said["since"] = json!(asked("since"));
        Ok(Reply::json(200, &said))
    }
}
