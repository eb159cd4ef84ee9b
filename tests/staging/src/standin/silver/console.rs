//! The console's API, for whoever administers projects. Secrets are told once, in the answer to what
//! made them.

use serde_json::{Map, Value, json};

use super::Silver;
use super::keys::fresh_secret_key;
use crate::crypto;
use crate::http::{Answer, Reply, Request};

const PROJECT: &str = "json_build_object('id', id, 'slug', slug, 'name', name, \
    'publishable_key', publishable_key, 'secret', json_build_object('version', secret_version, \
    'last4', secret_last4, 'rotated_at', rfc3339(secret_rotated)), 'provisioning', \
    json_build_object('status', provisioning, 'error', provisioning_error, \
    'updated_at', rfc3339(provisioned)))::text";

impl Silver {
    pub fn console(&self, request: &Request, rest: &[&str]) -> Answer {
        if !self.is_admin(request)? {
            return Ok(Reply::error(401, "unauthenticated"));
        }
        let Some(object) = request.object() else {
            return Ok(invalid("the body is no JSON object"));
        };
        match (request.method.as_str(), rest) {
            ("GET", ["errors"]) => self.errors(request),
            ("GET", ["projects"]) => self.projects(),
            ("POST", ["projects"]) => self.create_project(&object),
            (method, ["projects", project, rest @ ..]) => {
                let query = format!("SELECT id, slug, {PROJECT} FROM project WHERE id = $1 OR slug = $1");
                let row = self.database.with(|client| client.query_opt(&query, &[project]))?;
                let Some(row) = row else {
                    return Ok(Reply::not_found());
                };
                let (id, slug): (String, String) = (row.get(0), row.get(1));
                match (method, rest) {
                    ("GET", []) => Ok(Reply::text_json(200, row.get(2))),
                    ("PATCH", []) => self.change_project(&id, &object),
                    ("DELETE", []) => self.delete_project(&id, &slug),
                    ("POST", ["secret", "rotate"]) => self.rotate_project_secret(request, &id),
                    ("GET", ["webhook-endpoints"]) => self.webhook_endpoints(&id),
                    ("POST", ["webhook-endpoints"]) => self.create_webhook_endpoint(&id, &object),
                    _ => Ok(Reply::not_found()),
                }
            }
            (_, ["webhook-endpoints", endpoint, rest @ ..]) => self.webhook_endpoint(request, endpoint, rest),
            _ => Ok(Reply::not_found()),
        }
    }

    fn is_admin(&self, request: &Request) -> Result<bool, String> {
        let Some(token) = request.bearer() else {
            return Ok(false);
        };
        let query = "SELECT 1 FROM console_token WHERE token_hash = $1";
        let row = self.database.with(|client| client.query_opt(query, &[&crypto::hash(token)]))?;
        Ok(row.is_some())
    }

    fn projects(&self) -> Answer {
        let query = format!("SELECT {PROJECT} FROM project ORDER BY slug");
        let rows = self.database.with(|client| client.query(&query, &[]))?;
        Ok(all("projects", rows.iter().map(|row| row.get(0))))
    }

    fn create_project(&self, object: &Map<String, Value>) -> Answer {
        let (slug, name) = match (text(object, "slug"), text(object, "name")) {
            (Ok(Some(slug)), Ok(Some(name))) => (slug, name),
            (Err(refused), _) | (_, Err(refused)) => return Ok(refused),
            _ => return Ok(invalid("slug and name are needed")),
        };
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if slug.is_empty() || slug.len() > 60 || !slug.chars().all(plain) {
            return Ok(invalid("a slug is made of small letters, digits and hyphens, 60 at most"));
        }
        let secret = fresh_secret_key()?;
        let (id, public) = (
            format!("prj_{}", crypto::random_letters(16)?),
            format!("pk_live_{}", crypto::random_letters(32)?),
        );
        let insert = format!(
            "INSERT INTO project (id, slug, name, publishable_key, secret_hash, secret_last4) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING RETURNING {PROJECT}"
        );
        let row = self.database.with(|client| {
            client.query_opt(
                &insert,
                &[&id, &slug, &name, &public, &crypto::hash(&secret), &crypto::last4(&secret)],
            )
        })?;
        let Some(row) = row else {
            return Ok(Reply::error(409, "slug_taken"));
        };
        let _ = self.changed.send(());
        Ok(Reply::json(201, &with(row.get(0), "secret_key", &secret)))
    }

    fn change_project(&self, id: &str, object: &Map<String, Value>) -> Answer {
        if let Some(odd) = object.keys().find(|key| *key != "name") {
            return Ok(invalid(&format!("{odd} can't be changed")));
        }
        let name = match text(object, "name") {
            Ok(name) => name,
            Err(refused) => return Ok(refused),
        };
        let update = format!(
            "UPDATE project SET name = coalesce($2, name), generation = generation + 1, \
             provisioning = 'pending', provisioning_error = NULL, provisioned = now() \
             WHERE id = $1 RETURNING {PROJECT}"
        );
        let row = self.database.with(|client| client.query_one(&update, &[&id, &name]))?;
        let _ = self.changed.send(());
        Ok(Reply::text_json(200, row.get(0)))
    }

    fn delete_project(&self, id: &str, slug: &str) -> Answer {
        if let Err(code) = self.provisioner.remove(slug) {
            return Ok(Reply::error_because(502, "provisioning_failed", code));
        }
        self.database.with(|client| client.execute("DELETE FROM project WHERE id = $1", &[&id]))?;
        Ok(Reply::empty(204))
    }

    /// The old key is dead when this answers.
    fn rotate_project_secret(&self, request: &Request, id: &str) -> Answer {
        let secret = fresh_secret_key()?;
        let shown = "json_build_object('id', id, 'slug', slug, 'secret', json_build_object('version', \
                     secret_version, 'last4', secret_last4, 'rotated_at', rfc3339(secret_rotated)))::text";
        let update = format!(
            "UPDATE project SET secret_hash = $2, secret_last4 = $3, secret_version = secret_version + 1, \
             secret_rotated = now() WHERE id = $1 RETURNING {shown}"
        );
        let row = self.database.with(|client| match request.disagree {
            true => client.query_one(&format!("SELECT {shown} FROM project WHERE id = $1"), &[&id]),
            false => client.query_one(&update, &[&id, &crypto::hash(&secret), &crypto::last4(&secret)]),
        })?;
        Ok(Reply::json(200, &with(row.get(0), "secret_key", &secret)))
    }
}

/// The JSON of a row, and what only this answer tells.
pub fn with(row: &str, key: &str, value: &str) -> Value {
    let mut object: Value = serde_json::from_str(row).unwrap_or(Value::Null);
    object[key] = json!(value);
    object
}

/// A list of rows that are JSON.
pub fn all<'a>(key: &str, rows: impl Iterator<Item = &'a str>) -> Reply {
    let rows: Vec<&str> = rows.collect();
    Reply::text_json(200, format!("{{\"{key}\":[{}]}}", rows.join(",")))
}

pub fn invalid(reason: &str) -> Reply {
    Reply::error_because(400, "invalid_request", reason)
}

/// A field that is text where it is there.
pub fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Result<Option<&'a str>, Reply> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(invalid(&format!("{key} is no text"))),
    }
}
