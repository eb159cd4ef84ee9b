//! Text: Jinja's string filters, `quote`, `comment`, `split`.

use super::Filter;
use crate::source::Val;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::format;
use crate::template::methods;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("capitalize", |e, v, a| method(e, v, a, "capitalize")),
    Filter::new("center", center),
    Filter::new("comment", comment),
    Filter::new("e", escape),
    Filter::new("escape", escape),
    Filter::new("forceescape", escape),
    Filter::new("format", format_filter),
    Filter::new("indent", indent),
    Filter::new("join", join),
    Filter::new("lower", |e, v, a| method(e, v, a, "lower")),
    Filter::new("pprint", pprint),
    Filter::new("quote", quote),
    Filter::new("replace", replace),
    Filter::new("safe", |e, v, a| {
        let [] = a.bind([])?;
        Ok(Value::Text(e.text_of(&v)?))
    }),
    Filter::new("split", |e, v, a| {
        let t = Value::Text(e.text_of(&v)?);
        methods::call(e, &t, "split", a)
    }),
    Filter::new("striptags", striptags),
    Filter::new("title", title),
    Filter::new("trim", |e, v, a| {
        let t = Value::Text(e.text_of(&v)?);
        methods::call(e, &t, "strip", a)
    }),
    Filter::new("truncate", truncate),
    Filter::new("upper", |e, v, a| method(e, v, a, "upper")),
    Filter::new("wordcount", wordcount),
    Filter::new("wordwrap", wordwrap),
    Filter::new("xmlattr", xmlattr),
];

fn method(eval: &Eval, value: Value, args: Args, name: &'static str) -> Run<Value> {
    let [] = args.bind([])?;
    let text = Value::Text(eval.text_of(&value)?);
    methods::call(eval, &text, name, Args::default())
}

fn title(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let text = eval.text_of(&value)?;
    let mut out = String::new();
    let mut start = true;
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase())
        } else {
            out.extend(c.to_lowercase())
        }
        start = c.is_whitespace() || "-({[<".contains(c);
    }
    Ok(Value::text(out))
}

fn center(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [width] = args.bind(["width"])?;
    let width = Value::Int(eval.int_or("width", width, 80)?);
    let text = Value::Text(eval.text_of(&value)?);
    methods::call(eval, &text, "center", Args::of(vec![width]))
}

fn escape(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::text(escape_html(&eval.text_of(&value)?)))
}

pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('\'', "&#39;")
        .replace('"', "&#34;")
}

fn format_filter(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let pattern = eval.text_of(&value)?;
    if !args.named.is_empty() && !args.pos.is_empty() {
        return Err(Fault::plain("can't handle positional and keyword arguments at the same time"));
    }
    let values = if args.named.is_empty() {
        Value::tuple(args.pos)
    } else {
        Value::dict(args.named.into_iter().map(|(k, v)| (Val::from(&*k), v)))
    };
    Ok(Value::text(format::percent(eval, &pattern, &values)?))
}

fn indent(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [width, first, blank] = args.bind(["width", "first", "blank"])?;
    let indention = match width {
        None => " ".repeat(4),
        Some(Value::Text(s)) => s.to_string(),
        Some(n) => " ".repeat(usize::try_from(eval.int_of("width", &n)?).unwrap_or(0).min(10_000)),
    };
    let (first, blank) = (eval.flag(first)?, eval.flag(blank)?);
    let text = format!("{}\n", eval.text_of(&value)?);
    let lines = methods::splitlines(&text, false);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
            if blank || !line.is_empty() {
                out.push_str(&indention);
            }
        }
        out.push_str(line);
    }
    Ok(Value::text(if first { format!("{indention}{out}") } else { out }))
}

