//! What an administrator set up long ago in the console.
//!
//! `{"console_token_hash", "projects": [{"id", "slug", "name", "publishable_key", "secret_key",
//!   "webhook_endpoints": [{"id", "url", "description", "secret"}]}]}`

use serde_json::Value;

use super::config;
use super::provisioning::Provisioner;
use crate::authentik::seed::{list, text_of};
use crate::crypto;
use crate::database::Database;

/// Once: what is there already stays as it is.
pub fn run(text: &str) -> Result<(), String> {
    let seed: Value = serde_json::from_str(text).map_err(|error| format!("the seed: {error}"))?;
    let database = Database::new(&config()?, "silver-auth-api-seed")?;
    let token = text_of(&seed, "console_token_hash")?;
    let insert = "INSERT INTO console_token VALUES ($1) ON CONFLICT DO NOTHING";
    database.with(|client| client.execute(insert, &[&token]))?;
    for project in list(&seed, "projects")? {
        let secret = text_of(project, "secret_key")?;
        let [id, slug] = [text_of(project, "id")?, text_of(project, "slug")?];
        let [name, public] = [text_of(project, "name")?, text_of(project, "publishable_key")?];
        let insert = "INSERT INTO project (id, slug, name, publishable_key, secret_hash, secret_last4) \
                      VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";
        let (hash, last4) = (crypto::hash(secret), crypto::last4(secret));
        database.with(|client| client.execute(insert, &[&id, &slug, &name, &public, &hash, &last4]))?;
        for endpoint in list(project, "webhook_endpoints")? {
            let [we, url] = [text_of(endpoint, "id")?, text_of(endpoint, "url")?];
            let [description, secret] = [text_of(endpoint, "description")?, text_of(endpoint, "secret")?];
            let insert = "INSERT INTO webhook_endpoint (id, project, url, description, secret) \
                          VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            database.with(|client| client.execute(insert, &[&we, &id, &url, &description, &secret]))?;
        }
    }
    match Provisioner::from_environment()?.provision(&database)? {
        true => Ok(()),
        false => Err("the projects are not provisioned".to_owned()),
    }
}
