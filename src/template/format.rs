//! Python's two ways to format text: `'%s' % x` and `'{}'.format(x)`.

use super::call::Args;
use super::eval::{Eval, Run};
use super::fault::Fault;
use super::print;
use super::program::Place;
use super::value::Value;
use crate::source::Val;

/// Widest field, in characters.
const WIDEST: usize = 1_000_000;

/// How a field is laid out.
#[derive(Default, Debug)]
struct Layout {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// `pattern % values`
pub fn percent(eval: &Eval, pattern: &str, values: &Value) -> Run<String> {
    let mut out = String::new();
    let mut positional = match values {
        Value::Tuple(items) => eval.items_of(items)?.into_iter(),
        other => vec![other.clone()].into_iter(),
    };
    let mut used_name = false;
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut layout = Layout::default();
        let mut named = None;
        if chars.peek() == Some(&'(') {
            chars.next();
            let name: String = chars.by_ref().take_while(|c| *c != ')').collect();
            if !values.is_dict() {
                return Err(Fault::plain("format requires a mapping"));
            }
            used_name = true;
            named = Some(eval.entry(values, &Val::from(name.as_str()))?.ok_or_else(|| {
                Fault::new(format!("the format names '{name}', which the dict doesn't have"))
            })?);
        }
        while let Some(flag) = chars.next_if(|c| "-+ #0".contains(*c)) {
            match flag {
                '-' => layout.align = Some('<'),
                '+' => layout.sign = Some('+'),
                ' ' => layout.sign = layout.sign.or(Some(' ')),
                '#' => layout.alternate = true,
                _ => layout.zero = true,
            }
        }
        layout.width = size(&mut chars, &mut positional)?.unwrap_or(0);
        if chars.next_if_eq(&'.').is_some() {
            layout.precision = Some(size(&mut chars, &mut positional)?.unwrap_or(0));
        }
        while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
        let kind = chars.next().ok_or_else(|| Fault::plain("incomplete format"))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match named {
            Some(value) => value,
            None => {
                positional.next().ok_or_else(|| Fault::plain("not enough arguments for format string"))?
            }
        };
        layout.kind = Some(kind);
        out.push_str(&percent_field(eval, &value, layout)?);
    }
    if !used_name && !values.is_dict() && positional.next().is_some() {
        return Err(Fault::plain("not all arguments converted during string formatting"));
    }
    Ok(out)
}

/// A width or precision: digits, or `*` for the next argument.
fn size(
    chars: &mut std::iter::Peekable<std::str::Chars>,
    positional: &mut std::vec::IntoIter<Value>,
) -> Run<Option<usize>> {
    if chars.next_if_eq(&'*').is_none() {
        return digits(chars);
    }
    let n = positional.next().and_then(|v| v.as_int()).ok_or_else(|| Fault::plain("* wants int"))?;
    Ok(Some(usize::try_from(n.max(0)).unwrap_or(WIDEST).min(WIDEST)))
}

fn percent_field(eval: &Eval, value: &Value, mut layout: Layout) -> Run<String> {
    let kind = layout.kind.unwrap_or('s');
    let needs =
        |what: &str| Fault::plain(format!("%{kind} format: {what} is required, not {}", value.type_name()));
    match kind {
        's' | 'r' | 'a' => {
            let text = if kind == 's' { eval.str(value)? } else { eval.repr(value)? };
            let text = match layout.precision {
                Some(n) => text.chars().take(n).collect(),
                None => text,
            };
            layout.zero = false;
            Ok(pad(&text, "", &layout, '>'))
        }
        'c' => {
            let c = match value {
                Value::Text(s) if s.chars().count() == 1 => s.to_string(),
                other => other
                    .as_int()
                    .and_then(|i| u32::try_from(i).ok())
                    .and_then(char::from_u32)
                    .ok_or_else(|| needs("an int or a char"))?
                    .to_string(),
            };
            Ok(pad(&c, "", &layout, '>'))
        }
        'd' | 'i' | 'u' => {
            let int = match value {
                Value::Float(f) if f.is_finite() => f.trunc() as i128,
                other => other.as_int().ok_or_else(|| needs("a real number"))?,
            };
            layout.kind = Some('d');
            integer(int, &layout)
        }
        'x' | 'X' | 'o' => {
            let int = value.as_int().ok_or_else(|| needs("an integer"))?;
            integer(int, &layout)
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            let f = value.as_float().ok_or_else(|| needs("a real number"))?;
            Ok(real(f, &layout))
        }
        other => Err(Fault::plain(format!("unsupported format character '{other}'"))),
    }
}

