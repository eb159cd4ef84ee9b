//! SQL that a person wrote: where its statements end, what they are, and values put into it.

use super::quote::literal;
use crate::source::{Text, Val};

/// The values of `%s` or `%(name)s`.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    None,
    Positional(&'a [Val]),
    Named(&'a crate::source::Map),
}

/// What a statement does, as its first words say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Gives rows and is usable as a subquery: SELECT, VALUES, TABLE, WITH that only reads.
    Rows,
    /// Gives rows, but is no subquery: SHOW, EXPLAIN.
    Report,
    /// INSERT, UPDATE, DELETE, MERGE with RETURNING.
    Returning,
    /// WITH that has such a statement inside, which is no subquery either.
    WritingWith,
    /// Anything else.
    Effect,
}

/// A stretch of SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Code,
    /// Quoted text or name, dollar-quoted text.
    Quoted,
    Comment,
}

/// The statements of a script, without their semicolons; empty ones are left out.
///
/// # Errors
/// A quote or comment that doesn't end, or a psql command (`\d`) outside quotes.
pub fn split(sql: &str) -> Result<Vec<String>, String> {
    let mut statements = vec![String::new()];
    for (part, text) in parts(sql)? {
        if part != Part::Code {
            if let Some(last) = statements.last_mut() {
                last.push_str(text);
            }
            continue;
        }
        if text.contains('\\') {
            return Err("a backslash outside quotes: psql's own commands can't be used here".into());
        }
        for (i, piece) in text.split(';').enumerate() {
            if i > 0 {
                statements.push(String::new());
            }
            if let Some(last) = statements.last_mut() {
                last.push_str(piece);
            }
        }
    }
    let mut kept = Vec::new();
    for statement in statements {
        if words(&statement)?.next().is_some() {
            kept.push(statement.trim().to_string());
        }
    }
    Ok(kept)
}

/// # Errors
/// A quote or comment that doesn't end.
pub fn kind(statement: &str) -> Result<Kind, String> {
    let words: Vec<String> = words(statement)?.collect();
    let has = |word: &str| words.iter().any(|w| w == word);
    let writes = || ["INSERT", "UPDATE", "DELETE", "MERGE"].iter().any(|w| has(w));
    Ok(match words.first().map_or("", String::as_str) {
        "WITH" if writes() => Kind::WritingWith,
        "SELECT" if has("INTO") || has("FOR") => Kind::Report,
        "SELECT" | "VALUES" | "TABLE" | "WITH" => Kind::Rows,
        "SHOW" | "EXPLAIN" => Kind::Report,
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" if has("RETURNING") => Kind::Returning,
        _ => Kind::Effect,
    })
}

/// The words of a statement outside quotes and comments, upper-case.
fn words(statement: &str) -> Result<impl Iterator<Item = String>, String> {
    Ok(parts(statement)?.into_iter().flat_map(|(part, text)| {
        match part {
            Part::Code => text.to_uppercase(),
            // Something is there, but no keyword.
            Part::Quoted => " ? ".into(),
            Part::Comment => " ".into(),
        }
        .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '?'))
        .filter(|w| !w.is_empty())
        .map(String::from)
        .collect::<Vec<_>>()
    }))
}

/// `sql` with its placeholders replaced by literals, as psycopg names them: `%s`, `%(name)s`, and
/// `%%` for a percent sign. Without values a `%` is only itself. The result is Secret if a value is.
///
/// # Errors
/// Too few or too many values, an unknown name, a value that SQL has no literal for, a placeholder
/// inside quotes.
pub fn bind(sql: &str, values: Values<'_>) -> Result<Text, String> {
    if matches!(values, Values::None) {
        return Ok(Text::new(sql));
    }
    let (mut out, mut secret, mut used) = (String::new(), false, 0);
    for (part, text) in parts(sql)? {
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                out.push('%');
                rest = after;
                continue;
            }
            let (value, after) = placeholder(rest, values, &mut used)?;
            if part != Part::Code {
                return Err("a placeholder stands inside quotes or a comment; leave the quotes out, \
values are quoted here"
                    .into());
            }
            secret |= value.has_secret();
            out.push_str(&value_literal(value)?);
            rest = after;
        }
        out.push_str(rest);
    }
    if let Values::Positional(list) = values
        && used < list.len()
    {
        return Err(format!("{} positional_args were given, and the query has {used} %s", list.len()));
    }
    Ok(if secret { Text::secret(out) } else { Text::new(out) })
}

