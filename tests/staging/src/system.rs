//! Running programs, and what the machine is.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Runs a program to its end and returns what it printed. An error shows the end of its stderr.
pub fn run(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {name}"))?;
    if !out.status.success() {
        bail!("{}", failure(command, &out.stderr, &out.stdout));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The same with something on its stdin.
pub fn feed(command: &mut Command, input: &str) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = spawned.with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read all says itself why.
        let _ = stdin.write_all(input.as_bytes());
    }
    let out = child.wait_with_output()?;
    if !out.status.success() {
        bail!("{}", failure(command, &out.stderr, &out.stdout));
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

pub fn program(name: &str, args: &[&str]) -> Result<String> {
    run(Command::new(name).args(args))
}

/// Where a program is in PATH, if it is.
pub fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
}

pub fn uid() -> Result<u32> {
    let me = std::fs::metadata("/proc/self").context("/proc is not mounted")?;
    Ok(me.uid())
}

/// A field of /etc/os-release, or nothing.
pub fn os_release(key: &str) -> Option<String> {
    let text = std::fs::read_to_string(Path::new("/etc/os-release")).ok()?;
    text.lines().find_map(|line| {
        let value = line.strip_prefix(key)?.strip_prefix('=')?;
        Some(value.trim_matches('"').to_owned())
    })
}

fn failure(command: &Command, stderr: &[u8], stdout: &[u8]) -> String {
    let words: Vec<_> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect();
    // Enough to know which command; the whole of a `docker run` would hide the reason.
    let line: String = words.join(" ").chars().take(120).collect();
    let said = if stderr.trim_ascii().is_empty() { stdout } else { stderr };
    let said = String::from_utf8_lossy(said);
    let tail: Vec<_> = said.trim().lines().rev().take(15).collect();
    let tail: Vec<_> = tail.into_iter().rev().collect();
    format!("`{line}` failed:\n{}", tail.join("\n"))
}