/// `pattern.format(*args, **named)`
pub fn braces(eval: &Eval, pattern: &str, args: &Args) -> Run<String> {
    let mut auto = 0;
    fields(eval, pattern, args, &mut auto, 0)
}

fn fields(eval: &Eval, pattern: &str, args: &Args, auto: &mut usize, depth: usize) -> Run<String> {
    if depth > 2 {
        return Err(Fault::plain("Max string recursion exceeded"));
    }
    let mut out = String::new();
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' if chars.next_if_eq(&'{').is_some() => out.push('{'),
            '}' if chars.next_if_eq(&'}').is_some() => out.push('}'),
            '}' => return Err(Fault::plain("Single '}' encountered in format string")),
            '{' => {
                let mut field = String::new();
                let mut open = 1;
                for c in chars.by_ref() {
                    match c {
                        '{' => open += 1,
                        '}' => open -= 1,
                        _ => {}
                    }
                    if open == 0 {
                        break;
                    }
                    field.push(c);
                }
                if open != 0 {
                    return Err(Fault::plain("expected '}' before end of string"));
                }
                let (name, spec) = field.split_once(':').unwrap_or((&field, ""));
                let (name, conversion) = match name.split_once('!') {
                    Some((name, conversion)) => (name, Some(conversion)),
                    None => (name, None),
                };
                let value = field_value(eval, name, args, auto)?;
                let spec = if spec.contains('{') {
                    fields(eval, spec, args, auto, depth + 1)?
                } else {
                    spec.to_string()
                };
                let value = match conversion {
                    None => value,
                    Some("s") => Value::text(eval.str(&value)?),
                    Some("r" | "a") => Value::text(eval.repr(&value)?),
                    Some(other) => {
                        return Err(Fault::plain(format!("Unknown conversion specifier '{other}'")));
                    }
                };
                out.push_str(&spec_field(eval, &value, &spec)?);
            }
            c => out.push(c),
        }
    }
    Ok(out)
}

fn field_value(eval: &Eval, name: &str, args: &Args, auto: &mut usize) -> Run<Value> {
    let first_end = name.find(['.', '[']).unwrap_or(name.len());
    let (first, mut rest) = name.split_at(first_end);
    let missing = || Fault::plain(format!("the format asks for '{first}', which was not given"));
    let mut value = if first.is_empty() {
        *auto += 1;
        args.pos.get(*auto - 1).cloned().ok_or_else(missing)?
    } else if let Ok(index) = first.parse::<usize>() {
        args.pos.get(index).cloned().ok_or_else(missing)?
    } else {
        args.named.iter().find(|(n, _)| **n == *first).map(|(_, v)| v.clone()).ok_or_else(missing)?
    };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            value = eval.attribute(&value, &after[..end], Place::default())?.defined()?;
            rest = &after[end..];
        } else {
            let after = &rest[1..];
            let end = after.find(']').ok_or_else(|| Fault::plain("Missing ']' in format string"))?;
            let key = match after[..end].parse::<i64>() {
                Ok(i) => Value::from(i),
                Err(_) => Value::text(&after[..end]),
            };
            value = eval.subscript(&value, &key, Place::default())?.defined()?;
            rest = &after[end + 1..];
        }
    }
    value.defined()
}

