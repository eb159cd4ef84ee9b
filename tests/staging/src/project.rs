//! The Compose project on the VPS: the same files for both kinds.

use std::path::Path;

use anyhow::Result;

use crate::place::{make_dir, write_file, write_private};
use crate::ports::Ports;
use crate::raised::Seqn;
use crate::secrets::Secrets;

const COMPOSE: &str = include_str!("../files/project/compose.yaml");
const BACKUP_LOCAL: &str = include_str!("../files/project/backup-local.sh");
const BACKUP_OFFSITE: &str = include_str!("../files/project/backup-offsite.sh");
const BACKUP_PRUNE: &str = include_str!("../files/project/backup-prune.sh");

pub const LOGIN_USER: &str = "canary@staging.invalid";

/// The services that can be told to.
pub const MISBEHAVING: [&str; 7] = [
    "silver-auth-api",
    "authentik-server",
    "authentik-worker",
    "shop-backend",
    "reports-backend",
    "shop-webhooks",
    "legacy-webhooks",
];

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
    pub shop_backend_port: u16,
    pub reports_backend_port: u16,
    pub shop_webhooks_port: u16,
    pub legacy_webhooks_port: u16,
    pub age_recipient: String,
}

impl Project {
    /// How many ports one takes, beside its sshd's.
    pub const PORTS: usize = 8;

    pub fn new(name: &str, images: (&str, &str), age_recipient: &str, ports: &mut Ports) -> Result<Project> {
        Ok(Project {
            name: name.to_owned(),
            postgres_image: images.0.to_owned(),
            services_image: images.1.to_owned(),
            api_port: ports.next()?,
            authentik_port: ports.next()?,
            silver_pg_port: ports.next()?,
            authentik_pg_port: ports.next()?,
            shop_backend_port: ports.next()?,
            reports_backend_port: ports.next()?,
            shop_webhooks_port: ports.next()?,
            legacy_webhooks_port: ports.next()?,
            age_recipient: age_recipient.trim().to_owned(),
        })
    }

    pub fn api_url(&self) -> String {
        url(self.api_port)
    }

    pub fn authentik_url(&self) -> String {
        url(self.authentik_port)
    }

    /// What an operator must know of what SEQN and its consumers are set up with.
    pub fn seqn(&self, secrets: &Secrets) -> Seqn {
        Seqn {
            console_url: format!("{}/v1/console", self.api_url()),
            console_token: secrets.console_token.clone(),
            authentik_admin_token: secrets.authentik_admin.clone(),
            project: secrets.project.clone(),
            canary_project: secrets.canary_project.clone(),
            shop_webhook_endpoint: secrets.shop_endpoint.clone(),
            legacy_webhook_endpoint: secrets.legacy_endpoint.clone(),
            shop_backend_url: url(self.shop_backend_port),
            reports_backend_url: url(self.reports_backend_port),
            shop_webhooks_url: url(self.shop_webhooks_port),
            legacy_webhooks_url: url(self.legacy_webhooks_port),
        }
    }

    /// Writes `compose.yaml`, `.env`, the consumers' stores, the backup scripts and their directories.
    pub fn write(&self, dir: &Path, secrets: &Secrets) -> Result<()> {
        make_dir(dir, 0o755)?;
        for backups in ["backups/local", "backups/offsite"] {
            make_dir(&dir.join(backups), 0o700)?;
        }
        make_dir(&dir.join("faults"), 0o755)?;
        write_file(&dir.join("compose.yaml"), COMPOSE.as_bytes(), 0o644)?;
        write_file(&dir.join("backup-local.sh"), BACKUP_LOCAL.as_bytes(), 0o755)?;
        write_file(&dir.join("backup-offsite.sh"), BACKUP_OFFSITE.as_bytes(), 0o755)?;
        write_file(&dir.join("backup-prune.sh"), BACKUP_PRUNE.as_bytes(), 0o755)?;
        for (file, content) in secrets.stores() {
            let path = dir.join("consumers").join(file);
            path.parent().map_or(Ok(()), |parent| make_dir(parent, 0o755))?;
            write_private(&path, &content)?;
        }
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
# What is older is removed by backup-prune.sh.
BACKUP_RETENTION_DAYS=30

# --- Images and ports --------------------------------------------------------
SEQN_POSTGRES_IMAGE={postgres_image}
SEQN_SERVICES_IMAGE={services_image}
SILVER_API_PORT={api_port}
AUTHENTIK_PORT={authentik_port}
SILVER_POSTGRES_PORT={silver_pg_port}
AUTHENTIK_PG_PORT={authentik_pg_port}
SHOP_BACKEND_PORT={shop_backend_port}
REPORTS_BACKEND_PORT={reports_backend_port}
SHOP_WEBHOOKS_PORT={shop_webhooks_port}
LEGACY_WEBHOOKS_PORT={legacy_webhooks_port}
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
            shop_backend_port = self.shop_backend_port,
            reports_backend_port = self.reports_backend_port,
            shop_webhooks_port = self.shop_webhooks_port,
            legacy_webhooks_port = self.legacy_webhooks_port,
        )
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
