//! silver-auth-api: health, configuration, logins, the backends' application, and the console.

mod console;
mod keys;
mod oidc;
mod provisioning;
pub mod seed;
mod session;
mod webhooks;

use std::sync::OnceLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use postgres::Config;
use serde_json::json;

use self::provisioning::Provisioner;
pub use self::webhooks::{PROBE, signature};
use crate::database::Database;
use crate::http::{self, Answer, Reply, Request};
use crate::{crypto, log, required};

const SCHEMA: &str = r#"
    CREATE OR REPLACE FUNCTION rfc3339(at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
    CREATE TABLE IF NOT EXISTS app_setting (key text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE IF NOT EXISTS app_user (
        name text PRIMARY KEY, salt text NOT NULL, password_hash text NOT NULL);
    CREATE TABLE IF NOT EXISTS app_session (
        token_hash text PRIMARY KEY, name text NOT NULL REFERENCES app_user,
        made timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS console_token (token_hash text PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS project (
        id text PRIMARY KEY, slug text UNIQUE NOT NULL, name text NOT NULL,
        publishable_key text NOT NULL, secret_hash text NOT NULL, secret_last4 text NOT NULL,
        secret_version integer NOT NULL DEFAULT 1, secret_rotated timestamptz NOT NULL DEFAULT now(),
        generation integer NOT NULL DEFAULT 1, provisioning text NOT NULL DEFAULT 'pending',
        provisioning_error text, provisioned timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS webhook_endpoint (
        id text PRIMARY KEY, project text NOT NULL REFERENCES project ON DELETE CASCADE,
        url text NOT NULL, description text NOT NULL, secret text NOT NULL,
        secret_version integer NOT NULL DEFAULT 1, secret_rotated timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS webhook_delivery (
        number serial, id text PRIMARY KEY,
        endpoint text NOT NULL REFERENCES webhook_endpoint ON DELETE CASCADE,
        event_id text NOT NULL, event_type text NOT NULL, status text NOT NULL DEFAULT 'pending',
        response_status integer, signature text NOT NULL DEFAULT 'unknown', error text,
        secret_version integer, created timestamptz NOT NULL DEFAULT now(), attempted timestamptz);
    CREATE TABLE IF NOT EXISTS refused_key (
        code text NOT NULL, path text NOT NULL, key_hint text NOT NULL,
        at timestamptz NOT NULL DEFAULT now());
    INSERT INTO app_setting VALUES ('service', 'silver-auth'), ('login', 'password')
        ON CONFLICT DO NOTHING;
"#;

/// What makes cookies and session hashes worth anything.
const SESSION_SECRET_MIN: usize = 32;

struct Silver {
    database: Database,
    session_secret: String,
    client: oidc::Client,
    provisioner: Provisioner,
    /// Wakes whoever provisions projects.
    changed: Sender<()>,
    /// Set once the schema is there, which is made with the plain password variable.
    migrated: OnceLock<()>,
}

pub fn run() -> Result<(), String> {
    let config = config()?;
    // As in the real service, migrations log in with the plain password and requests with the
    // URL, so that a rotation must get both right.
    let mut plain = config.clone();
    plain.password(required("SILVER_POSTGRES_PASSWORD")?);
    let migration = Database::new(&plain, "silver-auth-api-migrate")?;
    let seed = (required("SEED_LOGIN_USER")?, required("SEED_LOGIN_PASSWORD")?);
    let session_secret = required("SESSION_SECRET")?;
    if session_secret.chars().count() < SESSION_SECRET_MIN {
        return Err(format!("SESSION_SECRET has fewer than {SESSION_SECRET_MIN} characters"));
    }
    let (changed, changes) = mpsc::channel();
    let silver: &'static Silver = Box::leak(Box::new(Silver {
        database: Database::new(&config, "silver-auth-api")?,
        session_secret,
        client: oidc::Client::from_environment()?,
        provisioner: Provisioner::from_environment()?,
        changed,
        migrated: OnceLock::new(),
    }));
    thread::spawn(move || {
        let mut pause = Duration::from_millis(50);
        while let Err(error) = migrate(&migration, &seed) {
            log(&format!("migration: {error}"));
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        let _ = silver.migrated.set(());
        log("migration: done");
        silver.provisioner.keep_up(&silver.database, &changes);
    });
    http::serve("silver-auth-api", &required("LISTEN")?, |request| silver.answer(request))
}

fn config() -> Result<Config, String> {
    let url = required("SILVER_DATABASE_URL")?;
    url.parse().map_err(|_| "SILVER_DATABASE_URL is not a Postgres URL".to_owned())
}

fn migrate(database: &Database, (user, password): &(String, String)) -> Result<(), String> {
    let salt = crypto::random_hex::<16>()?;
    let hash = session::password_hash(&salt, password);
    database.with(|client| {
        client.batch_execute(SCHEMA)?;
        client.execute(
            "INSERT INTO app_user VALUES ($1, $2, $3) ON CONFLICT (name) DO UPDATE \
             SET salt = excluded.salt, password_hash = excluded.password_hash",
            &[user, &salt, &hash],
        )
    })?;
    Ok(())
}

impl Silver {
    fn answer(&self, request: &Request) -> Answer {
        let parts = request.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["healthz"]) => self.health(),
            ("GET", ["v1", "config"]) => self.config(),
            ("GET", ["v1", "me"]) => self.me(request),
            ("GET", [""]) => self.home(request),
            ("GET", ["login"]) => Ok(Reply::html(200, session::LOGIN_FORM)),
            ("POST", ["login"]) => self.login(request),
            ("POST", ["logout"]) => self.logout(request),
            ("GET", ["auth", "login"]) => self.begin_login(request),
            ("GET", ["auth", "callback"]) => self.finish_login(request),
            ("GET", ["v1", "backend", "application"]) => self.application(request),
            ("GET", ["probe", "provisioning"]) => Ok(self.provisioner.probe()),
            ("GET", ["probe", "webhooks", endpoint]) => self.probe_webhook(endpoint),
            (_, ["v1", "console", rest @ ..]) => self.console(request, rest),
            _ => Ok(Reply::not_found()),
        }
    }

    fn health(&self) -> Answer {
        if self.migrated.get().is_none() {
            return Ok(Reply::json(503, &json!({"status": "migrating"})));
        }
        self.database.works()?;
        Ok(Reply::json(200, &json!({"status": "ok"})))
    }

    fn config(&self) -> Answer {
        let rows = self
            .database
            .with(|client| client.query("SELECT key, value FROM app_setting ORDER BY key", &[]))?;
        let mut config = serde_json::Map::new();
        for row in rows {
            config.insert(row.get(0), json!(row.get::<_, String>(1)));
        }
        config.insert("oidc_client_id".to_owned(), json!(self.client.id));
        Ok(Reply::json(200, &config.into()))
    }
}
