//! One session with Postgres, held open and made again when it is lost.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use postgres::config::Host;
use postgres::{Client, Config, NoTls};

pub struct Database {
    config: Config,
    session: Mutex<Option<Client>>,
}

impl Database {
    /// `application` is what `pg_stat_activity` shows.
    pub fn new(config: &Config, application: &str) -> Result<Database, String> {
        let mut config = rerouted(config)?;
        config
            .application_name(application)
            .connect_timeout(Duration::from_secs(2))
            .tcp_user_timeout(Duration::from_secs(3))
            .options("-c statement_timeout=2000");
        Ok(Database { config, session: Mutex::new(None) })
    }

    /// Logs in where no session is open, then runs `work` in it. A session that fails is dropped,
    /// so the next call logs in again with the password from the environment.
    pub fn with<T>(&self, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T, String> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if session.as_ref().is_some_and(Client::is_closed) {
            *session = None;
        }
        if session.is_none() {
            let client = self.config.connect(NoTls).map_err(|error| told(&error))?;
            crate::log("database: logged in");
            *session = Some(client);
        }
        let client = session.as_mut().ok_or("no session")?;
        let result = work(client).map_err(|error| told(&error));
        if let Err(error) = &result {
            crate::log(&format!("database: {error}"));
            *session = None;
        }
        result
    }

    pub fn works(&self) -> Result<(), String> {
        self.with(|client| client.simple_query("SELECT 1").map(drop))
    }
}

/// What the server or the network said, with its SQLSTATE; never a parameter.
fn told(error: &postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => {
            let cause = std::error::Error::source(error).map(ToString::to_string);
            match cause {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            }
        }
    }
}

/// Where services run without a network of their own, `SEQN_STANDIN_RESOLVE` says what their
/// peers' names mean: `silver-postgres:5432=127.0.0.1:41234`, separated by commas.
fn rerouted(config: &Config) -> Result<Config, String> {
    let Ok(routes) = std::env::var("SEQN_STANDIN_RESOLVE") else {
        return Ok(config.clone());
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        return Ok(config.clone());
    };
    let asked = format!("{host}:{port}");
    let found =
        routes.split(',').filter_map(|route| route.trim().split_once('=')).find(|(from, _)| *from == asked);
    let Some((_, to)) = found else {
        return Ok(config.clone());
    };
    let (host, port) = to
        .rsplit_once(':')
        .and_then(|(host, port)| Some((host, port.parse().ok()?)))
        .ok_or_else(|| format!("SEQN_STANDIN_RESOLVE: {to} is not HOST:PORT"))?;
    let mut fresh = Config::new();
    fresh.host(host).port(port);
    if let Some(user) = config.get_user() {
        fresh.user(user);
    }
    if let Some(password) = config.get_password() {
        fresh.password(password);
    }
    if let Some(name) = config.get_dbname() {
        fresh.dbname(name);
    }
    Ok(fresh)
}
