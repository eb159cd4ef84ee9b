//! `literal-secret`.

use std::ops::Range;

use crate::lint::{Found, Project, Rule};
use crate::module::registry;
use crate::secret::names::{is_placeholder, is_secret_name, password_in_url};
use crate::source::{Severity, Span, Val};

use super::change::env_keys;

pub static RULE: Rule = Rule {
    name: "literal-secret",
    severity: Severity::Error,
    summary: "a password, token or key is written in a file",
    why: "\
What is in a repository is known to all who can read it, for ever. Secrets belong into an encrypted file \
(`seqn-play secret edit FILE`), a prompt, or stay on the host. A secret is found by the argument that holds it \
(`password` of `postgresql_user`, `value` of `dotenv` unless its key is one like `LOG_LEVEL`), by its name (`db_password`, `API_TOKEN`), by its shape (`sk_live_…`, `whsec_…`, an age or PEM \
private key, a password in a URL). Templates and placeholders (`<password>`, `changeme`) don't count. The text itself is \
never shown.",
    bad: BAD,
    good: GOOD,
    check,
};

const BAD: &str = "\
- hosts: seqn
  vars:
    smtp_password: Tr0ub4dor-and-3 # here
  tasks: []
";

const GOOD: &str = "\
- hosts: seqn
  vars:
    smtp_password: \"{{ lookup('env', 'SMTP_PASSWORD') }}\"
  tasks: []
";

const HELP: &str = "put it into an encrypted file (`seqn-play secret edit FILE`) and use its variable here; \
                    if it was real, rotate it";

fn check(project: &Project, found: &mut Found) {
    for document in project.documents.iter() {
        document.content.each_text(&mut |name, text, span| {
            if let Some((what, at)) = secret_by_shape(text) {
                found.add_hidden(format!("{what} is written here"), &part(text, at, span), HELP);
            } else if let Some(name) = name.filter(|name| is_secret_name(name))
                && !is_placeholder(text)
            {
                found.add_hidden(format!("the value of `{name}` is written here"), span, HELP);
            }
        });
    }
    for visit in &project.tasks {
        let Some(call) = visit.call() else { continue };
        let Some(module) = registry::find(&call.canonical) else { continue };
        // What `dotenv` writes is as secret as its key says.
        if visit.module() == "dotenv" && env_keys(visit).is_none() {
            continue;
        }
        for name in module.secret_args {
            if let Some(value) = call.args.get(name) {
                literal_argument(name, module.name, value, found);
            }
        }
    }
}

fn literal_argument(name: &str, module: &str, value: &Val, found: &mut Found) {
    match value {
        Val::Text(text) => {
            if let Some(origin) = text.origin().filter(|_| !text.is_secret() && !is_placeholder(text)) {
                let message = format!("`{name}` of `{module}` is a secret, and its value is written here");
                found.add_hidden(message, origin, HELP);
            }
        }
        Val::List(items) => items.iter().for_each(|item| literal_argument(name, module, item, found)),
        _ => {}
    }
}

/// The place of a part of a text, where the source has the text as it is; else of the whole text.
fn part(text: &str, at: Range<usize>, whole: &Span) -> Span {
    let source = whole.file.text.get(whole.start..whole.end.max(whole.start)).unwrap_or("");
    match text.get(at).and_then(|part| source.find(part).map(|start| (start, part.len()))) {
        Some((start, length)) => {
            crate::source::yaml::span_at(&whole.file, whole.start + start, whole.start + start + length)
        }
        None => whole.clone(),
    }
}

