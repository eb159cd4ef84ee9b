//! authentik-server and authentik-worker: an OAuth2/OIDC provider with a login page, and the part
//! of the admin API that rotations use, as authentik 2026.8 answers it.

mod api;
mod login;
mod oauth;
mod providers;
pub mod seed;
mod tokens;

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use postgres::{Client, Config};
use serde_json::Value;

use crate::database::Database;
use crate::http::{self, Answer, Reply, Request};
use crate::{crypto, log, required};

/// `now()` and what is written by it are in UTC everywhere.
const SCHEMA: &str = r#"
    SELECT pg_advisory_xact_lock(1);
    CREATE OR REPLACE FUNCTION rfc3339(at timestamptz) RETURNS text LANGUAGE sql IMMUTABLE AS
        $$ SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') $$;
    CREATE TABLE IF NOT EXISTS ak_user (
        pk serial PRIMARY KEY, uuid text NOT NULL, username text UNIQUE NOT NULL, name text NOT NULL,
        email text NOT NULL, type text NOT NULL, is_superuser boolean NOT NULL,
        permissions text NOT NULL, salt text NOT NULL, password_hash text NOT NULL,
        made timestamptz NOT NULL DEFAULT now());
    CREATE TABLE IF NOT EXISTS ak_token (
        pk text PRIMARY KEY, identifier text UNIQUE NOT NULL, key text UNIQUE NOT NULL,
        intent text NOT NULL, user_pk integer NOT NULL REFERENCES ak_user, description text NOT NULL,
        expires timestamptz, expiring boolean NOT NULL, creator integer);
    CREATE TABLE IF NOT EXISTS ak_provider (
        pk serial PRIMARY KEY, name text UNIQUE NOT NULL, client_id text UNIQUE NOT NULL,
        client_secret text NOT NULL, redirect_uri text NOT NULL);
    CREATE TABLE IF NOT EXISTS ak_application (
        slug text PRIMARY KEY, name text NOT NULL, provider integer NOT NULL REFERENCES ak_provider);
    CREATE TABLE IF NOT EXISTS ak_signing_key (one boolean PRIMARY KEY CHECK (one), scalar text NOT NULL);
    CREATE TABLE IF NOT EXISTS ak_session (
        token_hash text PRIMARY KEY, user_pk integer REFERENCES ak_user, pending text,
        signed_in timestamptz);
    CREATE TABLE IF NOT EXISTS ak_grant (
        code_hash text PRIMARY KEY, provider integer NOT NULL REFERENCES ak_provider,
        user_pk integer NOT NULL REFERENCES ak_user, redirect_uri text NOT NULL, nonce text,
        challenge text, method text, scope text NOT NULL, signed_in timestamptz NOT NULL,
        expires timestamptz NOT NULL);
    CREATE TABLE IF NOT EXISTS ak_access (
        token_hash text PRIMARY KEY, provider integer NOT NULL REFERENCES ak_provider,
        user_pk integer NOT NULL REFERENCES ak_user, scope text NOT NULL, expires timestamptz NOT NULL);
    CREATE TABLE IF NOT EXISTS ak_group (
        num_pk serial, pk text PRIMARY KEY, name text UNIQUE NOT NULL, attributes text NOT NULL);
    CREATE TABLE IF NOT EXISTS ak_event (
        pk text PRIMARY KEY, action text NOT NULL, username text NOT NULL, context text NOT NULL,
        created timestamptz NOT NULL DEFAULT now());
"#;

struct Server {
    database: Database,
    migrated: OnceLock<()>,
}

pub fn run_server() -> Result<(), String> {
    let server: &'static Server =
        Box::leak(Box::new(Server { database: database("authentik-server")?, migrated: OnceLock::new() }));
    thread::spawn(|| {
        let mut pause = Duration::from_millis(50);
        while let Err(error) = server.migrate() {
            log(&format!("migration: {error}"));
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        let _ = server.migrated.set(());
        log("migration: done");
    });
    http::serve("authentik-server", &required("LISTEN")?, |request| server.answer(request))
}

pub fn run_worker() -> Result<(), String> {
    let database = database("authentik-worker")?;
    http::serve("authentik-worker", &required("LISTEN")?, move |request| {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/-/health/ready/") => database.works().map(|()| Reply::empty(200)),
            _ => Ok(Reply::not_found()),
        }
    })
}

fn database(application: &str) -> Result<Database, String> {
    let mut config = Config::new();
    config
        .host(&required("AUTHENTIK_POSTGRESQL__HOST")?)
        .user(&required("AUTHENTIK_POSTGRESQL__USER")?)
        .dbname(&required("AUTHENTIK_POSTGRESQL__NAME")?)
        .password(required("AUTHENTIK_POSTGRESQL__PASSWORD")?);
    Database::new(&config, application)
}

impl Server {
    fn migrate(&self) -> Result<(), String> {
        let scalar = crypto::random_hex::<32>()?;
        self.database.with(|client| {
            client.batch_execute(SCHEMA)?;
            let insert = "INSERT INTO ak_signing_key VALUES (true, $1) ON CONFLICT DO NOTHING";
            client.execute(insert, &[&scalar])
        })?;
        Ok(())
    }

    fn answer(&self, request: &Request) -> Answer {
        let parts = request.parts();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match (request.method.as_str(), &parts[..]) {
            ("GET", ["-", "health", "live", ""]) => Ok(Reply::empty(200)),
            ("GET", ["-", "health", "ready", ""]) => self.ready(),
            ("GET", ["if", "admin", ""]) => {
                // Pages come from the database in the real server; they fail without it here too.
                self.database.works()?;
                Ok(Reply::redirect(&format!("{}?next=%2Fif%2Fadmin%2F", login::PAGE)))
            }
            (_, ["if", "flow", login::FLOW, ""]) => self.login_page(request),
            (_, ["api", "v3", "flows", "executor", login::FLOW, ""]) => self.login_step(request),
            ("GET", ["application", "o", "authorize", ""]) => self.authorize(request),
            ("POST", ["application", "o", "token", ""]) => self.token(request),
            ("GET" | "POST", ["application", "o", "userinfo", ""]) => self.userinfo(request),
            ("GET", ["application", "o", slug, ".well-known", "openid-configuration"]) => {
                self.discovery(request, slug)
            }
            ("GET", ["application", "o", slug, "jwks", ""]) => self.jwks(slug),
            (_, ["api", "v3", rest @ ..]) => self.api(request, rest),
            _ => Ok(Reply::not_found()),
        }
    }

    fn ready(&self) -> Answer {
        if self.migrated.get().is_none() {
            return Ok(Reply::error(503, "migrating"));
        }
        self.database.works()?;
        Ok(Reply::empty(200))
    }
}

/// What only who may see it is told of, and what is kept of it, as the real server's events.
fn record(client: &mut Client, action: &str, username: &str, context: &Value) -> Result<(), postgres::Error> {
    // A version 4 UUID, made where the row is.
    let insert = "INSERT INTO ak_event (pk, action, username, context) \
                  VALUES (gen_random_uuid()::text, $1, $2, $3)";
    client.execute(insert, &[&action, &username, &context.to_string()]).map(drop)
}

fn password_hash(salt: &str, password: &str) -> String {
    crypto::hash(&format!("{salt}:{password}"))
}
