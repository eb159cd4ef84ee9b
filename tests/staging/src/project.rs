//! The Compose project on the VPS: the same files for both kinds.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use crate::place::{make_dir, write_file, write_private};

const COMPOSE: &str = include_str!("../files/project/compose.yaml");
const BACKUP_LOCAL: &str = include_str!("../files/project/backup-local.sh");
const BACKUP_OFFSITE: &str = include_str!("../files/project/backup-offsite.sh");

pub const LOGIN_USER: &str = "canary@staging.invalid";

/// What differs between one VPS and the next, beside its secrets.
#[derive(Debug, Clone)]
pub struct Project {
    pub name: String,
    pub postgres_image: String,
    pub services_image: String,
    /// All on 127.0.0.1.
    pub api_port: u16,
    pub authentik_port: u16,
    pub silver_pg_port: u16,
    pub authentik_pg_port: u16,
    pub age_recipient: String,
}

/// The values of one `.env`, made fresh.
pub struct Secrets {
    pub silver_postgres: String,
    pub authentik_postgres: String,
    pub oidc_client: String,
    pub authentik_api: String,
    pub session: String,
    pub login: String,
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
        })
    }
}

impl Project {
    /// Writes `compose.yaml`, `.env`, the backup scripts and their directories.
    pub fn write(&self, dir: &Path, secrets: &Secrets) -> Result<()> {
        make_dir(dir, 0o755)?;
        for backups in ["backups/local", "backups/offsite"] {
            make_dir(&dir.join(backups), 0o700)?;
        }
        write_file(&dir.join("compose.yaml"), COMPOSE.as_bytes(), 0o644)?;
        write_file(&dir.join("backup-local.sh"), BACKUP_LOCAL.as_bytes(), 0o755)?;
        write_file(&dir.join("backup-offsite.sh"), BACKUP_OFFSITE.as_bytes(), 0o755)?;
        write_private(&dir.join(".env"), &self.env(secrets))
    }

    /// With the comments and the mixed quoting that a `.env` collects over the years, so that an
    /// editor of it has to cope.
    fn env(&self, secrets: &Secrets) -> String {
        format!(
            "\
# SEQN Auth (staging). Read by `docker compose` and by the backup scripts.
# Values are made fresh each time staging is raised.
COMPOSE_PROJECT_NAME={name}

# --- Databases ---------------------------------------------------------------
# After a change: ALTER ROLE in the database, then recreate what depends on it.
SILVER_POSTGRES_PASSWORD={silver}
AUTHENTIK_PG_PASS=\"{authentik}\"

# Holds the password a second time; keep it in step with SILVER_POSTGRES_PASSWORD.
SILVER_DATABASE_URL=postgres://silver:{silver}@silver-postgres:5432/silver

# --- silver-auth-api ---------------------------------------------------------
OIDC_CLIENT_ID=silver-auth
OIDC_CLIENT_SECRET='{oidc}'
AUTHENTIK_API_TOKEN={api_token}   # provisioning, see the runbook
# at least 32 characters
SESSION_SECRET=\"{session}\"
SEED_LOGIN_USER={login_user}
SEED_LOGIN_PASSWORD={login}

# --- Backups -----------------------------------------------------------------
# One recipient, or several separated by commas.
OFFSITE_BACKUP_AGE_RECIPIENT={age}
#OFFSITE_BACKUP_GPG_RECIPIENT=

# --- Images and ports --------------------------------------------------------
SEQN_POSTGRES_IMAGE={postgres_image}
SEQN_SERVICES_IMAGE={services_image}
SILVER_API_PORT={api_port}
AUTHENTIK_PORT={authentik_port}
SILVER_POSTGRES_PORT={silver_pg_port}
AUTHENTIK_PG_PORT={authentik_pg_port}
",
            name = self.name,
            silver = secrets.silver_postgres,
            authentik = secrets.authentik_postgres,
            oidc = secrets.oidc_client,
            api_token = secrets.authentik_api,
            session = secrets.session,
            login_user = LOGIN_USER,
            login = secrets.login,
            age = self.age_recipient,
            postgres_image = self.postgres_image,
            services_image = self.services_image,
            api_port = self.api_port,
            authentik_port = self.authentik_port,
            silver_pg_port = self.silver_pg_port,
            authentik_pg_port = self.authentik_pg_port,
        )
    }
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
