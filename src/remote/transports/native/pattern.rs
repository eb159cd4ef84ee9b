//! OpenSSH's patterns: `*`, `?`, and lists in which `!` excludes.

/// Whether `pattern` covers all of `text`.
pub fn covers(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last `*` doesn't fit.
    let mut retry = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                retry = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((star, from)) => {
                    retry = Some((star, from + 1));
                    (p, t) = (star + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Whether one of `patterns` covers `text` and none that begins with `!` does.
pub fn any<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> bool {
    let mut found = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(excluded) if covers(excluded, text) => return false,
            Some(_) => {}
            None => found |= covers(pattern, text),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{any, covers};

    #[test]
    fn stars_and_question_marks() {
        for (pattern, text, expected) in [
            ("db1", "db1", true),
            ("db1", "db12", false),
            ("db?", "db1", true),
            ("db?", "db", false),
            ("*", "", true),
            ("*.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("a*b*c", "axxbyybzc", true),
            ("a*b*c", "axxbyybz", false),
            ("10.0.0.*", "10.0.0.255", true),
            ("**", "x", true),
        ] {
            assert_eq!(covers(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn an_exclusion_wins_wherever_it_stands() {
        assert!(any(["*.com", "!b.com"], "a.com"));
        assert!(!any(["*.com", "!b.com"], "b.com"));
        assert!(!any(["!b.com", "*.com"], "b.com"));
        assert!(!any(["!b.com"], "a.com"));
    }

    #[test]
    fn many_stars_take_no_time() {
        assert!(!covers(&"*a".repeat(40), &"a".repeat(10_000).replace("aa", "ab")));
    }
}
