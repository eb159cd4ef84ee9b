//! The programs of a sandbox, in one file that answers to several names: `docker` and `sudo` for
//! whoever logs in, `psql` and its like inside a container, and the daemons behind them.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use staging::sandbox::docker::{self, Failure, supervise};
use staging::sandbox::machine::Machine;
use staging::sandbox::postgres::TOOLS;
use staging::sandbox::{client, sshd, sudo};

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let name = Path::new(&name).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words: Option<Vec<String>> = args.map(|arg| arg.into_string().ok()).collect();
    let Some(words) = words else {
        return failed(&name, &Failure { code: 2, message: "an argument is not UTF-8".to_owned() });
    };
    match run(&name, words) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failed(&name, &failure),
    }
}

fn failed(name: &str, failure: &Failure) -> ExitCode {
    // Docker says its errors without its name.
    let line = match name {
        "docker" => format!("{}\n", failure.message),
        _ => format!("{name}: {}\n", failure.message),
    };
    let _ = std::io::stderr().write_all(line.as_bytes());
    ExitCode::from(failure.code)
}

fn run(name: &str, words: Vec<String>) -> Result<u8, Failure> {
    if name == "docker" {
        // As any program of a pipeline: whoever stops reading ends it, without a word.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        return docker::run(Machine::of_this_program()?, &words);
    }
    if name == "sudo" {
        return sudo::run(&Machine::of_this_program()?, &words);
    }
    if TOOLS.contains(&name) {
        return Ok(client::run(&Machine::of_this_program()?, name, words)?);
    }
    Ok(daemon(&words)?)
}

fn daemon(words: &[String]) -> Result<u8> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["sshd", dir] => sshd::serve(Path::new(dir))?,
        ["supervise", dir, id] => supervise::run(Machine::load(Path::new(dir))?, id)?,
        _ => bail!("this program is started by `staging up --kind sandbox`"),
    }
    Ok(0)
}
