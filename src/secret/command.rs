//! Secrets that a program of the operator's machine prints: password managers, `sops`, `vault`.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};

use zeroize::Zeroizing;

use super::{Error, ErrorKind, Redactor, Secret, source};

/// The commands that were run, each once: asking a password manager for every host and task would
/// mean typing its passphrase as often.
#[derive(Default)]
pub struct Commands(Mutex<HashMap<String, Secret>>);

impl Commands {
    /// What `command` prints; the second time without running it. Others wait meanwhile, so that no
    /// two programs ask at one terminal.
    ///
    /// # Errors
    /// As [`run`]; a command that failed is tried again.
    pub fn secret(&self, command: &str, dir: &Path) -> Result<Secret, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = known.get(command) {
            return Ok(secret.clone());
        }
        let secret = run(command, dir)?;
        known.insert(command.to_string(), secret.clone());
        Ok(secret)
    }
}

/// Runs `command` in `dir` and gives what it prints, without one newline at its end. A shell runs
/// it only if it has a shell's syntax. Its standard input is our terminal, where a password manager
/// may ask, else nothing.
///
/// # Errors
/// It can't be started, fails (with what it says on standard error), or prints no text.
pub fn run(command: &str, dir: &Path) -> Result<Secret, Error> {
    let words = words(command)?;
    let Some((program, args)) = words.split_first() else {
        return Err(Error::refused("the command is empty"));
    };
    let stdin = if std::io::stdin().is_terminal() { Stdio::inherit() } else { Stdio::null() };
    let done = Command::new(program).args(args).current_dir(dir).stdin(stdin).output().map_err(|e| {
        let reason = match e.kind() {
            std::io::ErrorKind::NotFound => "there is no such program".to_string(),
            _ => e.to_string(),
        };
        Error::new(ErrorKind::Io, format!("{program} can't be started: {reason}"))
    })?;
    let Output { status, stdout, stderr } = done;
    let stdout = Zeroizing::new(stdout);
    if !status.success() {
        let code = status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"));
        return Err(Error::new(
            ErrorKind::Io,
            format!("{program} failed ({code}){}", reason(&stderr, &stdout)),
        ));
    }
    source::text(&stdout).map_err(|e| Error {
        message: format!("what {program} printed can't be used: {}{}", e.message, reason(&stderr, &stdout)),
        ..e
    })
}

/// The program and its arguments.
fn words(command: &str) -> Result<Vec<String>, Error> {
    let in_shell = || vec!["sh".to_string(), "-c".to_string(), command.to_string()];
    if has_shell_syntax(command) {
        return Ok(in_shell());
    }
    shell_words::split(command).map_err(|_| Error::refused("a quote in the command is not closed"))
}

/// Whether a shell would do more with `command` than split it into words. What stands in single
/// quotes is plain, in double quotes all but `$`, `` ` `` and `\`.
fn has_shell_syntax(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    // `NAME=value program`; `~` and `#` mean something at the start of a word.
    if first.contains('=') || first == "!" || command.split_whitespace().any(|w| w.starts_with(['~', '#'])) {
        return true;
    }
    let mut quote = None;
    let mut chars = command.trim().chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), _) => {}
            (_, '$' | '`') => return true,
            (_, '\\') => drop(chars.next()),
            (None, '\'' | '"') => quote = Some(c),
            (None, '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '{' | '\n') => return true,
            _ => {}
        }
    }
    false
}

/// What the program said of its failure. A program that shows on standard error what it printed
/// must not make us show it.
fn reason(stderr: &[u8], stdout: &[u8]) -> String {
    let hidden = Redactor::new();
    for line in String::from_utf8_lossy(stdout).lines() {
        hidden.register(line);
    }
    let said = String::from_utf8_lossy(stderr);
    match said.trim() {
        "" => String::new(),
        said => format!(": {}", hidden.redact(said)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(command: &str) -> String {
        run(command, Path::new("/"))
            .map_or_else(|e| e.message, |s| s.expose().unwrap_or_default().to_string())
    }

    #[test]
    fn what_needs_a_shell() {
        for plain in [
            "pass show x",
            "op read 'op://vault/a b/$x'",
            "op read \"op://vault/a*b/(c)\"",
            "sops -d --extract '[\"a\"]' f.yml",
            "a\\ b",
            "vault kv get -field=password secret/x",
        ] {
            assert!(!has_shell_syntax(plain), "{plain}");
        }
        for shell in [
            "pass x | head -1",
            "A=1 pass",
            "pass $X",
            "pass \"$X\"",
            "cat ~/x",
            "a;b",
            "a `b`",
            "ls *",
            "a\nb",
        ] {
            assert!(has_shell_syntax(shell), "{shell}");
        }
    }

    #[test]
    fn what_programs_print() {
        for (command, expected) in [
            ("printf 'a b\\n'", "a b"),
            ("printf '%s\\n\\n' x", "x\n"),
            ("pwd", "/"),
            ("echo a b | tr a-z A-Z", "A B"),
            ("no-such-program-here x", "no-such-program-here can't be started: there is no such program"),
            ("sh -c 'echo locked >&2; exit 3'", "sh failed (exit status 3): locked"),
            (
                "sh -c 'echo hunter2hunter2; echo got hunter2hunter2 >&2; exit 1'",
                "sh failed (exit status 1): got ********",
            ),
            ("true", "what true printed can't be used: it is empty"),
            ("echo 'x", "a quote in the command is not closed"),
            (" ", "the command is empty"),
        ] {
            assert_eq!(said(command), expected, "{command}");
        }
    }

    #[test]
    fn each_command_runs_once() {
        let dir = tempfile::tempdir().unwrap();
        let commands = Commands::default();
        for _ in 0..3 {
            let secret = commands.secret("echo x >> log; wc -l < log", dir.path()).unwrap();
            assert_eq!(secret.expose().map(str::trim), Some("1"));
        }
        commands.secret("sh -c 'test -e there && echo yes'", dir.path()).unwrap_err();
        std::fs::write(dir.path().join("there"), "").unwrap();
        commands.secret("sh -c 'test -e there && echo yes'", dir.path()).unwrap();
    }
}