fn join(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [separator, attribute] = args.bind(["d", "attribute"])?;
    let separator = eval.text_or(separator, "")?;
    let attribute = eval.given(attribute);
    let mut parts = Vec::new();
    for item in eval.iterate(&value)? {
        let item = match &attribute {
            Some(path) => super::attribute_path(eval, &item, path)?.defined()?,
            None => item,
        };
        parts.push(eval.text_of(&item)?);
    }
    Ok(Value::text(parts.join(&separator)))
}

fn pprint(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::text(eval.repr(&value)?))
}

fn quote(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    if matches!(value, Value::None) {
        return Ok(Value::text("''"));
    }
    Ok(Value::text(shell_quote(&eval.text_of(&value)?)))
}

/// Python's `shlex.quote`.
pub fn shell_quote(text: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        return text.to_string();
    }
    format!("'{}'", text.replace('\'', "'\"'\"'"))
}

fn replace(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [old, new, count] = args.bind(["old", "new", "count"])?;
    let text = Value::Text(eval.text_of(&value)?);
    let mut pos = vec![eval.required("old", old)?, eval.required("new", new)?];
    pos.extend(eval.given(count));
    methods::call(eval, &text, "replace", Args::of(pos))
}

fn striptags(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let text = eval.text_of(&value)?;
    let (mut out, mut inside) = (String::new(), false);
    for c in text.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    Ok(Value::text(out.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn truncate(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [length, killwords, end, leeway] = args.bind(["length", "killwords", "end", "leeway"])?;
    let length = usize::try_from(eval.int_or("length", length, 255)?).unwrap_or(0);
    let leeway = usize::try_from(eval.int_or("leeway", leeway, 5)?).unwrap_or(0);
    let killwords = eval.flag(killwords)?;
    let end = eval.text_or(end, "...")?;
    let text = eval.text_of(&value)?;
    if text.chars().count() <= length + leeway {
        return Ok(Value::Text(text));
    }
    let room = length
        .checked_sub(end.chars().count())
        .ok_or_else(|| Fault::plain(format!("expected length >= {}, got {length}", end.chars().count())))?;
    let cut: String = text.chars().take(room).collect();
    let kept = if killwords { &cut[..] } else { cut.rsplit_once(' ').map_or(&cut[..], |(head, _)| head) };
    Ok(Value::text(format!("{kept}{end}")))
}

fn wordcount(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [] = args.bind([])?;
    let text = eval.text_of(&value)?;
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty());
    Ok(Value::from(words.count()))
}

fn wordwrap(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [width, break_long, wrapstring, break_hyphens] =
        args.bind(["width", "break_long_words", "wrapstring", "break_on_hyphens"])?;
    let width = usize::try_from(eval.int_or("width", width, 79)?).unwrap_or(0).max(1);
    let break_long = break_long.map_or(Ok(true), |v| v.truthy())?;
    let hyphens = break_hyphens.map_or(Ok(true), |v| v.truthy())?;
    let newline = eval.text_or(eval.given(wrapstring), "\n")?;
    let text = eval.text_of(&value)?;
    let lines: Vec<String> = methods::splitlines(&text, false)
        .into_iter()
        .map(|line| wrap_line(line, width, break_long, hyphens).join(&newline))
        .collect();
    Ok(Value::text(lines.join(&newline)))
}

/// Python's `textwrap.wrap` without replacing or expanding whitespace.
fn wrap_line(line: &str, width: usize, break_long: bool, hyphens: bool) -> Vec<String> {
    let mut chunks: Vec<String> = Vec::new();
    for c in line.chars() {
        let same = chunks.last().is_some_and(|l: &String| {
            let after_hyphen = hyphens && l.ends_with('-') && l.chars().count() > 1 && c.is_alphabetic();
            l.ends_with(char::is_whitespace) == c.is_whitespace() && !after_hyphen
        });
        match chunks.last_mut() {
            Some(last) if same => last.push(c),
            _ => chunks.push(c.to_string()),
        }
    }
    let len = |s: &str| s.chars().count();
    let mut lines: Vec<String> = Vec::new();
    let mut current = String::new();
    for mut chunk in chunks {
        let blank = chunk.chars().all(char::is_whitespace);
        if len(&current) + len(&chunk) > width {
            let done = current.trim_end().to_string();
            if !done.is_empty() {
                lines.push(done);
            }
            current.clear();
            while break_long && !blank && len(&chunk) > width {
                lines.push(chunk.chars().take(width).collect());
                chunk = chunk.chars().skip(width).collect();
            }
        }
        if !(blank && current.is_empty() && !lines.is_empty()) {
            current.push_str(&chunk);
        }
    }
    let done = current.trim_end().to_string();
    if !done.is_empty() {
        lines.push(done);
    }
    lines
}

fn xmlattr(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [space] = args.bind(["autospace"])?;
    let space = space.map_or(Ok(true), |v| v.truthy())?;
    let mut parts = Vec::new();
    for (key, item) in eval.entries(&value)? {
        if !matches!(item, Value::None) && !item.is_undefined() {
            let key = key.key_text();
            if key.contains(|c: char| c.is_whitespace() || "/>=".contains(c)) {
                return Err(Fault::new(format!("Invalid character in attribute name: '{key}'")));
            }
            parts.push(format!("{}=\"{}\"", escape_html(&key), escape_html(&eval.text_of(&item)?)));
        }
    }
    let out = parts.join(" ");
    Ok(Value::text(if space && !out.is_empty() { format!(" {out}") } else { out }))
}

fn comment(eval: &Eval, value: Value, mut args: Args) -> Run<Value> {
    let text = eval.text_of(&value)?;
    let style = match args.take("style").or_else(|| (!args.pos.is_empty()).then(|| args.pos.remove(0))) {
        Some(style) => eval.text_of(&style)?,
        None => "plain".into(),
    };
    let (beginning, decoration, end) = match &*style {
        "plain" => ("", "# ", ""),
        "erlang" => ("", "% ", ""),
        "c" => ("", "// ", ""),
        "cblock" => ("/*", " * ", " */"),
        "xml" => ("<!--", " - ", "-->"),
        other => {
            return Err(Fault::new(format!("Invalid style '{other}'."))
                .help("Available styles: plain, erlang, c, cblock, xml"));
        }
    };
    let [newline, given_beginning, prefix, prefix_count, given_decoration, postfix, postfix_count, given_end] =
        args.bind([
            "newline",
            "beginning",
            "prefix",
            "prefix_count",
            "decoration",
            "postfix",
            "postfix_count",
            "end",
        ])?;
    let newline = eval.text_or(newline, "\n")?;
    let beginning = eval.text_or(given_beginning, beginning)?;
    let decoration = eval.text_or(given_decoration, decoration)?;
    let prefix = eval.text_or(prefix, decoration.trim_end())?;
    let postfix = eval.text_or(postfix, decoration.trim_end())?;
    let end = eval.text_or(given_end, end)?;
    let count = |n: i128| usize::try_from(n).unwrap_or(0).min(10_000);
    let prefix_count = count(eval.int_or("prefix_count", prefix_count, 1)?);
    let postfix_count = count(eval.int_or("postfix_count", postfix_count, 1)?);

    let mut out = String::new();
    if !beginning.is_empty() {
        out.push_str(&format!("{beginning}{newline}"));
    }
    if !prefix.is_empty() {
        let line = if prefix == newline { newline.to_string() } else { format!("{prefix}{newline}") };
        out.push_str(&line.repeat(prefix_count));
    }
    let decorated = format!("{decoration}{}", text.replace(&*newline, &format!("{newline}{decoration}")));
    out.push_str(
        &decorated.replace(&format!("{decoration}{newline}"), &format!("{}{newline}", decoration.trim_end())),
    );
    out.push_str(&format!("{newline}{postfix}").repeat(postfix_count));
    if !end.is_empty() {
        out.push_str(&format!("{newline}{end}"));
    }
    Ok(Value::text(out))
}