/// A secret that can be told by its looks: what it is, and where it stands in the text.
fn secret_by_shape(text: &str) -> Option<(&'static str, Range<usize>)> {
    /// What it begins with, how many characters follow at least.
    const SHAPES: [(&str, usize, &str); 10] = [
        ("AGE-SECRET-KEY-1", 20, "an age secret key"),
        ("sk_live_", 8, "a secret key (sk_live_)"),
        ("rk_live_", 8, "a restricted key (rk_live_)"),
        ("whsec_", 8, "a webhook signing secret (whsec_)"),
        ("ghp_", 30, "a GitHub token"),
        ("github_pat_", 30, "a GitHub token"),
        ("glpat-", 16, "a GitLab token"),
        ("xoxb-", 16, "a Slack token"),
        ("xoxp-", 16, "a Slack token"),
        ("hvs.", 20, "a Vault token"),
    ];
    if let Some(start) = text.find("-----BEGIN ")
        && let Some(name) = text[start..].lines().next()
        && name.contains("PRIVATE KEY-----")
        && text[start + name.len()..].trim().len() > 20
    {
        return Some(("a private key", 0..text.len()));
    }
    for (prefix, at_least, what) in SHAPES {
        for (start, _) in text.match_indices(prefix) {
            let is_start = text[..start].chars().next_back().is_none_or(|c| !c.is_alphanumeric());
            let is_part = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '+' | '/' | '=');
            let length: usize = text[start + prefix.len()..].chars().take_while(is_part).count();
            let end = start + prefix.len() + length;
            let tail = &text[start + prefix.len()..end];
            let is_filler = tail.chars().all(|c| tail.starts_with(c)) || is_placeholder(tail);
            if is_start && length >= at_least && !is_filler {
                return Some((what, start..end));
            }
        }
    }
    password_in_url(text)
        .map(|at| ("a password in a URL", at))
        .or_else(|| assigned(text).map(|at| ("a secret", at)))
        .or_else(|| password_in_sql(text).map(|at| ("a password in SQL", at)))
}

/// `DB_PASSWORD=…`, `--token=…` in a command or a line of a file. Expressions are left alone.
fn assigned(text: &str) -> Option<Range<usize>> {
    if text.contains("{{") || text.contains("{%") {
        return None;
    }
    let base = text.as_ptr() as usize;
    text.split_whitespace().find_map(|word| {
        let (name, value) = word.split_once('=')?;
        let name = name.trim_start_matches(['"', '\'', '-']);
        let value = value.trim_matches(['"', '\'', ';', ',', ')']);
        let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        let is_value =
            value.len() >= 4 && !value.starts_with(['=', '\\', '.', '^']) && !is_placeholder(value);
        let start = value.as_ptr() as usize - base;
        (is_name && is_secret_name(name) && is_value).then_some(start..start + value.len())
    })
}

/// `… PASSWORD '…'`
fn password_in_sql(text: &str) -> Option<Range<usize>> {
    let small = text.to_ascii_lowercase();
    small.match_indices("password '").find_map(|(at, found)| {
        let start = at + found.len();
        let length = text[start..].find('\'')?;
        let value = &text[start..start + length];
        let is_verifier = value.starts_with("SCRAM-SHA-256$");
        let is_sql = small.contains("alter ") || small.contains("create ");
        (is_sql && !is_verifier && !is_placeholder(value)).then_some(start..start + length)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        // Put together here, so that no scanner takes this file for a leak.
        let key = |prefix: &str| format!("{prefix}{}", "4eC39HqLyjWDarjtT1zdp7dc");
        for text in [
            key("sk_live_"),
            key("export X=whsec_"),
            key("AGE-SECRET-KEY-1"),
            format!("-----BEGIN OPENSSH {} KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n", "PRIVATE"),
            "postgres://silver:hunter2@db:5432/silver".into(),
            "PGPASSWORD=hunter2 psql".into(),
            "psql --password=hunter2".into(),
            "ALTER ROLE silver PASSWORD 'hunter2'".into(),
        ] {
            let (what, at) = secret_by_shape(&text).unwrap_or_else(|| panic!("{text}"));
            assert!(!what.is_empty() && text.get(at).is_some_and(|secret| secret.len() >= 7), "{text}");
        }
        for text in [
            "sk_live_",
            "sk_live_xxxxxxxxxxxxxxxx",
            "begins with sk_live_ or whsec_",
            "task_sk_live",
            "postgres://silver:<password>@db/silver",
            "postgres://silver:{{ password }}@db/silver",
            "postgres://silver@db/silver",
            "http://127.0.0.1:8080/a@b:c",
            "PGPASSWORD=$DB_PASSWORD psql",
            "password == 'x'",
            "regexp: ^SESSION_SECRET=",
            "^SESSION_SECRET=.*$",
            "lookup('password', '/dev/null length=40')",
            "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA1234567890\n",
            "ALTER ROLE x PASSWORD 'SCRAM-SHA-256$4096:abc'",
        ] {
            assert!(secret_by_shape(text).is_none(), "{text}");
        }
    }
}
