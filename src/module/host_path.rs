//! Paths on a host, as Ansible's argument type `path` reads them.

use super::Failure;
use crate::remote::{Command, Stat, Target};

/// `path` with `~`, `~user`, `$NAME` and `${NAME}` replaced as the host's user sees them; unknown
/// ones stay. Asks the host only when there is something to replace.
///
/// # Errors
/// The host couldn't be asked.
pub async fn expand(target: &Target, path: &str) -> Result<String, Failure> {
    let script = expansion(path);
    if script == quote(path) {
        return Ok(path.to_string());
    }
    let output = target.query(Command::shell(format!("printf '%s' {script}"))).await?;
    if output.success() { Ok(output.stdout_text()) } else { Ok(path.to_string()) }
}

/// [`expand`] of an argument that may be missing.
///
/// # Errors
/// As [`expand`].
pub async fn expand_opt(target: &Target, path: Option<&str>) -> Result<Option<String>, Failure> {
    match path {
        Some(path) => Ok(Some(expand(target, path).await?)),
        None => Ok(None),
    }
}

/// One word of a shell that says `word` with its tilde and variables replaced, and nothing else.
pub fn expansion(word: &str) -> String {
    let mut out = String::new();
    let mut literal = String::new();
    let mut rest = word;
    if let Some(after) = word.strip_prefix('~') {
        let name_end = after.find('/').unwrap_or(after.len());
        let name = &after[..name_end];
        if name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c)) {
            // A quoted slash would make the shell take the tilde literally.
            let prefix = (name_end + 2).min(word.len());
            out.push_str(&word[..prefix]);
            rest = &word[prefix..];
        }
    }
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, used) = match after.strip_prefix('{') {
            Some(braced) => match braced.find('}') {
                Some(end) => (&braced[..end], end + 2),
                None => ("", 0),
            },
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], end)
            }
        };
        if is_name(name) {
            if !literal.is_empty() {
                out.push_str(&quote(&std::mem::take(&mut literal)));
            }
            // A brace in the default's own text would end it too early: hence the substitution.
            let written = &rest[at..at + 1 + used];
            out.push_str(&format!("\"${{{name}-$(printf %s {})}}\"", quote(written)));
            rest = &rest[at + 1 + used..];
        } else {
            literal.push('$');
            rest = after;
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() || out.is_empty() {
        out.push_str(&quote(&literal));
    }
    out
}

fn is_name(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().next().is_some_and(|c| !c.is_ascii_digit())
}

/// One shell word that is exactly `text`.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The folder that holds `path`, if its text names one.
pub fn parent(path: &str) -> Option<&str> {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some(("", _)) => Some("/"),
        Some((folder, _)) => Some(folder),
        None => None,
    }
}

/// The last part of `path`.
pub fn basename(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

pub fn join(folder: &str, name: &str) -> String {
    if name.starts_with('/') {
        name.to_string()
    } else if folder.is_empty() || folder.ends_with('/') {
        format!("{folder}{name}")
    } else {
        format!("{folder}/{name}")
    }
}

/// Where `path` leads, if it is a symbolic link; `stat` is of itself, not followed.
pub fn real(path: &str, stat: Option<&Stat>) -> String {
    match stat {
        Some(stat) if !stat.link_target.is_empty() => stat.link_target.clone(),
        _ => path.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_expand_in_a_real_shell_as_in_python() {
        let dir = tempfile::tempdir().unwrap();
        let shell = |word: &str| {
            let output = std::process::Command::new("sh")
                .args(["-c", &format!("printf '%s' {}", expansion(word))])
                .env("HOME", "/home/x")
                .env("A", "a b")
                .env_remove("NOPE")
                .current_dir(dir.path())
                .output()
                .unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        for (word, want) in [
            ("~/f", "/home/x/f"),
            ("~", "/home/x"),
            ("/a/~", "/a/~"),
            ("$A/$NOPE/${A}${NOPE}", "a b/$NOPE/a b${NOPE}"),
            ("it's $(date) `id` \\$A", "it's $(date) `id` \\a b"),
            ("${A", "${A"),
            ("$", "$"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(shell(word), want, "{word}");
        }
    }

    #[test]
    fn parents() {
        assert_eq!(parent("/a/b"), Some("/a"));
        assert_eq!(parent("/a"), Some("/"));
        assert_eq!(parent("a"), None);
        assert_eq!(parent("/a/b/"), Some("/a"));
    }
}