fn placeholder<'v, 's>(
    rest: &'s str,
    values: Values<'v>,
    used: &mut usize,
) -> Result<(&'v Val, &'s str), String> {
    match values {
        Values::Positional(list) => {
            let after = rest.strip_prefix('s').ok_or("a % that is neither %s nor %%")?;
            *used += 1;
            let value = list.get(*used - 1);
            let value = value
                .ok_or_else(|| format!("the query has more %s than the {} positional_args", list.len()))?;
            Ok((value, after))
        }
        Values::Named(map) => {
            let named = rest.strip_prefix('(').and_then(|r| r.split_once(")s"));
            let (name, after) = named.ok_or("a % that is neither %(name)s nor %%")?;
            let value = map.get(name).ok_or_else(|| format!("named_args has no {name}"))?;
            Ok((value, after))
        }
        Values::None => Err("no values were given".into()),
    }
}

fn value_literal(value: &Val) -> Result<String, String> {
    Ok(match value {
        Val::Null | Val::Omit => "NULL".into(),
        Val::Bool(b) => b.to_string(),
        // In parentheses, so that `-%s` is no comment.
        Val::Int(i) => {
            if *i < 0 {
                format!("({i})")
            } else {
                i.to_string()
            }
        }
        Val::Float(f) if !f.is_finite() => format!("'{f}'::float8"),
        Val::Float(f) => {
            if *f < 0.0 {
                format!("({f:?})")
            } else {
                format!("{f:?}")
            }
        }
        Val::Text(t) => literal(t)?,
        Val::List(items) if items.is_empty() => "'{}'".into(),
        Val::List(items) => {
            let items = items.iter().map(value_literal).collect::<Result<Vec<_>, _>>()?;
            format!("ARRAY[{}]", items.join(", "))
        }
        Val::Map(_) => return Err("a dictionary has no SQL literal; give it as text with to_json".into()),
    })
}

/// Code, quoted stretches and comments, in order; together they are the whole text.
fn parts(sql: &str) -> Result<Vec<(Part, &str)>, String> {
    let mut parts = Vec::new();
    let (mut at, mut code) = (0, 0);
    while let Some(c) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let before = sql[..at].chars().next_back();
        let in_word = before.is_some_and(|b| b.is_alphanumeric() || b == '_');
        let found = match c {
            '\'' => {
                let escapes = before.is_some_and(|b| matches!(b, 'e' | 'E'))
                    && !sql[..at - 1].ends_with(|b: char| b.is_alphanumeric() || b == '_');
                Some((Part::Quoted, quoted_end(rest, '\'', escapes)))
            }
            '"' => Some((Part::Quoted, quoted_end(rest, '"', false))),
            '-' if rest.starts_with("--") => {
                Some((Part::Comment, Some(rest.find('\n').unwrap_or(rest.len()))))
            }
            '/' if rest.starts_with("/*") => Some((Part::Comment, comment_end(rest))),
            '$' if !in_word => dollar_tag(rest)
                .map(|tag| (Part::Quoted, rest[tag.len()..].find(tag).map(|i| i + 2 * tag.len()))),
            _ => None,
        };
        match found {
            None => at += c.len_utf8(),
            Some((_, None)) => return Err(format!("a quote or comment that begins with {c} doesn't end")),
            Some((part, Some(length))) => {
                parts.push((Part::Code, &sql[code..at]));
                parts.push((part, &rest[..length]));
                at += length;
                code = at;
            }
        }
    }
    parts.push((Part::Code, &sql[code..]));
    parts.retain(|(_, text)| !text.is_empty());
    Ok(parts)
}

fn quoted_end(text: &str, quote: char, escapes: bool) -> Option<usize> {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            // A doubled quote goes on; as two stretches it would read the same.
            if chars.peek().is_some_and(|(_, next)| *next == quote) {
                chars.next();
            } else {
                return Some(i + 1);
            }
        }
    }
    None
}

