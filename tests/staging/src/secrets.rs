//! The secrets of one staging VPS, made fresh, and where they are at the beginning.

use std::fs::File;
use std::io::Read;

use anyhow::{Context, Result};
use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::place::hex;
use crate::project::{LOGIN_USER, Project};

pub struct Secrets {
    pub silver_postgres: String,
    pub authentik_postgres: String,
    pub oidc_client: String,
    pub authentik_api: String,
    pub session: String,
    /// Of the person who logs in, at silver-auth-api and at Authentik.
    pub login: String,
    /// Of the operator; the VPS has only its hash.
    pub console_token: String,
    /// Of the operator; on the VPS Authentik alone knows it.
    pub authentik_admin: String,
    pub project_secret: String,
    pub shop_signing: String,
    pub legacy_signing: String,
    /// Not secret, but made fresh like the rest.
    pub project: String,
    pub canary_project: String,
    pub shop_endpoint: String,
    pub legacy_endpoint: String,
}

impl Secrets {
    pub fn fresh() -> Result<Secrets> {
        Ok(Secrets {
            silver_postgres: random(40)?,
            authentik_postgres: random(40)?,
            oidc_client: random(64)?,
            authentik_api: random(60)?,
            session: random(48)?,
            login: random(24)?,
            console_token: random(48)?,
            authentik_admin: random(60)?,
            project_secret: secret_key()?,
            shop_signing: signing_secret()?,
            legacy_signing: signing_secret()?,
            project: format!("prj_{}", random(16)?),
            canary_project: format!("prj_{}", random(16)?),
            shop_endpoint: format!("we_{}", random(16)?),
            legacy_endpoint: format!("we_{}", random(16)?),
        })
    }

    /// The consumers' secret stores: path and content.
    pub fn stores(&self) -> [(&'static str, String); 4] {
        let shop_backend = format!(
            "# The shop's backend. Read when its container is made.\nSHOP_CURRENCY=EUR\nSEQN_SECRET_KEY={}\n",
            self.project_secret
        );
        let shop_webhooks = format!(
            "# The shop's webhook receiver: it accepts what either secret signed.\n\
             SEQN_WEBHOOK_SECRET={}\nSEQN_WEBHOOK_SECRET_PENDING=\n",
            self.shop_signing
        );
        [
            ("shop-backend/.env", shop_backend),
            ("reports-backend/secret-key", format!("{}\n", self.project_secret)),
            ("shop-webhooks/.env", shop_webhooks),
            ("legacy-webhooks/webhook-secret", format!("{}\n", self.legacy_signing)),
        ]
    }

    /// What Authentik is set up with, for `seqn-standin seed authentik`.
    pub fn authentik_seed(&self, project: &Project) -> Result<Value> {
        let provisioning = ["view_group", "add_group", "change_group", "delete_group"];
        let user = |name: &str, kind: &str, superuser: bool, password: &str| {
            json!({
                "username": name, "name": name, "type": kind, "superuser": superuser, "permissions": [],
                "email": if name.contains('@') { name.to_owned() } else { format!("{name}@staging.invalid") },
                "password": password,
            })
        };
        let mut service = user("silver-provisioning", "service_account", false, &random(40)?);
        service["permissions"] =
            provisioning.iter().map(|name| json!(format!("authentik_core.{name}"))).collect();
        Ok(json!({
            "users": [
                user("akadmin", "internal", true, &random(40)?),
                service,
                user(LOGIN_USER, "internal", false, &self.login),
            ],
            "tokens": [
                {"identifier": "rotation-operator", "user": "akadmin", "key": self.authentik_admin,
                    "description": "who rotates credentials"},
                {"identifier": "silver-auth-api", "user": "silver-provisioning", "key": self.authentik_api,
                    "description": "provisioning of projects"},
            ],
            "applications": [{
                "slug": "silver-auth", "client_id": "silver-auth", "client_secret": self.oidc_client,
                "redirect_uri": format!("{}/auth/callback", project.api_url()),
            }],
        }))
    }

    /// What the console is set up with, for `seqn-standin seed silver`.
    pub fn silver_seed(&self) -> Result<Value> {
        let endpoint = |id: &str, receiver: &str, secret: &str| {
            json!({"id": id, "url": format!("http://{receiver}:8080/webhook"), "description": receiver,
                "secret": secret})
        };
        Ok(json!({
            "console_token_hash": hex(&Sha256::digest(&self.console_token)),
            "projects": [
                {"id": self.project, "slug": "shop", "name": "Shop", "secret_key": self.project_secret,
                    "publishable_key": format!("pk_live_{}", random(32)?),
                    "webhook_endpoints": [
                        endpoint(&self.shop_endpoint, "shop-webhooks", &self.shop_signing),
                        endpoint(&self.legacy_endpoint, "legacy-webhooks", &self.legacy_signing),
                    ]},
                {"id": self.canary_project, "slug": "canary", "name": "Canary", "secret_key": secret_key()?,
                    "publishable_key": format!("pk_live_{}", random(32)?), "webhook_endpoints": []},
            ],
        }))
    }
}

fn secret_key() -> Result<String> {
    Ok(format!("sk_live_{}", random(40)?))
}

/// As Standard Webhooks want it: base64, so with `+`, `/` and `=`.
fn signing_secret() -> Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom").context("cannot read /dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("whsec_{}", base64::engine::general_purpose::STANDARD.encode(bytes)))
}

/// Letters and digits only, so that every reader of a `.env` reads the same.
pub fn random(length: usize) -> Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut source = File::open("/dev/urandom").context("cannot read /dev/urandom")?;
    let mut text = String::with_capacity(length);
    let mut bytes = [0; 64];
    while text.len() < length {
        source.read_exact(&mut bytes)?;
        // 248 is the largest multiple of 62: no letter comes up more often than another.
        let letters = bytes.iter().filter(|byte| **byte < 248);
        text.extend(letters.map(|byte| char::from(LETTERS[usize::from(*byte) % 62])));
    }
    text.truncate(length);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_values_are_long_plain_and_new() {
        let one = random(41).unwrap();
        assert_eq!(one.len(), 41);
        assert!(one.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(one, random(41).unwrap());
    }
}
