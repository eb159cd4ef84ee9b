//! The language of `re.sub` replacements.

use super::PatternError;

pub enum Part {
    Literal(Vec<u8>),
    Group(usize),
    Named(String),
}

/// `\1`, `\g<name>`, `\g<1>`, `\n`, `\\`, octal: the language of `re.sub` replacements.
pub fn parse_template(template: &[u8]) -> Result<Vec<Part>, PatternError> {
    let mut parts = Vec::new();
    let mut literal = Vec::new();
    let mut at = 0;
    while at < template.len() {
        if template[at] != b'\\' {
            literal.push(template[at]);
            at += 1;
            continue;
        }
        at += 1;
        let Some(&c) = template.get(at) else {
            return Err(PatternError("bad escape (end of pattern) in replacement".into()));
        };
        at += 1;
        let digits = |from: usize, max: usize, ok: fn(&u8) -> bool| {
            template[from..].iter().take(max).take_while(|b| ok(b)).count()
        };
        let octal: fn(&u8) -> bool = |b| (b'0'..=b'7').contains(b);
        let mut reference = None;
        match c {
            b'g' => {
                let rest = &template[at..];
                let (Some(b'<'), Some(end)) = (rest.first(), rest.iter().position(|&b| b == b'>')) else {
                    return Err(PatternError("missing < or > after \\g in replacement".into()));
                };
                let name = String::from_utf8_lossy(&rest[1..end]).into_owned();
                at += end + 1;
                reference = Some(name.parse().map_or(Part::Named(name), Part::Group));
            }
            b'0' => {
                let n = digits(at, 2, octal);
                literal.push(octal_value(&template[at..at + n]));
                at += n;
            }
            b'1'..=b'9' => {
                let is_octal = octal(&c) && digits(at, 2, octal) == 2;
                if is_octal {
                    literal.push(octal_value(&template[at - 1..at + 2]));
                    at += 2;
                } else {
                    let n = digits(at, 1, u8::is_ascii_digit);
                    let number = String::from_utf8_lossy(&template[at - 1..at + n]).parse().unwrap_or(0);
                    at += n;
                    reference = Some(Part::Group(number));
                }
            }
            b'n' => literal.push(b'\n'),
            b't' => literal.push(b'\t'),
            b'r' => literal.push(b'\r'),
            b'a' => literal.push(7),
            b'b' => literal.push(8),
            b'f' => literal.push(12),
            b'v' => literal.push(11),
            b'\\' => literal.push(b'\\'),
            c if c.is_ascii_alphabetic() => {
                return Err(PatternError(format!("bad escape \\{} in replacement", c as char)));
            }
            c => literal.extend_from_slice(&[b'\\', c]),
        }
        if let Some(reference) = reference {
            parts.push(Part::Literal(std::mem::take(&mut literal)));
            parts.push(reference);
        }
    }
    parts.push(Part::Literal(literal));
    Ok(parts)
}

pub fn octal_value(digits: &[u8]) -> u8 {
    digits.iter().fold(0u32, |n, d| n * 8 + u32::from(d - b'0')) as u8
}
