//! `seqn-standin`: the services that are private to SEQN, as far as a rotation can tell them
//! apart from the real ones. They log in to a real Postgres with the password from their
//! environment, and are healthy only while that session works.

mod authentik;
mod database;
mod http;
mod silver;

use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: seqn-standin silver-auth-api|authentik-server|authentik-worker\n       \
                     seqn-standin probe http://HOST:PORT/PATH";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["silver-auth-api"] => silver::run(),
        ["authentik-server"] => authentik::run_server(),
        ["authentik-worker"] => authentik::run_worker(),
        ["probe", url] => http::probe(url),
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log(&error);
            ExitCode::FAILURE
        }
    }
}

/// One line in the container's log. Never give it a value from the environment.
fn log(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn required(key: &str) -> Result<String, String> {
    match std::env::var(key) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("{key} is not set")),
    }
}
