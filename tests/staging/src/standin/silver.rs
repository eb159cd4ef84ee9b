//! silver-auth-api: health, configuration, and a login that ends in an opaque session.

use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use postgres::Config;
use serde_json::json;
use sha2::{Digest, Sha256};
use tiny_http::Method;

use crate::database::Database;
use crate::http::{self, Reply, Request};
use crate::{log, required};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS app_setting (key text PRIMARY KEY, value text NOT NULL);
    CREATE TABLE IF NOT EXISTS app_user (
        name text PRIMARY KEY, salt text NOT NULL, password_hash text NOT NULL);
    CREATE TABLE IF NOT EXISTS app_session (
        token_hash text PRIMARY KEY, name text NOT NULL REFERENCES app_user,
        made timestamptz NOT NULL DEFAULT now());
    INSERT INTO app_setting VALUES ('service', 'silver-auth'), ('login', 'password')
        ON CONFLICT DO NOTHING;";

const LOGIN_FORM: &str = "<!doctype html><title>Sign in</title><form method=post action=/login>\
    <input name=user autocomplete=username><input name=password type=password>\
    <button>Sign in</button></form>";

const COOKIE: &str = "silver_session";

struct Silver {
    database: Database,
    session_secret: String,
    oidc_client_id: String,
    /// Set once the schema is there, which is made with the plain password variable.
    migrated: OnceLock<()>,
}

pub fn run() -> Result<(), String> {
    let url = required("SILVER_DATABASE_URL")?;
    let config: Config = url.parse().map_err(|_| "SILVER_DATABASE_URL is not a Postgres URL".to_owned())?;
    // As in the real service, migrations log in with the plain password and requests with the
    // URL, so that a rotation must get both right.
    let mut plain = config.clone();
    plain.password(required("SILVER_POSTGRES_PASSWORD")?);
    let migration = Database::new(&plain, "silver-auth-api-migrate")?;
    let seed = (required("SEED_LOGIN_USER")?, required("SEED_LOGIN_PASSWORD")?);
    required("OIDC_CLIENT_SECRET")?;
    required("AUTHENTIK_API_TOKEN")?;

    let silver: &'static Silver = Box::leak(Box::new(Silver {
        database: Database::new(&config, "silver-auth-api")?,
        session_secret: required("SESSION_SECRET")?,
        oidc_client_id: required("OIDC_CLIENT_ID")?,
        migrated: OnceLock::new(),
    }));
    thread::spawn(move || {
        while let Err(error) = migrate(&migration, &seed) {
            log(&format!("migration: {error}"));
            thread::sleep(Duration::from_secs(1));
        }
        let _ = silver.migrated.set(());
        log("migration: done");
    });
    http::serve(&required("LISTEN")?, |request| silver.answer(request))
}

fn migrate(database: &Database, (user, password): &(String, String)) -> Result<(), String> {
    let salt = random_hex()?;
    let hash = password_hash(&salt, password);
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
    fn answer(&self, request: &Request) -> Reply {
        let result = match (&request.method, request.path.as_str()) {
            (Method::Get | Method::Head, "/healthz") => self.health(),
            (Method::Get, "/v1/config") => self.config(),
            (Method::Get, "/v1/me") => self.me(request),
            (Method::Get, "/") => self.home(request),
            (Method::Get, "/login") => Ok(Reply::html(200, LOGIN_FORM)),
            (Method::Post, "/login") => self.login(request),
            _ => Ok(Reply::not_found()),
        };
        result.unwrap_or_else(|why| {
            log(&format!("{} {}: {why}", request.method, request.path));
            Reply::json(503, &json!({"error": "database_unavailable"}))
        })
    }

    fn health(&self) -> Result<Reply, String> {
        if self.migrated.get().is_none() {
            return Ok(Reply::json(503, &json!({"status": "migrating"})));
        }
        self.database.works()?;
        Ok(Reply::json(200, &json!({"status": "ok"})))
    }

    fn config(&self) -> Result<Reply, String> {
        let rows = self
            .database
            .with(|client| client.query("SELECT key, value FROM app_setting ORDER BY key", &[]))?;
        let mut config = serde_json::Map::new();
        for row in rows {
            config.insert(row.get(0), json!(row.get::<_, String>(1)));
        }
        config.insert("oidc_client_id".to_owned(), json!(self.oidc_client_id));
        Ok(Reply::json(200, &config.into()))
    }

    fn home(&self, request: &Request) -> Result<Reply, String> {
        Ok(match self.signed_in(request)? {
            Some(_) => Reply::html(200, "<!doctype html><title>SEQN</title>Signed in."),
            None => Reply::redirect("/login"),
        })
    }

    fn me(&self, request: &Request) -> Result<Reply, String> {
        Ok(match self.signed_in(request)? {
            Some(user) => Reply::json(200, &json!({"user": user})),
            None => Reply::json(401, &json!({"error": "unauthenticated"})),
        })
    }

    fn login(&self, request: &Request) -> Result<Reply, String> {
        let form = request.form();
        let (Some(user), Some(password)) = (form.get("user"), form.get("password")) else {
            return Ok(Reply::json(400, &json!({"error": "user_and_password_required"})));
        };
        let row = self.database.with(|client| {
            client.query_opt("SELECT salt, password_hash FROM app_user WHERE name = $1", &[user])
        })?;
        let right = row.is_some_and(|row| password_hash(row.get(0), password) == row.get::<_, String>(1));
        if !right {
            return Ok(Reply::json(401, &json!({"error": "invalid_credentials"})));
        }
        let token = random_hex()?;
        let hash = self.token_hash(&token);
        self.database.with(|client| {
            client.execute("INSERT INTO app_session (token_hash, name) VALUES ($1, $2)", &[&hash, user])
        })?;
        let cookie = format!("{COOKIE}={token}; Path=/; HttpOnly; SameSite=Lax");
        Ok(Reply::json(200, &json!({"user": user})).with("Set-Cookie", &cookie))
    }

    fn signed_in(&self, request: &Request) -> Result<Option<String>, String> {
        let Some(token) = request.cookie(COOKIE) else {
            return Ok(None);
        };
        let hash = self.token_hash(token);
        let row = self.database.with(|client| {
            client.query_opt("SELECT name FROM app_session WHERE token_hash = $1", &[&hash])
        })?;
        Ok(row.map(|row| row.get(0)))
    }

    /// Keyed, so that a new SESSION_SECRET ends every session.
    fn token_hash(&self, token: &str) -> String {
        // HMAC takes a key of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.session_secret.as_bytes()) else {
            return String::new();
        };
        mac.update(token.as_bytes());
        hex(&mac.finalize().into_bytes())
    }
}

fn password_hash(salt: &str, password: &str) -> String {
    hex(&Sha256::digest(format!("{salt}:{password}")))
}

fn random_hex() -> Result<String, String> {
    use std::io::Read;
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| format!("/dev/urandom: {error}"))?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
