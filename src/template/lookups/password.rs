//! `password`: a random password, kept in a file of the operator's machine. Always Secret.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::options::words;
use super::{Lookup, Options};
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::filters::{expanduser, password_hash, random_salt};
use crate::template::random::Random;
use crate::template::value::Value;

pub const LOOKUP: Lookup = Lookup { secret: true, ..Lookup::new("password", run).impure() };

const OPTIONS: &[&str] = &["chars", "encrypt", "ident", "length", "seed"];
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// What the file holds.
struct Stored {
    password: String,
    salt: Option<String>,
    ident: Option<String>,
}

fn run(eval: &Eval, terms: Vec<Value>, options: Options) -> Run<Vec<Value>> {
    terms.iter().map(|term| one(eval, &eval.text_of(term)?, options.clone()).map(Value::text)).collect()
}

fn one(eval: &Eval, term: &str, mut options: Options) -> Run<String> {
    let name = match term.split_once(' ') {
        None => term.to_string(),
        Some((first, rest)) => {
            let (raw, pairs) = words(rest);
            for (key, value) in pairs {
                if !OPTIONS.contains(&&*key) {
                    return Err(Fault::plain(format!(
                        "Unrecognized parameter(s) given to password lookup: {key}"
                    ))
                    .help(format!("The parameters are: {}", OPTIONS.join(", "))));
                }
                options.set(&key, &value);
            }
            let name = std::iter::once(first.to_string()).chain(raw).collect::<Vec<_>>().join(" ");
            if !term.starts_with(&name) {
                return Err(Fault::plain(
                    "Unrecognized value after key=value parameters given to password lookup",
                ));
            }
            name
        }
    };
    let length = usize::try_from(eval.int_or("length", options.take("length"), 20)?)
        .ok()
        .filter(|n| (1..=100_000).contains(n))
        .ok_or_else(|| Fault::plain("'length' must be from 1 to 100000"))?;
    let alphabet = alphabet(eval, options.take("chars"))?;
    let seed = options.text(eval, "seed")?;
    let encrypt = options.text(eval, "encrypt")?.filter(|kind| !kind.is_empty());
    let ident = options.text(eval, "ident")?;
    options.finish(OPTIONS)?;

    let kept = name != "/dev/null";
    let path = place(eval, &name);
    let mut stored = match if kept { read(&path)? } else { None } {
        Some(stored) => stored,
        None => Stored { password: generate(length, &alphabet, seed.as_deref())?, salt: None, ident: None },
    };
    if let (Some(there), Some(asked)) = (&stored.ident, &ident)
        && **there != **asked
    {
        return Err(Fault::plain(format!(
            "The ident parameter provided ({asked}) does not match the stored one ({there})."
        )));
    }
    if encrypt.is_some() && stored.salt.is_none() {
        stored.salt = Some(random_salt(16)?);
    }
    if kept && !eval.cx().check_mode {
        stored = keep(&path, stored)?;
    }
    match encrypt {
        None => Ok(stored.password),
        Some(kind) => {
            let salt = stored.salt.unwrap_or_default();
            password_hash(&stored.password, &kind, &salt, None)
        }
    }
}

fn place(eval: &Eval, name: &str) -> PathBuf {
    eval.cx().playbook_dir.join(expanduser(name))
}

fn alphabet(eval: &Eval, chars: Option<Value>) -> Run<Vec<char>> {
    let specs: Vec<String> = match chars {
        None => vec!["ascii_letters".into(), "digits".into(), ".,:-_".into()],
        Some(Value::Text(s)) => {
            let mut specs: Vec<String> =
                s.replace(",,", ",").split(',').filter(|c| !c.is_empty()).map(str::to_string).collect();
            if s.contains(",,") {
                specs.insert(0, ",".into());
            }
            specs
        }
        Some(list) => {
            eval.iterate(&list)?.iter().map(|c| Ok(eval.text_of(c)?.to_string())).collect::<Run<_>>()?
        }
    };
    let mut out = String::new();
    for spec in &specs {
        out.push_str(match spec.as_str() {
            "ascii_letters" => LETTERS,
            "ascii_lowercase" => &LETTERS[..26],
            "ascii_uppercase" => &LETTERS[26..],
            "digits" => "0123456789",
            "hexdigits" => "0123456789abcdefABCDEF",
            "octdigits" => "01234567",
            "punctuation" => "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
            "whitespace" => " \t\n\r\x0b\x0c",
            "printable" => {
                "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~ \t\n\r\x0b\x0c"
            }
            other => other,
        });
    }
    let alphabet: Vec<char> = out.chars().filter(|c| !matches!(c, '"' | '\'')).collect();
    if alphabet.is_empty() {
        return Err(Fault::plain("'chars' leaves no character to choose from"));
    }
    Ok(alphabet)
}

fn generate(length: usize, alphabet: &[char], seed: Option<&str>) -> Run<String> {
    let mut random = match seed {
        None => Random::System,
        Some(seed) => Random::from_text_seed(seed),
    };
    (0..length).map(|_| Ok(alphabet[random.below(alphabet.len() as u64)? as usize])).collect()
}

fn read(path: &Path) -> Run<Option<Stored>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(parse(text.trim_end()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Fault::plain(format!("the password file {} cannot be read: {e}", path.display()))),
    }
}

fn parse(content: &str) -> Stored {
    let Some((password, rest)) = content.rsplit_once(" salt=") else {
        return Stored { password: content.to_string(), salt: None, ident: None };
    };
    let (salt, ident) = match rest.rsplit_once(" ident=") {
        Some((salt, ident)) => (salt, Some(ident.to_string())),
        None => (rest, None),
    };
    Stored { password: password.to_string(), salt: (!salt.is_empty()).then(|| salt.to_string()), ident }
}

/// Writes what isn't there yet. Whoever is first wins: another writer's password is returned.
fn keep(path: &Path, stored: Stored) -> Run<Stored> {
    let there = read(path)?;
    if let Some(there) = &there
        && there.salt == stored.salt
    {
        return Ok(stored);
    }
    let failed = |e: &dyn std::fmt::Display| {
        Fault::plain(format!("the password file {} cannot be written: {e}", path.display()))
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|e| failed(&e))?;
    let mut content = stored.password.clone();
    if let Some(salt) = &stored.salt {
        content.push_str(&format!(" salt={salt}"));
        if let Some(ident) = &stored.ident {
            content.push_str(&format!(" ident={ident}"));
        }
    }
    let mut file =
        tempfile::Builder::new().prefix(".password").tempfile_in(folder).map_err(|e| failed(&e))?;
    file.as_file().set_permissions(fs::Permissions::from_mode(0o600)).map_err(|e| failed(&e))?;
    file.write_all(format!("{content}\n").as_bytes()).map_err(|e| failed(&e))?;
    file.as_file().sync_all().map_err(|e| failed(&e))?;
    if there.is_some() {
        file.persist(path).map_err(|e| failed(&e.error))?;
        return Ok(stored);
    }
    match file.persist_noclobber(path) {
        Ok(_) => Ok(stored),
        Err(e) if e.error.kind() == std::io::ErrorKind::AlreadyExists => Ok(read(path)?.unwrap_or(stored)),
        Err(e) => Err(failed(&e.error)),
    }
}