fn spec_field(eval: &Eval, value: &Value, spec: &str) -> Run<String> {
    if spec.is_empty() {
        return eval.str(value);
    }
    if let Value::DateTime(d) = value {
        return super::dates::strftime(d, spec);
    }
    let layout = parse_spec(spec)?;
    match (value, layout.kind) {
        (Value::Text(s), None | Some('s')) => {
            let text: String = match layout.precision {
                Some(n) => s.chars().take(n).collect(),
                None => s.to_string(),
            };
            Ok(pad(&text, "", &layout, '<'))
        }
        (Value::Bool(b), None) => Ok(pad(if *b { "True" } else { "False" }, "", &layout, '<')),
        (v, None | Some('d' | 'x' | 'X' | 'o' | 'b' | 'c' | 'n')) if v.as_int().is_some() => {
            let int = v.as_int().unwrap_or(0);
            if layout.kind == Some('c') {
                let c = u32::try_from(int).ok().and_then(char::from_u32);
                let c = c.ok_or_else(|| Fault::plain("%c arg not in range(0x110000)"))?;
                return Ok(pad(&c.to_string(), "", &layout, '<'));
            }
            integer(int, &layout)
        }
        (v, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%') | None) if v.is_number() => {
            Ok(real(v.as_float().unwrap_or(f64::NAN), &layout))
        }
        (v, Some(kind)) => {
            Err(Fault::plain(format!("Unknown format code '{kind}' for object of type '{}'", v.type_name())))
        }
        (v, None) => {
            Err(Fault::plain(format!("unsupported format string passed to {}.__format__", v.type_name())))
        }
    }
}

fn parse_spec(spec: &str) -> Run<Layout> {
    let mut layout = Layout::default();
    let chars: Vec<char> = spec.chars().collect();
    let mut rest = &chars[..];
    let is_align = |c: &char| "<>=^".contains(*c);
    if rest.len() > 1 && is_align(&rest[1]) {
        layout.fill = Some(rest[0]);
        layout.align = Some(rest[1]);
        rest = &rest[2..];
    } else if rest.first().is_some_and(is_align) {
        layout.align = Some(rest[0]);
        rest = &rest[1..];
    }
    let rest: String = rest.iter().collect();
    let mut chars = rest.chars().peekable();
    layout.sign = chars.next_if(|c| "+- ".contains(*c));
    layout.alternate = chars.next_if_eq(&'#').is_some();
    layout.zero = chars.next_if_eq(&'0').is_some();
    layout.width = digits(&mut chars)?.unwrap_or(0);
    layout.grouping = chars.next_if(|c| ",_".contains(*c));
    if chars.next_if_eq(&'.').is_some() {
        layout.precision =
            Some(digits(&mut chars)?.ok_or_else(|| Fault::plain("Format specifier missing precision"))?);
    }
    layout.kind = chars.next();
    if chars.next().is_some() {
        return Err(Fault::plain("Invalid format specifier"));
    }
    Ok(layout)
}

fn digits(chars: &mut std::iter::Peekable<std::str::Chars>) -> Run<Option<usize>> {
    let mut n: Option<usize> = None;
    while let Some(d) = chars.next_if(char::is_ascii_digit) {
        let value = n.unwrap_or(0) * 10 + d as usize - '0' as usize;
        if value > WIDEST {
            return Err(Fault::plain("width or precision is too big"));
        }
        n = Some(value);
    }
    Ok(n)
}

