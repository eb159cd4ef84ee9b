//! How `psql` is reached on the host: in a container, in a service of a Compose project, or over a
//! socket. SQL goes in on its standard input, never in arguments.

use std::time::Duration;

use crate::module::Failure;
use crate::remote::{Command, Output};
use crate::source::Text;

/// Declares the `Args` of a Postgres module: its own arguments and those of the connection, and
/// `Args::connection`.
macro_rules! with_connection_args {
    ($(#[$meta:meta])* pub struct Args { $($fields:tt)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct Args {
            $($fields)*
            /// Database to connect to.
            #[serde(alias = "db", alias = "database")]
            pub login_db: Option<String>,
            /// Role to log in as. By default `$POSTGRES_USER` of the container, else `postgres`.
            pub login_user: Option<String>,
            /// Not supported: a password would have to be in the host's process environment.
            pub login_password: Option<$crate::source::Text>,
            /// Host name, or the folder of the Unix socket.
            #[serde(alias = "host")]
            pub login_host: Option<String>,
            /// Folder of the Unix socket.
            #[serde(alias = "unix_socket")]
            pub login_unix_socket: Option<String>,
            #[serde(alias = "port")]
            pub login_port: Option<u16>,
            /// `SET ROLE` to this after logging in.
            pub session_role: Option<String>,
            /// Container that `psql` runs in (ours).
            pub container: Option<String>,
            /// Service of a Compose project that `psql` runs in (ours).
            pub service: Option<String>,
            /// The Compose project's folder, with `service` (ours).
            pub project_src: Option<String>,
            /// Accepted for Ansible's sake: names and values are always quoted here.
            #[serde(default)]
            pub trust_input: Option<bool>,
        }

        impl Args {
            /// The way to the server.
            fn connection(&self) -> $crate::module::postgresql::connection::Connection<'_> {
                $crate::module::postgresql::connection::Connection {
                    db: self.login_db.as_deref(),
                    user: self.login_user.as_deref(),
                    socket: self.login_unix_socket.as_deref().or(self.login_host.as_deref()),
                    port: self.login_port,
                    role: self.session_role.as_deref(),
                    container: self.container.as_deref(),
                    service: self.service.as_deref(),
                    project: self.project_src.as_deref(),
                    has_password: self.login_password.is_some(),
                }
            }
        }
    };
}
pub(crate) use with_connection_args;

/// The way to one server.
#[derive(Debug, Clone, Default)]
pub struct Connection<'a> {
    pub db: Option<&'a str>,
    pub user: Option<&'a str>,
    pub socket: Option<&'a str>,
    pub port: Option<u16>,
    pub role: Option<&'a str>,
    pub container: Option<&'a str>,
    pub service: Option<&'a str>,
    pub project: Option<&'a str>,
    pub has_password: bool,
}

const TIMEOUT: Duration = Duration::from_secs(120);

/// Nothing of the session's SQL is written to the server's log, its activity view or its statement
/// statistics, as far as the server has such settings and the role may set them (superusers may).
/// The statement itself holds no secret. Terse, because the context of an error inside `DO` quotes
/// the statement.
const QUIET: &str = "SELECT count(pg_catalog.set_config(s.name, v.value, false)) \
FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'), \
('log_min_duration_sample', '-1'), ('log_transaction_sample_rate', '0'), ('log_duration', 'off'), \
('log_min_error_statement', 'panic'), ('log_error_verbosity', 'terse'), ('track_activities', 'off'), \
('pg_stat_statements.track', 'none')) AS v(name, value) \
JOIN pg_catalog.pg_settings AS s ON s.name = v.name \
WHERE pg_catalog.current_setting('is_superuser') = 'on' \\g /dev/null\n";

