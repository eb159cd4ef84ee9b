//! `seqn-standin`: the services that are private to SEQN, Authentik, and who consumes their
//! secrets, as far as a rotation can tell them apart from the real ones. Each really uses every
//! credential that it has; `CONTRACTS.md` says how.

mod authentik;
mod client;
mod consumer;
mod crypto;
mod database;
mod faults;
mod http;
mod silver;

use std::io::{Read, Write};
use std::process::ExitCode;

const USAGE: &str = "usage: seqn-standin silver-auth-api|authentik-server|authentik-worker
       seqn-standin backend|webhook-receiver NAME
       seqn-standin application|slots             in a backend, in a webhook receiver
       seqn-standin seed silver|authentik         JSON on stdin, see seed.rs of each
       seqn-standin probe http://HOST:PORT/PATH";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["silver-auth-api"] => silver::run(),
        ["authentik-server"] => authentik::run_server(),
        ["authentik-worker"] => authentik::run_worker(),
        ["backend", name] => consumer::run_backend(name),
        ["webhook-receiver", name] => consumer::run_receiver(name),
        ["application"] => consumer::show_application(),
        ["slots"] => consumer::show_slots(),
        ["seed", "silver"] => stdin().and_then(|text| silver::seed::run(&text)),
        ["seed", "authentik"] => stdin().and_then(|text| authentik::seed::run(&text)),
        ["probe", url] => client::probe(url),
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

fn say(line: &str) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|error| format!("stdout: {error}"))
}

fn stdin() -> Result<String, String> {
    let mut text = String::new();
    match std::io::stdin().read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("stdin: {error}")),
    }
}

fn required(key: &str) -> Result<String, String> {
    match std::env::var(key) {
        Ok(value) if !value.is_empty() => Ok(value),
        _ => Err(format!("{key} is not set")),
    }
}

/// Where a path of the container really is: where services run without a file system of their own,
/// `SEQN_STANDIN_MOUNTS` says what is mounted, as `/faults=/real/path`, separated by commas.
fn mounted(path: &str) -> std::path::PathBuf {
    let mounts = std::env::var("SEQN_STANDIN_MOUNTS").unwrap_or_default();
    let found = mounts.split(',').filter_map(|mount| mount.split_once('=')).find_map(|(target, source)| {
        let rest = path.strip_prefix(target)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{source}{rest}"))
    });
    found.unwrap_or_else(|| path.to_owned()).into()
}
