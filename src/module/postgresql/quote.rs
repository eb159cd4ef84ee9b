//! SQL text from values.

/// A string literal. One with a backslash is written as `E'…'`, which reads the same whatever
/// `standard_conforming_strings` is.
///
/// # Errors
/// Postgres texts have no NUL character.
pub fn literal(text: &str) -> Result<String, String> {
    if text.contains('\0') {
        return Err("a NUL character can't be stored in Postgres".into());
    }
    let doubled = text.replace('\'', "''");
    Ok(if text.contains('\\') {
        format!("E'{}'", doubled.replace('\\', "\\\\"))
    } else {
        format!("'{doubled}'")
    })
}

/// A quoted identifier.
///
/// # Errors
/// It is empty or has a NUL character.
pub fn identifier(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('\0') {
        return Err(format!("{name:?} can't be a name in Postgres"));
    }
    Ok(format!("\"{}\"", name.replace('"', "\"\"")))
}

/// `body` between dollar quotes that don't occur in it.
pub fn dollar(body: &str) -> String {
    let tag =
        (0..).map(|n| format!("$seqn{n}$")).find(|tag| !body.contains(tag.as_str())).unwrap_or_default();
    format!("{tag}{body}{tag}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        assert_eq!(literal("it's").unwrap(), "'it''s'");
        assert_eq!(literal(r"a\'b").unwrap(), r"E'a\\''b'");
        assert_eq!(identifier("a\"b").unwrap(), "\"a\"\"b\"");
        assert_eq!(dollar("x $seqn0$ y"), "$seqn1$x $seqn0$ y$seqn1$");
        assert!(literal("a\0").is_err() && identifier("").is_err());
    }
}