fn comment_end(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0, 0);
    loop {
        let rest = text.get(at..)?;
        let next = rest.find(['/', '*'])?;
        at += next;
        match text.get(at..at + 2)? {
            "/*" => {
                depth += 1;
                at += 2;
            }
            "*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
}

/// `$$` or `$tag$` at the beginning.
fn dollar_tag(text: &str) -> Option<&str> {
    let end = text[1..].find('$')? + 2;
    let name = &text[1..end - 1];
    let valid = !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    valid.then(|| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Map;

    #[test]
    fn statements() {
        for (sql, expected) in [
            ("SELECT 1", vec!["SELECT 1"]),
            ("SELECT 1; ;\n-- end\n", vec!["SELECT 1"]),
            ("SELECT ';'; SELECT \";\"", vec!["SELECT ';'", "SELECT \";\""]),
            ("SELECT 'it''s;'; b", vec!["SELECT 'it''s;'", "b"]),
            (r"SELECT E'\';'; b", vec![r"SELECT E'\';'", "b"]),
            (r"SELECT name'\'; b", vec![r"SELECT name'\'", "b"]),
            ("DO $x$ a; $$ ; $$ $x$; b", vec!["DO $x$ a; $$ ; $$ $x$", "b"]),
            ("SELECT $1; b", vec!["SELECT $1", "b"]),
            ("SELECT a$b; c$d", vec!["SELECT a$b", "c$d"]),
            ("/* ; /* ; */ */ a; -- ;\nb", vec!["/* ; /* ; */ */ a", "-- ;\nb"]),
        ] {
            assert_eq!(split(sql).unwrap(), expected, "{sql}");
        }
        for bad in ["SELECT 'x", "/* x", "$$ x", "\"x", "\\! rm -rf /"] {
            assert!(split(bad).is_err(), "{bad}");
        }
        assert!(split(r"SELECT '\! x'").is_ok());
    }

    #[test]
    fn kinds() {
        for (sql, expected) in [
            (" select 1", Kind::Rows),
            ("/* INSERT */ SELECT 'INSERT'", Kind::Rows),
            ("WITH a AS (SELECT 1) SELECT * FROM a", Kind::Rows),
            ("WITH a AS (DELETE FROM t RETURNING *) SELECT * FROM a", Kind::WritingWith),
            ("SELECT 1 FOR UPDATE", Kind::Report),
            ("SHOW port", Kind::Report),
            ("INSERT INTO t VALUES (1)", Kind::Effect),
            ("insert into t values (1) returning id", Kind::Returning),
            ("CREATE TABLE t ()", Kind::Effect),
        ] {
            assert_eq!(kind(sql).unwrap(), expected, "{sql}");
        }
    }

    #[test]
    fn values() {
        let list = [Val::from("it's"), Val::Int(-1), Val::Bool(true), Val::Null];
        let bound = bind("SELECT %s, 1-%s, %s, %s, '5%%'", Values::Positional(&list)).unwrap();
        assert_eq!(bound.as_str(), "SELECT 'it''s', 1-(-1), true, NULL, '5%'");
        assert!(!bound.is_secret());

        let mut map = Map::new();
        map.insert(Val::from("p"), Val::secret("x\\';--"));
        map.insert(Val::from("l"), Val::from(vec!["a", "b"]));
        let bound = bind("SELECT %(p)s WHERE a = ANY(%(l)s) OR b = %(p)s", Values::Named(&map)).unwrap();
        assert_eq!(bound.as_str(), r"SELECT E'x\\'';--' WHERE a = ANY(ARRAY['a', 'b']) OR b = E'x\\'';--'");
        assert!(bound.is_secret());

        assert_eq!(bind("LIKE '5%s'", Values::None).unwrap().as_str(), "LIKE '5%s'");
        for (sql, values, message) in [
            ("%s %s", Values::Positional(&list[..1]), "more %s than the 1"),
            ("%s", Values::Positional(&list), "has 1 %s"),
            ("'%s'", Values::Positional(&list[..1]), "inside quotes"),
            ("%d", Values::Positional(&list), "neither %s nor %%"),
            ("%(q)s", Values::Named(&map), "named_args has no q"),
        ] {
            assert!(bind(sql, values).unwrap_err().contains(message), "{sql}");
        }
    }
}
