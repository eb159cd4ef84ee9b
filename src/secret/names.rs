//! Which names stand for secrets, and which texts stand for no value at all.

use std::ops::Range;

/// The keys of `.env` in SEQN's credential inventory.
pub const CREDENTIALS: [&str; 7] = [
    "OIDC_CLIENT_SECRET",
    "AUTHENTIK_API_TOKEN",
    "SESSION_SECRET",
    "AUTHENTIK_PG_PASS",
    "SILVER_POSTGRES_PASSWORD",
    "OFFSITE_BACKUP_AGE_RECIPIENT",
    "OFFSITE_BACKUP_GPG_RECIPIENT",
];

/// Whether a `.env` key of this name holds a credential.
pub fn is_credential(key: &str) -> bool {
    CREDENTIALS.contains(&key) || is_secret_name(key)
}

/// Whether what has this name (`db_password`, `STRIPE_API_KEY`, `clientSecret`) is a secret.
pub fn is_secret_name(name: &str) -> bool {
    const LAST: [&str; 7] = ["password", "passwd", "passphrase", "pass", "pw", "secret", "token"];
    const LAST_TWO: [[&str; 2]; 7] = [
        ["api", "key"],
        ["private", "key"],
        ["secret", "key"],
        ["access", "key"],
        ["signing", "key"],
        ["encryption", "key"],
        ["age", "identity"],
    ];
    /// `update_password: always` says what is done with one.
    const VERBS: [&str; 13] = [
        "update", "ask", "generate", "use", "has", "is", "no", "require", "allow", "change", "show", "hide",
        "check",
    ];
    let words = words(name);
    if words.first().is_some_and(|first| words.len() > 1 && VERBS.contains(&first.as_str())) {
        return false;
    }
    match words.as_slice() {
        [.., before, last] if LAST_TWO.iter().any(|[a, b]| a == before && b == last) => true,
        [.., last] => {
            let whole = ["apikey", "privatekey"].contains(&last.as_str());
            // `PGPASSWORD`, `dbpassword`; but `nopassword`.
            let joined = last.strip_suffix("password").is_some_and(|start| !VERBS.contains(&start));
            LAST.contains(&last.as_str()) || whole || joined
        }
        [] => false,
    }
}

/// The words of `a_name`, `A-NAME` or `aName`, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before_small = false;
    for c in name.chars() {
        if !c.is_alphanumeric() || (c.is_uppercase() && before_small) {
            words.push(String::new());
        }
        if c.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(c.to_lowercase());
        }
        before_small = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Whether a value says that the real one comes from elsewhere: a template, a placeholder, the name
/// of a variable or file.
pub fn is_placeholder(value: &str) -> bool {
    const WORDS: [&str; 20] = [
        "changeme",
        "change-me",
        "change_me",
        "replace",
        "placeholder",
        "example",
        "dummy",
        "todo",
        "redacted",
        "your-",
        "your_",
        "insert",
        "xxxx",
        "fill-in",
        "fill_in",
        "fill in",
        "not-a-secret",
        "...",
        "…",
        "****",
    ];
    const WHOLE: [&str; 12] =
        ["!", "*", "!!", "none", "null", "omit", "n/a", "unset", "random", "prompt", "undefined", "secret"];
    let value = value.trim().trim_matches(['"', '\'']);
    let small = value.to_lowercase();
    let mut chars = small.chars();
    let one_char = chars.next().is_none_or(|first| !first.is_alphanumeric() && chars.all(|c| c == first));
    one_char
        || ["<", "$", "%(", "@", "[", "(", "!"].iter().any(|start| value.starts_with(start))
        || ["{{", "{%"].iter().any(|open| value.contains(open))
        || WHOLE.contains(&small.as_str())
        || WORDS.iter().any(|word| small.contains(word))
        || is_path(value)
        || is_constant_name(value)
}

/// `/run/secrets/x`, `~/.config/x`, `./x`
fn is_path(value: &str) -> bool {
    let below = ["~/", "./", "../"].iter().any(|start| value.starts_with(start));
    let absolute = value.starts_with('/') && value[1..].contains('/');
    (below || absolute) && !value.contains(['+', '=', ' '])
}

/// `SILVER_POSTGRES_PASSWORD`: where the value is, not what it is.
fn is_constant_name(value: &str) -> bool {
    value.contains('_') && value.chars().all(|c| c.is_ascii_uppercase() || c == '_') && is_credential(value)
}

/// Where the password of `scheme://user:password@host` stands in a text.
pub fn password_in_url(text: &str) -> Option<Range<usize>> {
    text.match_indices("://").find_map(|(at, separator)| {
        let start = at + separator.len();
        let rest = &text[start..];
        let authority = &rest[..rest.find(['/', '?', '#', ' ', '"', '\'', '`', '\n']).unwrap_or(rest.len())];
        let (login, _) = authority.rsplit_once('@')?;
        let (user, password) = login.split_once(':')?;
        let from = start + user.len() + 1;
        (!is_placeholder(password)).then_some(from..from + password.len())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets() {
        for name in [
            "password",
            "db_password",
            "ansible_become_pass",
            "clientSecret",
            "STRIPE_API_KEY",
            "token",
            "ssh-private-key",
            "AUTHENTIK_PG_PASS",
            "apikey",
            "is",
            "age_identity",
            "password_",
            "PGPASSWORD",
        ] {
            assert_eq!(is_secret_name(name), name != "is", "{name}");
        }
        for name in [
            "",
            "_",
            "password_file",
            "update_password",
            "bypass",
            "token_url",
            "env_key",
            "compass",
            "secrets",
            "ask_pass",
            "no_password",
            "nopassword",
            "private_key_file",
            "key",
        ] {
            assert!(!is_secret_name(name), "{name}");
        }
        assert!(CREDENTIALS.iter().all(|key| is_credential(key)));
        assert!(!is_credential("LOG_LEVEL"));
    }

    #[test]
    fn placeholders() {
        for value in [
            "",
            "  ",
            "\"\"",
            "<password>",
            "${DB_PASSWORD}",
            "{{ x }}",
            "nonsense-{{ 9999 | random }}",
            "changeme",
            "CHANGE_ME_NOW",
            "********",
            "your-token-here",
            "/run/secrets/db",
            "~/.pgpass",
            "SILVER_POSTGRES_PASSWORD",
            "!",
            "------",
        ] {
            assert!(is_placeholder(value), "{value}");
        }
        for value in ["hunter2", "password", "a/b", "/x+y/z=", "correct horse", "0", "Tr0ub4dor&3", "aaaa"] {
            assert!(!is_placeholder(value), "{value}");
        }
    }
}
