//! `$NAME` and `${NAME:-default}` as compose-go's `template` replaces them.

/// Why a text could not be interpolated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// `${` without a name.
    Invalid,
    /// `${NAME:?…}` and the variable has no value.
    Required(String),
}

/// The value of a variable, if it has one.
pub type Lookup<'l> = &'l mut dyn FnMut(&str) -> Option<String>;

/// # Errors
/// [`Problem`]
pub fn interpolate(text: &str, lookup: Lookup<'_>) -> Result<String, Problem> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(i) = rest.find('$') {
        out.push_str(&rest[..i]);
        let after = &rest[i + 1..];
        if let Some(more) = after.strip_prefix('$') {
            out.push('$');
            rest = more;
        } else if let Some(braced) = after.strip_prefix('{') {
            let name = name_length(braced);
            if name == 0 {
                return Err(Problem::Invalid);
            }
            let length = reference_length(braced, name).ok_or(Problem::Invalid)?;
            out.push_str(&reference(&braced[..length], name, lookup)?);
            rest = &braced[length + 1..];
        } else {
            let name = name_length(after);
            if name == 0 {
                // `$5`, `$ `, a `$` at the end: no reference.
                out.push('$');
            } else {
                out.push_str(&lookup(&after[..name]).unwrap_or_default());
            }
            rest = &after[name..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn name_length(text: &str) -> usize {
    let length = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
    if text.starts_with(|c: char| c.is_ascii_digit()) { 0 } else { length }
}

/// The length of what stands in the braces; `text` begins after the opening one.
fn reference_length(text: &str, name: usize) -> Option<usize> {
    let after = &text[name..];
    if after.starts_with('}') {
        return Some(name);
    }
    let operator = after.strip_prefix(':').unwrap_or(after);
    if !operator.starts_with(['-', '+', '?']) {
        return None;
    }
    // Braces of nested references count; the text of a reference stays on its line.
    let line = text.split('\n').next().unwrap_or("");
    let mut open = 1;
    let mut bytes = line.bytes().enumerate().skip(1);
    while let Some((i, b)) = bytes.next() {
        match b {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(i);
                }
            }
            b'{' => {
                open += 1;
                bytes.next();
            }
            _ => {}
        }
    }
    // Unbalanced: up to the last brace of the line.
    line.rfind('}').filter(|i| *i > name)
}

/// The value of `NAME`, `NAME:-default` and the like.
fn reference(text: &str, name: usize, lookup: Lookup<'_>) -> Result<String, Problem> {
    let (name, operation) = text.split_at(name);
    let value = lookup(name);
    let (colon, operation) = match operation.strip_prefix(':') {
        Some(rest) => (true, rest),
        None => (false, operation),
    };
    let has_value = value.as_ref().is_some_and(|v| !colon || !v.is_empty());
    let Some(operator) = operation.chars().next() else { return Ok(value.unwrap_or_default()) };
    let operand = &operation[1..];
    match operator {
        '-' if !has_value => interpolate(operand, lookup),
        '+' if has_value => interpolate(operand, lookup),
        '?' if !has_value => Err(Problem::Required(name.to_string())),
        _ => Ok(value.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let mut lookup = |name: &str| match name {
            "SET" => Some("value".to_string()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("$SET", "value"),
            ("${SET}bar $SET-x", "valuebar value-x"),
            ("$UNSET.", "."),
            ("$$SET $$$SET", "$SET $value"),
            ("${UNSET:-d} ${EMPTY:-d} ${SET:-d}", "d d value"),
            ("${UNSET-d} ${EMPTY-d} ${SET-d}", "d  value"),
            ("${UNSET:+d} ${EMPTY:+d} ${SET:+d}", "  d"),
            ("${UNSET+d} ${EMPTY+d} ${SET+d}", " d d"),
            ("${SET:?m} ${EMPTY?m}", "value "),
            ("${UNSET:-${SET}-x}y", "value-xy"),
            ("${UNSET:-a:-b}", "a:-b"),
            ("${SET:-{x}}", "value"),
            ("$1 $ $", "$1 $ $"),
        ] {
            assert_eq!(interpolate(text, &mut lookup).as_deref(), Ok(expected), "{text}");
        }
        for (text, expected) in [
            ("${", Problem::Invalid),
            ("${}", Problem::Invalid),
            ("${1}", Problem::Invalid),
            ("${SET", Problem::Invalid),
            ("${SET!x}", Problem::Invalid),
            ("${UNSET?m}", Problem::Required("UNSET".into())),
            ("${EMPTY:?m}", Problem::Required("EMPTY".into())),
        ] {
            assert_eq!(interpolate(text, &mut lookup), Err(expected), "{text}");
        }
    }
}
