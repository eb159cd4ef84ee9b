//! The pure decision: the text of a file of variables and a wanted one in, the new text out, proved by
//! reading it again.

use std::path::Path;

use crate::source::{Diagnostics, Kind, Node, SourceFile, Val, yaml};

/// The text in which `key` has `value`; `None`: it is so already. All else stays as it is written.
///
/// # Errors
/// It is no file of variables, or the value can't be written so that it is read as it is. Holds no
/// value.
pub fn edit(text: &str, key: &str, value: &str) -> Result<Option<String>, String> {
    if ["{{", "{%", "{#"].iter().any(|begin| value.contains(begin)) {
        return Err("the value would be read as a template".into());
    }
    let root = read(text)?;
    let mut new = text.to_string();
    match root.as_ref().and_then(|root| root.get(key)) {
        Some(found) if found.as_str() == Some(value) => return Ok(None),
        Some(found) if !matches!(found.kind, Kind::List(_) | Kind::Map(_)) => {
            new.replace_range(found.span.start..found.span.end, &written(value)?);
        }
        Some(found) => return Err(format!("{key} is {}, not a text", found.type_name())),
        None => {
            if !new.is_empty() && !new.ends_with('\n') {
                new.push('\n');
            }
            new.push_str(&format!("{key}: {}\n", written(value)?));
        }
    }
    let (before, after) = (variables(root.as_ref()), variables(read(&new)?.as_ref()));
    let others =
        |all: &[(String, Val)]| all.iter().filter(|(name, _)| name != key).cloned().collect::<Vec<_>>();
    let is_wanted = after.iter().any(|(name, val)| name == key && val.as_str() == Some(value));
    match is_wanted && others(&before) == others(&after) {
        true => Ok(Some(new)),
        false => Err(format!("{key} can't be changed as it is written there; edit it by hand")),
    }
}

/// A JSON text is also a YAML text.
fn written(value: &str) -> Result<String, String> {
    serde_json::to_string(value).map_err(|e| e.to_string())
}

/// The map of variables; none in an empty file.
fn read(text: &str) -> Result<Option<Node>, String> {
    let mut problems = Diagnostics::default();
    let file = SourceFile::sealed(Path::new("the file"), text.to_string());
    let root = yaml::load_one(&file, &mut problems).filter(|root| !root.is_null());
    match &root {
        // What is wrong could quote a value.
        _ if problems.has_errors() => Err("it is not YAML that can be read".into()),
        Some(root) if root.as_map().is_none() => {
            Err(format!("it is {}, not a map of variables", root.type_name()))
        }
        _ => Ok(root),
    }
}

fn variables(root: Option<&Node>) -> Vec<(String, Val)> {
    let entries = root.and_then(Node::as_map).unwrap_or_default().iter();
    entries
        .map(|entry| (entry.key.as_str().unwrap_or_default().into(), entry.value.to_val_sealed()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_changes_and_nothing_else() {
        let text = "---\n# keys\napi: old # of the shop\nother: |\n  two\n  lines\nlist: [a, 'b']\n";
        for (text, key, value, expected) in [
            (text, "api", "n\"ew\\", Some(text.replace("old", r#""n\"ew\\""#))),
            (text, "api", "old", None),
            (text, "new", "x: #y", Some(format!("{text}new: \"x: #y\"\n"))),
            ("", "a", "b", Some("a: \"b\"\n".into())),
            ("a: 1", "a", "1", Some("a: \"1\"".into())),
            ("a: 'x'\r\nb: y\r\n", "a", "z", Some("a: \"z\"\r\nb: y\r\n".into())),
            ("a: 1", "b", "2", Some("a: 1\nb: \"2\"\n".into())),
            ("a: ''\nb: 1\n", "a", "x", Some("a: \"x\"\nb: 1\n".into())),
        ] {
            match (edit(text, key, value), expected) {
                (Ok(found), expected) if found == expected => {}
                (found, expected) => panic!("{text:?} {key}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_edited() {
        for (text, key, value, why) in [
            ("- a\n", "a", "secretsecret", "not a map of variables"),
            ("a: [1]\n", "a", "secretsecret", "not a text"),
            ("a: {{ secretsecret\n", "a", "x", "not YAML"),
            ("a: 1\n", "a", "{{ secretsecret }}", "as a template"),
            // The other one would change with it.
            ("a: &x secretsecret\nb: *x\n", "a", "y", "edit it by hand"),
            ("a: |\n  secretsecret\n  lines\nb: 1\n", "a", "y", "a can't be changed"),
        ] {
            let error = edit(text, key, value).unwrap_err();
            assert!(error.contains(why) && !error.contains("secretsecret"), "{text:?}: {error}");
        }
    }
}