impl Connection<'_> {
    /// What is wrong with the arguments of the connection.
    ///
    /// # Errors
    /// The sentence to show.
    pub fn check(&self) -> Result<(), String> {
        if self.has_password {
            return Err("login_password is not supported: it would show in the host's processes; \
use the server's Unix socket (in its container: container or service), or a ~/.pgpass of the login user"
                .into());
        }
        if self.container.is_some() && self.service.is_some() {
            return Err("parameters are mutually exclusive: container|service".into());
        }
        if self.project.is_some() != self.service.is_some() {
            return Err("parameters are required together: service, project_src".into());
        }
        Ok(())
    }

    /// `psql` that reads `sql`. With `secret`, the server keeps it out of its records and the text
    /// counts as Secret here.
    ///
    /// # Errors
    /// The session role can't be a name.
    pub fn psql(&self, sql: &str, secret: bool) -> Result<Command, String> {
        let mut script = String::new();
        if secret {
            script.push_str(QUIET);
        }
        if let Some(role) = self.role {
            script.push_str(&format!("SET ROLE {};\n", super::quote::identifier(role)?));
        }
        script.push_str(sql);
        script.push('\n');
        let script = if secret { Text::secret(script) } else { Text::new(script) };
        Ok(self.command().stdin(script).timeout(TIMEOUT))
    }

    fn command(&self) -> Command {
        let inside = self.container.is_some() || self.service.is_some();
        // Terse: an error otherwise quotes the line it is about, which can hold a verifier.
        let mut psql: Vec<String> = ["psql", "-X", "-w", "-q", "-A", "-t"].map(String::from).into();
        for variable in ["ON_ERROR_STOP=1", "VERBOSITY=terse", "SHOW_CONTEXT=never"] {
            psql.extend(["-v".to_string(), variable.to_string()]);
        }
        let mut option = |flag: &str, value: Option<String>| {
            psql.extend(value.into_iter().flat_map(|v| [flag.to_string(), v]));
        };
        option("-h", self.socket.map(String::from));
        option("-p", self.port.map(|p| p.to_string()));
        option("-U", self.user.map(String::from).or((!inside).then(|| "postgres".to_string())));
        option("-d", self.db.map(String::from).or((!inside).then(|| "postgres".to_string())));
        if !inside {
            return Command::argv(psql.iter().map(String::as_str));
        }
        // The official image's role and database are named by its environment.
        let mut script = String::from("PGCONNECT_TIMEOUT=20; export PGCONNECT_TIMEOUT; exec \"$@\"");
        if self.user.is_none() {
            script.push_str(" -U \"${POSTGRES_USER:-postgres}\"");
        }
        if self.db.is_none() {
            script.push_str(" -d \"${POSTGRES_DB:-${POSTGRES_USER:-postgres}}\"");
        }
        let way: Vec<&str> = match (self.container, self.service) {
            (Some(container), _) => vec!["docker", "exec", "-i", container],
            (None, service) => vec!["docker", "compose", "exec", "-T", service.unwrap_or_default()],
        };
        let shell = ["sh", "-c", &script, "sh"];
        let command = Command::argv(way.into_iter().chain(shell).chain(psql.iter().map(String::as_str)));
        match self.project {
            Some(dir) => command.chdir(dir),
            None => command,
        }
    }
}

/// The message by which our own SQL says that it found something else than was planned.
pub const CONFLICT: &str = "seqn-play: changed by somebody else since it was looked at";

/// What a `psql` printed, or why it failed.
///
/// # Errors
/// It exited with another status than 0; the message is the server's first.
pub fn answer(output: &Output, doing: &str) -> Result<String, Failure> {
    if output.success() {
        return Ok(output.stdout_text());
    }
    let stderr = output.stderr_text();
    let said = stderr.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("no reason was given");
    let failure = Failure::new(format!("could not {doing}: {said}"));
    Err(if stderr.contains(CONFLICT) {
        failure.help("nothing was changed; run again to plan from what is there now")
    } else if stderr.contains("permission denied") && stderr.contains("pg_authid") {
        failure.help("log in as a superuser: stored passwords can be seen by nobody else")
    } else if stderr.contains("fe_sendauth") || stderr.contains("password authentication failed") {
        failure.help("use the server's Unix socket, in its container: container or service")
    } else if output.status == 127 {
        failure
            .help("psql (or docker) isn't there for this user; container or service run it in the container")
    } else {
        failure
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Program;

    fn argv(connection: &Connection) -> String {
        let command = connection.psql("SELECT 1;", false).unwrap();
        match command.program {
            Program::Argv(argv) => argv.iter().map(|a| format!("{a:?}")).collect::<Vec<_>>().join(" "),
            Program::Shell { .. } => "shell".into(),
        }
    }

    #[test]
    fn ways_to_the_server() {
        let socket = argv(&Connection { socket: Some("/run/pg"), port: Some(5433), ..Default::default() });
        assert!(socket.contains(r#""-h" "/run/pg" "-p" "5433" "-U" "postgres" "-d" "postgres""#), "{socket}");
        let container = argv(&Connection { container: Some("db"), ..Default::default() });
        assert!(container.starts_with(r#""docker" "exec" "-i" "db" "sh" "-c""#), "{container}");
        assert!(container.contains("${POSTGRES_USER:-postgres}"), "{container}");
        let named =
            argv(&Connection { container: Some("db"), user: Some("u"), db: Some("d"), ..Default::default() });
        assert!(named.ends_with(r#""-U" "u" "-d" "d""#) && !named.contains("POSTGRES_USER"), "{named}");
        let service = argv(&Connection { service: Some("db"), project: Some("/srv"), ..Default::default() });
        assert!(service.starts_with(r#""docker" "compose" "exec" "-T" "db""#), "{service}");
    }

    #[test]
    fn arguments_that_dont_go_together() {
        let both = Connection { container: Some("a"), service: Some("b"), ..Default::default() };
        assert!(both.check().unwrap_err().contains("mutually exclusive"));
        let alone = Connection { service: Some("b"), ..Default::default() };
        assert!(alone.check().unwrap_err().contains("required together"));
    }
}
