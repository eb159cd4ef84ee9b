//! One file per subcommand; the only code that knows clap.

mod adhoc;
mod audit;
mod console;
mod doc;
mod from_host;
mod hosts;
mod inventory;
mod lint;
mod overtaken;
mod playbook;
mod preview;
mod prune;
mod rehearse;
mod rehearsed;
mod resume;
mod rollback;
mod run_log;
mod runs;
mod secret;
mod session;
mod setup;
mod sources;
mod told;
mod vault;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;

/// Runs the program by the name it was called by: `seqn-play`, or one of Ansible's.
pub fn main(args: Vec<OsString>) -> ExitCode {
    crate::secret::harden_process();
    let called = args
        .first()
        .map(|name| Path::new(name).file_name().unwrap_or_default().to_string_lossy().into_owned());
    let code = match called.as_deref() {
        Some("ansible-playbook") => playbook(args, true),
        Some("ansible-inventory") => run_parsed::<inventory::Inventory>(args),
        Some("ansible-vault") => run_parsed::<vault::Vault>(args),
        Some("ansible") => run_parsed::<adhoc::AdHoc>(args),
        Some("ansible-doc") => run_parsed::<doc::Doc>(args),
        Some(other @ "ansible-config") => {
            setup::complain(&format!("seqn-play does not answer to the name '{other}' yet"));
            1
        }
        _ => ours(args),
    };
    ExitCode::from(code)
}

/// A command line that was parsed and can run.
pub trait Command: Parser {
    /// The exit code for a command line that can't be understood.
    const USAGE_ERROR: u8 = 2;

    /// Runs it; the result is the exit code.
    fn run(self) -> u8;
}

fn run_parsed<C: Command>(args: Vec<OsString>) -> u8 {
    parsed(args, C::run)
}

fn parsed<C: Command>(args: Vec<OsString>, run: impl FnOnce(C) -> u8) -> u8 {
    match C::try_parse_from(args) {
        Ok(command) => run(command),
        Err(error) => {
            // Help and versions are no errors; clap knows to which stream each goes.
            let code = if error.use_stderr() { C::USAGE_ERROR } else { 0 };
            match error.print() {
                Ok(()) => code,
                Err(_) => 1,
            }
        }
    }
}

/// `seqn-play PLAYBOOK…`, or a subcommand.
fn ours(args: Vec<OsString>) -> u8 {
    let first = args.get(1).map(|a| a.to_string_lossy().into_owned()).unwrap_or_default();
    let rest = || {
        let mut rest = args.clone();
        rest.remove(1);
        if let Some(name) = rest.first_mut() {
            *name = format!("seqn-play {first}").into();
        }
        rest
    };
    match first.as_str() {
        "run" => playbook(rest(), false),
        "rehearse" => parsed(rest(), |mut rehearse: rehearse::Rehearse| {
            rehearse.command = args.iter().skip(2).map(|a| a.to_string_lossy().into_owned()).collect();
            rehearse.run()
        }),
        "resume" => run_parsed::<resume::Resume>(rest()),
        "rollback" => run_parsed::<rollback::Rollback>(rest()),
        "runs" => run_parsed::<runs::Runs>(rest()),
        "doc" => run_parsed::<doc::Doc>(rest()),
        "adhoc" => run_parsed::<adhoc::AdHoc>(rest()),
        "lint" => run_parsed::<lint::Lint>(rest()),
        "secret" => run_parsed::<secret::SecretCommand>(rest()),
        "inventory" => run_parsed::<inventory::Inventory>(rest()),
        "vault" => run_parsed::<vault::Vault>(rest()),
        _ => playbook(args, false),
    }
}

fn playbook(args: Vec<OsString>, as_ansible: bool) -> u8 {
    let command = args.iter().skip(1).map(|a| a.to_string_lossy().into_owned()).collect();
    parsed(args, |mut parsed: playbook::Playbook| {
        parsed.as_ansible = as_ansible;
        parsed.command = command;
        parsed.run()
    })
}
