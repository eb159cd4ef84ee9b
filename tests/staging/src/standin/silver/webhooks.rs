//! Webhook endpoints and what is sent to them, signed as Standard Webhooks say.

use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::Silver;
use super::console::{all, invalid, text, with};
use crate::client;
use crate::crypto;
use crate::database::Database;
use crate::http::{Answer, Reply, Request};

pub const SECRET_PREFIX: &str = "whsec_";

const ENDPOINT: &str = "json_build_object('id', id, 'project', project, 'url', url, \
    'description', description, 'secret', json_build_object('version', secret_version, \
    'last4', right(secret, 4), 'rotated_at', rfc3339(secret_rotated)))::text";

const DELIVERY: &str = "json_build_object('id', id, 'event_id', event_id, 'event_type', event_type, \
    'status', status, 'response_status', response_status, 'signature', signature, 'error', error, \
    'secret_version', secret_version, 'created_at', rfc3339(created), \
    'attempted_at', rfc3339(attempted))::text";

const EVENT: &str = "webhook.test";

/// A receiver says of it whether its signature fits, and does no more.
pub const PROBE: &str = "webhook.probe";

/// The value of `webhook-signature`; none where the secret is none.
pub fn signature(secret: &str, id: &str, timestamp: u64, body: &str) -> Option<String> {
    let key = crypto::from_base64(secret.strip_prefix(SECRET_PREFIX)?)?;
    let mac = crypto::hmac(&key, &format!("{id}.{timestamp}.{body}")).ok()?;
    Some(format!("v1,{}", crypto::base64(&mac)))
}

pub fn fresh_signing_secret() -> Result<String, String> {
    Ok(format!("{SECRET_PREFIX}{}", crypto::base64(&crypto::random::<32>()?)))
}

impl Silver {
    pub fn webhook_endpoints(&self, project: &str) -> Answer {
        let query = format!("SELECT {ENDPOINT} FROM webhook_endpoint WHERE project = $1 ORDER BY url");
        let rows = self.database.with(|client| client.query(&query, &[&project]))?;
        Ok(all("webhook_endpoints", rows.iter().map(|row| row.get(0))))
    }

    pub fn create_webhook_endpoint(&self, project: &str, object: &Map<String, Value>) -> Answer {
        let (url, description) = match (text(object, "url"), text(object, "description")) {
            (Ok(Some(url)), Ok(description)) => (url, description.unwrap_or_default()),
            (Err(refused), _) | (_, Err(refused)) => return Ok(refused),
            _ => return Ok(invalid("url is needed")),
        };
        if client::authority(url).is_err() {
            return Ok(invalid("url is no http:// URL"));
        }
        let (id, secret) = (format!("we_{}", crypto::random_letters(16)?), fresh_signing_secret()?);
        let insert = format!(
            "INSERT INTO webhook_endpoint (id, project, url, description, secret) \
             VALUES ($1, $2, $3, $4, $5) RETURNING {ENDPOINT}"
        );
        let row = self
            .database
            .with(|client| client.query_one(&insert, &[&id, &project, &url, &description, &secret]))?;
        Ok(Reply::json(201, &with(row.get(0), "signing_secret", &secret)))
    }

    pub fn webhook_endpoint(&self, request: &Request, id: &str, rest: &[&str]) -> Answer {
        let query = format!("SELECT {ENDPOINT} FROM webhook_endpoint WHERE id = $1");
        let Some(row) = self.database.with(|client| client.query_opt(&query, &[&id]))? else {
            return Ok(Reply::not_found());
        };
        match (request.method.as_str(), rest) {
            ("GET", []) => Ok(Reply::text_json(200, row.get(0))),
            ("DELETE", []) => {
                let delete = "DELETE FROM webhook_endpoint WHERE id = $1";
                self.database.with(|client| client.execute(delete, &[&id]))?;
                Ok(Reply::empty(204))
            }
            ("POST", ["secret", "rotate"]) => self.rotate_signing_secret(request, id),
            ("POST", ["test"]) => self.send_test(id),
            ("GET", ["deliveries"]) => {
                let limit = request.query.get("limit").map_or("20", String::as_str);
                let Some(limit) = limit.parse::<i64>().ok().filter(|limit| (1..=100).contains(limit)) else {
                    return Ok(invalid("limit is 1 to 100"));
                };
                let query = format!(
                    "SELECT {DELIVERY} FROM webhook_delivery WHERE endpoint = $1 ORDER BY number DESC LIMIT $2"
                );
                let rows = self.database.with(|client| client.query(&query, &[&id, &limit]))?;
                Ok(all("deliveries", rows.iter().map(|row| row.get(0))))
            }
            ("GET", ["deliveries", delivery]) => {
                let query =
                    format!("SELECT {DELIVERY} FROM webhook_delivery WHERE endpoint = $1 AND id = $2");
                let row = self.database.with(|client| client.query_opt(&query, &[&id, delivery]))?;
                Ok(row.map_or_else(Reply::not_found, |row| Reply::text_json(200, row.get(0))))
            }
            _ => Ok(Reply::not_found()),
        }
    }

