//! Files of the host, searched there: only lines that match come back, inside SSH.

use super::{Args, Found, Place, complaint, shell};
use crate::module::Failure;
use crate::remote::{Command, Output};
use crate::source::Text;

/// One `grep` for all files, since its patterns can be read only once; a second batch would find
/// nothing and say nothing, so each batch announces itself. The value may stand far behind in a
/// long line; of that only the beginning comes back.
const GREP: &str = r#"echo batch:
text=; echo x | grep -a x >/dev/null 2>&1 && text=-a
LC_ALL=C grep $text -n -F -f - -- /dev/null "$@" | cut -c 1-4096
"#;

/// The status of `find` is of no use: it is non-zero when nothing matched.
const FIND: &str = r#"find -L "$@"; exit 0"#;

const BATCH: &str = "batch:";
const SKIPPED: &str = "skipped:";

/// What asks the host for every line of a file that holds one of `needles`.
pub fn question(args: &Args, needles: &[String]) -> Command {
    let mut words: Vec<String> = args.paths.clone();
    let mut push = |list: &[&str]| words.extend(list.iter().map(|w| w.to_string()));
    if !args.exclude.is_empty() {
        push(&["("]);
        for (number, path) in args.exclude.iter().enumerate() {
            if number > 0 {
                push(&["-o"]);
            }
            push(&["-path", &literal(path.trim_end_matches('/'))]);
        }
        push(&[")", "-prune", "-o"]);
    }
    let too_large = format!("+{}c", args.max_size);
    push(&["-type", "f", "(", "-size", &too_large, "-exec", "echo", SKIPPED, "{}", ";"]);
    push(&["-o", "-exec", "/bin/sh", "-c", GREP, "sh", "{}", "+", ")"]);
    let mut patterns = needles.join("\n");
    patterns.push('\n');
    shell(FIND, words).stdin(Text::secret(patterns))
}

/// A path that `find -path` takes as it is.
fn literal(path: &str) -> String {
    path.chars().fold(String::new(), |mut out, c| {
        if "*?[\\".contains(c) {
            out.push('\\');
        }
        out.push(c);
        out
    })
}

/// What was found, and the files that were too large.
///
/// # Errors
/// A place that couldn't be looked into: what may be there is then unknown.
pub fn read(output: &Output) -> Result<(Vec<Found>, Vec<String>), Failure> {
    let complaints = output.stderr_text();
    let complaints: Vec<&str> = complaints.lines().filter(|l| !l.trim().is_empty()).collect();
    if !complaints.is_empty() {
        return Err(Failure::new(format!("not everything could be searched: {}", complaint(output)))
            .help("use `become: true`, or name with `exclude` what need not be searched"));
    }
    let stdout = output.stdout_text();
    let (mut found, mut skipped, mut batches) = (Vec::new(), Vec::new(), 0);
    for line in stdout.lines() {
        if let Some(path) = line.strip_prefix(SKIPPED) {
            skipped.push(path.trim().to_string());
        } else if line == BATCH {
            batches += 1;
        } else if let Some(hit) = hit(line) {
            found.push(hit);
        } else {
            return Err(Failure::new("the host's grep answered in a way that isn't understood here"));
        }
    }
    if batches > 1 {
        return Err(Failure::new("there are more files than one search can hold")
            .help("narrow `paths`, or name with `exclude` what need not be searched"));
    }
    Ok((found, skipped))
}

/// `/path:12:KEY=value`
fn hit(line: &str) -> Option<Found> {
    if !line.starts_with('/') {
        return None;
    }
    let mut from = 0;
    loop {
        let colon = from + line[from..].find(':')?;
        let rest = &line[colon + 1..];
        if let Some((number, text)) = rest.split_once(':')
            && let Ok(number) = number.parse()
        {
            let place = Place::File { path: line[..colon].to_string(), line: number };
            return Some(Found { place, key: key(text) });
        }
        from = colon + 1;
    }
}

/// The name that is assigned on this line, in `.env`, YAML, TOML, ini or JSON.
fn key(line: &str) -> Option<String> {
    let line = line.trim_start().trim_start_matches("- ");
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, _) = line.split_once(['=', ':'])?;
    let name = name.trim().trim_matches('"');
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    plain.then(|| name.to_string())
}
