//! One session with Postgres, held open and made again when it is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postgres::config::Host;
use postgres::{Client, Config, NoTls};

/// For a server to answer at all.
const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub struct Database {
    config: Config,
    session: Arc<Mutex<Option<Client>>>,
}

impl Database {
    /// `application` is what `pg_stat_activity` shows.
    pub fn new(config: &Config, application: &str) -> Result<Database, String> {
        let mut config = rerouted(config)?;
        config
            .application_name(application)
            .connect_timeout(PATIENCE)
            .tcp_user_timeout(Duration::from_secs(3))
            // The server logs every statement; what it is given must not stand beside it.
            .options(
                "-c statement_timeout=2000 -c log_parameter_max_length=0 \
                 -c log_parameter_max_length_on_error=0",
            );
        Ok(Database { config, session: Arc::default() })
    }

    /// Logs in where no session is open, then runs `work` in it. A session that fails is dropped,
    /// so the next call logs in again with the password from the environment.
    pub fn with<T>(&self, work: impl FnOnce(&mut Client) -> Result<T, postgres::Error>) -> Result<T, String> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        // As pools do: whoever asks next is not told of a session that its server has left.
        if session.as_mut().is_some_and(|client| client.is_valid(PATIENCE).is_err()) {
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

/// The same where there is no network of its own.
fn rerouted(config: &Config) -> Result<Config, String> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let Some(Host::Tcp(host)) = config.get_hosts().first() else {
        return Ok(config.clone());
    };
    let asked = format!("{host}:{port}");
    let to = crate::client::routed(&asked);
    if to == asked {
        return Ok(config.clone());
    }
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