    /// What is sent from now on is signed with the new one alone.
    fn rotate_signing_secret(&self, request: &Request, id: &str) -> Answer {
        let secret = fresh_signing_secret()?;
        let shown = "json_build_object('id', id, 'secret', json_build_object('version', secret_version, \
                     'last4', right(secret, 4), 'rotated_at', rfc3339(secret_rotated)))::text";
        let update = format!(
            "UPDATE webhook_endpoint SET secret = $2, secret_version = secret_version + 1, \
             secret_rotated = now() WHERE id = $1 RETURNING {shown}"
        );
        let row = self.database.with(|client| match request.disagree {
            true => client.query_one(&format!("SELECT {shown} FROM webhook_endpoint WHERE id = $1"), &[&id]),
            false => client.query_one(&update, &[&id, &secret]),
        })?;
        Ok(Reply::json(200, &with(row.get(0), "signing_secret", &secret)))
    }

    /// Whether a receiver accepts what is signed now, for a prober: 200, 502 where it doesn't, and 503 where
    /// it isn't there. Nothing is kept of it.
    pub fn probe_webhook(&self, endpoint: &str) -> Answer {
        let query = "SELECT url, secret FROM webhook_endpoint WHERE id = $1";
        let Some(row) = self.database.with(|client| client.query_opt(query, &[&endpoint]))? else {
            return Ok(Reply::not_found());
        };
        let (url, secret): (String, String) = (row.get(0), row.get(1));
        let event = format!("msg_{}", crypto::random_letters(16)?);
        Ok(match send(&url, &secret, &event, PROBE, &Value::Null) {
            Ok(answer) if (200..=299).contains(&answer.status) => {
                Reply::json(200, &json!({"signature": "accepted"}))
            }
            Ok(answer) => Reply::error(502, answer.json()["error"].as_str().unwrap_or("refused")),
            Err(_) => Reply::error(503, "unreachable"),
        })
    }

    fn send_test(&self, endpoint: &str) -> Answer {
        let delivery = format!("whd_{}", crypto::random_letters(16)?);
        let event = format!("msg_{}", crypto::random_letters(16)?);
        let insert = format!(
            "INSERT INTO webhook_delivery (id, endpoint, event_id, event_type) VALUES ($1, $2, $3, $4) \
             RETURNING {DELIVERY}"
        );
        let row = self
            .database
            .with(|client| client.query_one(&insert, &[&delivery, &endpoint, &event, &EVENT]))?;
        let database = self.database.clone();
        thread::spawn(move || {
            if let Err(why) = deliver(&database, &delivery) {
                crate::log(&format!("delivery {delivery}: {why}"));
            }
        });
        Ok(Reply::text_json(202, format!("{{\"delivery\":{}}}", row.get::<_, String>(0))))
    }
}

/// What the receiver of an endpoint says of an event that is signed as all are.
fn send(url: &str, secret: &str, event: &str, kind: &str, data: &Value) -> Result<client::Answer, String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let body = json!({"type": kind, "timestamp": now, "data": data}).to_string();
    let signature = signature(secret, event, now, &body).ok_or("the signing secret is damaged")?;
    let headers = [
        ("Content-Type", "application/json"),
        ("webhook-id", event),
        ("webhook-timestamp", &now.to_string()),
        ("webhook-signature", &signature),
    ];
    client::send("POST", url, &headers, &body)
}

/// Sends what is pending, and keeps what the receiver said.
fn deliver(database: &Database, delivery: &str) -> Result<(), String> {
    let query = "SELECT e.url, e.secret, e.secret_version, d.event_id FROM webhook_delivery d \
                 JOIN webhook_endpoint e ON e.id = d.endpoint WHERE d.id = $1";
    let row = database.with(|client| client.query_one(query, &[&delivery]))?;
    let (url, secret): (String, String) = (row.get(0), row.get(1));
    let (version, event): (i32, String) = (row.get(2), row.get(3));
    let (status, accepted, error) = match send(&url, &secret, &event, EVENT, &json!({"delivery": delivery})) {
        Ok(answer) => {
            let said = answer.json()["error"].as_str().map(ToOwned::to_owned);
            let accepted = match (answer.status, said.as_deref()) {
                (200..=299, _) => "accepted",
                (401, Some("invalid_signature")) => "rejected",
                _ => "unknown",
            };
            (Some(i32::from(answer.status)), accepted, said)
        }
        Err(why) => (None, "unknown", Some(why)),
    };
    let update = "UPDATE webhook_delivery SET status = $2, response_status = $3, signature = $4, error = $5, \
                  secret_version = $6, attempted = now() WHERE id = $1";
    let outcome = if accepted == "accepted" { "delivered" } else { "failed" };
    database.with(|client| {
        client.execute(update, &[&delivery, &outcome, &status, &accepted, &error, &version])
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the specification gives.
    #[test]
    fn signatures_are_those_of_standard_webhooks() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let body = r#"{"test": 2432232314}"#;
        let signed = signature(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
        assert_eq!(signature("MfKQ", "", 0, ""), None);
        let fresh = fresh_signing_secret().unwrap();
        assert!(signature(&fresh, "a", 0, "").is_some());
    }
}
