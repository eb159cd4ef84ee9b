//! A stand-in for `sudo` that asks for the password of `ops` as the real one does. It changes the
//! environment and not the user: the sandbox has only the one that raised it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::Result;

use super::USER;
use super::docker::Failure;
use super::docker::args::{Args, Flag};
use super::machine::Machine;
use super::process::MARK;
use super::sshd::{Sshd, sshd_record};
use crate::place::make_dir;

const TRIES: usize = 3;

const FLAGS: [Flag; 14] = [
    ("stdin", Some('S'), false),
    ("non-interactive", Some('n'), false),
    ("prompt", Some('p'), true),
    ("user", Some('u'), true),
    ("set-home", Some('H'), false),
    ("preserve-env", Some('E'), false),
    ("reset-timestamp", Some('k'), false),
    ("remove-timestamp", Some('K'), false),
    ("validate", Some('v'), false),
    ("login", Some('i'), false),
    ("shell", Some('s'), false),
    ("version", Some('V'), false),
    ("list", Some('l'), false),
    ("bell", Some('B'), false),
];

fn refused(message: impl Into<String>) -> Failure {
    Failure { code: 1, message: message.into() }
}

/// Becomes the command when the password is right; it comes back only when something is wrong.
pub fn run(machine: &Machine, words: &[String]) -> Result<u8, Failure> {
    let args = Args::parse(words, &FLAGS, true).map_err(|odd| refused(odd.0))?;
    for flag in ["list", "bell", "preserve-env"] {
        if args.has(flag) {
            return Err(refused(format!("the sandbox has no --{flag}")));
        }
    }
    if args.has("version") {
        let _ = io::stdout().write_all(b"Sudo version 1.9.13 (sandbox)\n");
        return Ok(0);
    }
    let user = args.value("user").unwrap_or("root");
    if ![USER, "root"].contains(&user) {
        return Err(refused(format!("unknown user {user}")));
    }
    let mut rest = args.rest.iter().map(String::as_str).peekable();
    let mut variables = Vec::new();
    while let Some((key, value)) = rest.peek().and_then(|word| word.split_once('=')) {
        variables.push((key, value));
        rest.next();
    }
    let mut command: Vec<&str> = rest.collect();
    let as_shell = args.has("login") || args.has("shell");
    let line;
    if as_shell {
        line = command.join(" ");
        command = match line.is_empty() {
            true => vec!["/bin/sh"],
            false => vec!["/bin/sh", "-c", &line],
        };
    }
    if command.is_empty() && args.has("remove-timestamp") {
        return Ok(0);
    }
    if command.is_empty() && !args.has("validate") {
        // Nothing is remembered from one call to the next, so there is nothing to forget.
        return match args.has("reset-timestamp") {
            true => Ok(0),
            false => Err(refused("usage: sudo [-HiknSsv] [-p prompt] [-u user] [VAR=value] command")),
        };
    }

    let record = fs::read_to_string(sshd_record(&machine.dir)).map_err(anyhow::Error::from)?;
    let sshd: Sshd = serde_json::from_str(&record).map_err(anyhow::Error::from)?;
    ask(&args, user, &sshd.password)?;
    let Some((program, arguments)) = command.split_first() else {
        return Ok(0);
    };

    let home = sshd.home.with_file_name(user);
    make_dir(&home, 0o700)?;
    let kept = ["TERM", "LANG", "LC_ALL", "DISPLAY", "PATH", "XDG_CACHE_HOME", MARK];
    let kept = kept.iter().filter_map(|key| Some((*key, std::env::var_os(key)?)));
    let mut inner = Command::new(program);
    inner
        .args(arguments)
        .env_clear()
        .envs(kept)
        .env("HOME", &home)
        .env("USER", user)
        .env("LOGNAME", user)
        .env("SHELL", "/bin/sh")
        .env("SUDO_USER", USER)
        .env("SUDO_COMMAND", command.join(" "))
        .envs(variables);
    if args.has("login") {
        inner.current_dir(&home);
    }
    let error = inner.exec();
    Err(match error.kind() {
        io::ErrorKind::NotFound => refused(format!("{program}: command not found")),
        _ => refused(format!("unable to execute {program}: {error}")),
    })
}

fn ask(args: &Args, user: &str, password: &str) -> Result<(), Failure> {
    if args.has("non-interactive") {
        return Err(refused("a password is required"));
    }
    let prompt = args.value("prompt").unwrap_or("[sudo] password for %p: ");
    let prompt = prompt.replace("%p", USER).replace("%u", user);
    let mut terminal = None;
    if !args.has("stdin") {
        match File::options().read(true).write(true).open("/dev/tty") {
            Ok(tty) => terminal = Some(tty),
            Err(_) => {
                return Err(refused(
                    "a terminal is required to read the password; either use the -S option to \
                     read from standard input or configure an askpass helper\n\
                     sudo: a password is required",
                ));
            }
        }
    }
    for tried in 0..TRIES {
        let given = match &mut terminal {
            Some(tty) => on_terminal(tty, &prompt),
            None => on_stdin(&prompt),
        };
        match given.map_err(anyhow::Error::from)? {
            Some(given) if given == password.as_bytes() => return Ok(()),
            Some(_) if tried + 1 < TRIES => {
                let _ = io::stderr().write_all(b"Sorry, try again.\n");
            }
            Some(_) => {}
            None if tried == 0 => {
                return Err(refused("no password was provided\nsudo: a password is required"));
            }
            None => {
                let s = if tried == 1 { "" } else { "s" };
                return Err(refused(format!(
                    "no password was provided\nsudo: {tried} incorrect password attempt{s}"
                )));
            }
        }
    }
    Err(refused(format!("{TRIES} incorrect password attempts")))
}

fn on_stdin(prompt: &str) -> io::Result<Option<Vec<u8>>> {
    io::stderr().write_all(prompt.as_bytes())?;
    // Without a buffer, because what follows the line is the command's.
    use std::os::fd::FromRawFd;
    let mut stdin = std::mem::ManuallyDrop::new(unsafe { File::from_raw_fd(0) });
    line(&mut *stdin)
}

fn on_terminal(tty: &mut File, prompt: &str) -> io::Result<Option<Vec<u8>>> {
    let fd = tty.as_raw_fd();
    let mut shown: libc::termios = unsafe { std::mem::zeroed() };
    if unsafe { libc::tcgetattr(fd, &mut shown) } == -1 {
        return Err(io::Error::last_os_error());
    }
    let mut hidden = shown;
    hidden.c_lflag &= !libc::ECHO;
    unsafe { libc::tcsetattr(fd, libc::TCSAFLUSH, &hidden) };
    let given = tty.write_all(prompt.as_bytes()).and_then(|()| line(tty));
    unsafe { libc::tcsetattr(fd, libc::TCSAFLUSH, &shown) };
    tty.write_all(b"\n")?;
    given
}

/// One line without its end, or nothing at the end of the input.
fn line(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if from.read(&mut byte)? == 0 {
            return Ok((!line.is_empty()).then_some(line));
        }
        if byte[0] == b'\n' {
            return Ok(Some(line));
        }
        line.push(byte[0]);
    }
}
