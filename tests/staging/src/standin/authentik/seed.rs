//! What an operator set up long ago in the real server.
//!
//! `{"users": [{"username", "name", "email", "type", "superuser", "permissions": [], "password"}],
//!   "tokens": [{"identifier", "user", "key", "description"}],
//!   "applications": [{"slug", "client_id", "client_secret", "redirect_uri"}]}`

use serde_json::Value;

use super::{database, password_hash};
use crate::crypto;

/// Once: what is there already stays as it is.
pub fn run(text: &str) -> Result<(), String> {
    let seed: Value = serde_json::from_str(text).map_err(|error| format!("the seed: {error}"))?;
    let database = database("authentik-seed")?;
    for user in list(&seed, "users")? {
        let (uuid, salt) = (crypto::uuid()?, crypto::random_hex::<16>()?);
        let hash = password_hash(&salt, text_of(user, "password")?);
        let permissions: Vec<&str> = list(user, "permissions")?.iter().filter_map(Value::as_str).collect();
        let insert = "INSERT INTO ak_user (uuid, username, name, email, type, is_superuser, permissions, salt, \
                      password_hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
        let [username, name, email, kind] = [
            text_of(user, "username")?,
            text_of(user, "name")?,
            text_of(user, "email")?,
            text_of(user, "type")?,
        ];
        let superuser = user["superuser"] == Value::Bool(true);
        let permissions = permissions.join(" ");
        database.with(|client| {
            client.execute(
                insert,
                &[&uuid, &username, &name, &email, &kind, &superuser, &permissions, &salt, &hash],
            )
        })?;
    }
    for token in list(&seed, "tokens")? {
        let pk = crypto::uuid()?;
        let insert = "INSERT INTO ak_token (pk, identifier, key, intent, user_pk, description, expires, expiring) \
                      SELECT $1, $2, $3, 'api', u.pk, $4, NULL, false FROM ak_user u WHERE u.username = $5 \
                      ON CONFLICT DO NOTHING";
        let [identifier, key] = [text_of(token, "identifier")?, text_of(token, "key")?];
        let [description, user] = [text_of(token, "description")?, text_of(token, "user")?];
        database.with(|client| client.execute(insert, &[&pk, &identifier, &key, &description, &user]))?;
    }
    for application in list(&seed, "applications")? {
        let insert = "WITH p AS (INSERT INTO ak_provider (name, client_id, client_secret, redirect_uri) \
                      VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING pk) \
                      INSERT INTO ak_application SELECT $1, $1, pk FROM p ON CONFLICT DO NOTHING";
        let [slug, id] = [text_of(application, "slug")?, text_of(application, "client_id")?];
        let [secret, uri] = [text_of(application, "client_secret")?, text_of(application, "redirect_uri")?];
        database.with(|client| client.execute(insert, &[&slug, &id, &secret, &uri]))?;
    }
    Ok(())
}

pub fn list<'a>(value: &'a Value, key: &str) -> Result<&'a [Value], String> {
    value[key].as_array().map(Vec::as_slice).ok_or_else(|| format!("the seed: {key} is no list"))
}

pub fn text_of<'a>(value: &'a Value, key: &str) -> Result<&'a str, String> {
    value[key].as_str().ok_or_else(|| format!("the seed: {key} is no text"))
}