/// `body` with its sign or prefix before it, filled up to the width.
fn pad(body: &str, prefix: &str, layout: &Layout, default_align: char) -> String {
    let missing = layout.width.saturating_sub(body.chars().count() + prefix.chars().count());
    let zero = layout.zero && layout.align.is_none();
    let fill = layout.fill.unwrap_or(if zero { '0' } else { ' ' });
    let fill = |n: usize| fill.to_string().repeat(n);
    match layout.align.unwrap_or(if zero { '=' } else { default_align }) {
        '<' => format!("{prefix}{body}{}", fill(missing)),
        '^' => format!("{}{prefix}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
        '=' => format!("{prefix}{}{body}", fill(missing)),
        _ => format!("{}{prefix}{body}", fill(missing)),
    }
}

fn sign_of(negative: bool, layout: &Layout) -> &'static str {
    match (negative, layout.sign) {
        (true, _) => "-",
        (false, Some('+')) => "+",
        (false, Some(' ')) => " ",
        _ => "",
    }
}

fn integer(int: i128, layout: &Layout) -> Run<String> {
    let abs = int.unsigned_abs();
    let (digits, mark) = match layout.kind {
        Some('x') => (format!("{abs:x}"), "0x"),
        Some('X') => (format!("{abs:X}"), "0X"),
        Some('o') => (format!("{abs:o}"), "0o"),
        Some('b') => (format!("{abs:b}"), "0b"),
        _ => (abs.to_string(), ""),
    };
    let digits = match layout.grouping {
        Some(separator) => grouped(&digits, separator),
        None => match layout.precision {
            Some(n) => format!("{}{digits}", "0".repeat(n.saturating_sub(digits.len()))),
            None => digits,
        },
    };
    let prefix = format!("{}{}", sign_of(int < 0, layout), if layout.alternate { mark } else { "" });
    Ok(pad(&digits, &prefix, layout, '>'))
}

fn real(f: f64, layout: &Layout) -> String {
    let abs = f.abs();
    let precision = layout.precision.unwrap_or(6).min(1000);
    let body = if !f.is_finite() {
        print::float(abs)
    } else {
        match layout.kind {
            Some('f' | 'F') => format!("{abs:.precision$}"),
            Some('%') => format!("{:.precision$}%", abs * 100.0),
            Some('e') => exponent(abs, precision, 'e'),
            Some('E') => exponent(abs, precision, 'E'),
            Some('g' | 'G') => general(abs, precision, layout.alternate),
            _ => match layout.precision {
                Some(n) => general(abs, n, false),
                None => print::float(abs),
            },
        }
    };
    let body = if layout.kind == Some('G') { body.to_uppercase() } else { body };
    let body = match layout.grouping {
        Some(separator) => {
            let (whole, fraction) = body.split_once('.').map_or((&*body, None), |(w, f)| (w, Some(f)));
            match fraction {
                Some(fraction) => format!("{}.{fraction}", grouped(whole, separator)),
                None => grouped(whole, separator),
            }
        }
        None => body,
    };
    pad(&body, sign_of(f.is_sign_negative() && !f.is_nan(), layout), layout, '>')
}

fn exponent(abs: f64, precision: usize, e: char) -> String {
    let text = format!("{abs:.precision$e}");
    let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = power.parse().unwrap_or(0);
    format!("{digits}{e}{}{:02}", if power < 0 { '-' } else { '+' }, power.abs())
}

fn general(abs: f64, precision: usize, alternate: bool) -> String {
    let precision = precision.max(1);
    let scientific = format!("{abs:.*e}", precision - 1);
    let power: i32 = scientific.split_once('e').and_then(|(_, p)| p.parse().ok()).unwrap_or(0);
    let trim = |s: String| {
        if alternate || !s.contains('.') {
            s
        } else {
            s.trim_end_matches('0').trim_end_matches('.').to_string()
        }
    };
    if power < -4 || power >= precision as i32 {
        let text = exponent(abs, precision - 1, 'e');
        let (digits, power) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{power}", trim(digits.to_string()));
    }
    let decimals = usize::try_from(precision as i32 - 1 - power).unwrap_or(0);
    trim(format!("{abs:.decimals$}"))
}

fn grouped(digits: &str, separator: char) -> String {
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(separator);
        }
        out.push(c);
    }
    out
}
