//! The pure decision about a role: what is stored and what is wanted in, SQL out.

use serde::Deserialize;

use super::connection::CONFLICT;
use super::quote::{dollar, identifier, literal};
use crate::secret::scram::{self, Stored, Verifier};

/// The oldest server (`server_version_num`) that stores SCRAM verifiers as they are.
const FIRST_WITH_SCRAM: i64 = 100_000;

/// A role as the server has it; one JSON line of [`observe_sql`].
#[derive(Clone, PartialEq, Deserialize)]
pub struct Role {
    pub rolsuper: bool,
    pub rolinherit: bool,
    pub rolcreaterole: bool,
    pub rolcreatedb: bool,
    pub rolcanlogin: bool,
    pub rolreplication: bool,
    pub rolbypassrls: bool,
    pub rolconnlimit: i64,
    pub rolpassword: Option<String>,
    pub rolvaliduntil: Option<String>,
    pub comment: Option<String>,
    /// Whether `rolvaliduntil` is the wanted one; the server compares times.
    pub same_expiry: bool,
}

/// What the server answered.
#[derive(Clone, Deserialize)]
pub struct Observed {
    pub version: i64,
    pub role: Option<Role>,
}

/// What shall be.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    pub name: &'a str,
    pub absent: bool,
    /// Plain, or a verifier to be stored as it is; empty: no password.
    pub password: Option<&'a str>,
    /// The password of a role that is there stays as it is.
    pub keep_password: bool,
    /// As `role_attr_flags`: `LOGIN,NOCREATEDB`.
    pub flags: &'a [String],
    pub expires: Option<&'a str>,
    pub connection_limit: Option<i64>,
    pub comment: Option<&'a str>,
}

/// What to do about it.
#[derive(Clone, PartialEq)]
pub enum Decision {
    /// The role is as wanted.
    Nothing,
    Change(Box<Change>),
}

#[derive(Clone, PartialEq)]
pub struct Change {
    /// Checks that the role is still as observed, and changes it, in one transaction.
    pub sql: String,
    /// Brings back what was; `None`: it can't be brought back.
    pub inverse: Option<String>,
    /// The SQL for people, verifiers masked.
    pub shown: Vec<String>,
    /// What `rolpassword` must read after it, if it changes: byte for byte.
    pub stored: Option<Option<String>>,
}

/// One query whose only line is [`Observed`] as JSON. It holds no secret; its answer does.
///
/// # Errors
/// The name or time can't be written in SQL.
pub fn observe_sql(name: &str, expires: Option<&str>) -> Result<String, String> {
    let same_expiry = match expires {
        Some(time) => format!("coalesce(a.rolvaliduntil = {}::timestamptz, false)", literal(time)?),
        None => "true".into(),
    };
    Ok(format!(
        "SELECT pg_catalog.json_build_object('version', current_setting('server_version_num')::int, 'role', (\
SELECT pg_catalog.row_to_json(r) FROM (SELECT a.rolsuper, a.rolinherit, a.rolcreaterole, a.rolcreatedb, \
a.rolcanlogin, a.rolreplication, a.rolbypassrls, a.rolconnlimit, a.rolpassword, \
a.rolvaliduntil::text AS rolvaliduntil, pg_catalog.shobj_description(a.oid, 'pg_authid') AS comment, \
{same_expiry} AS same_expiry FROM pg_catalog.pg_authid AS a WHERE a.rolname = {}) AS r));",
        literal(name)?
    ))
}

/// Reads the answer to [`observe_sql`].
///
/// # Errors
/// It is something else. The message holds nothing of it.
pub fn read_observed(answer: &str) -> Result<Observed, String> {
    serde_json::from_str(answer.trim())
        .map_err(|_| "the server's answer about the role could not be understood".to_string())
}

/// The attributes that `role_attr_flags` can name, and how each is stored.
type Attribute = (&'static str, fn(&Role) -> bool);
const ATTRIBUTES: &[Attribute] = &[
    ("SUPERUSER", |r| r.rolsuper),
    ("CREATEROLE", |r| r.rolcreaterole),
    ("CREATEDB", |r| r.rolcreatedb),
    ("INHERIT", |r| r.rolinherit),
    ("LOGIN", |r| r.rolcanlogin),
    ("REPLICATION", |r| r.rolreplication),
    ("BYPASSRLS", |r| r.rolbypassrls),
];

/// A flag as attribute and whether it is set: `NOLOGIN` is LOGIN, not set.
fn flag(text: &str) -> Result<(&'static Attribute, bool), String> {
    let word = text.trim().to_uppercase();
    let find = |name: &str| ATTRIBUTES.iter().find(|(n, _)| *n == name);
    if let Some(attribute) = find(&word) {
        return Ok((attribute, true));
    }
    word.strip_prefix("NO").and_then(find).map(|attribute| (attribute, false)).ok_or_else(|| {
        let known: Vec<&str> = ATTRIBUTES.iter().map(|(n, _)| *n).collect();
        format!("Invalid role_attr_flags specified: {text}; known are [NO]{}", known.join(", [NO]"))
    })
}

/// Checks flags at load.
///
/// # Errors
/// The unknown one.
pub fn check_flags(flags: &[String]) -> Result<(), String> {
    flags.iter().filter(|f| !f.trim().is_empty()).try_for_each(|f| flag(f).map(drop))
}

/// What would bring the role to the wanted state. A new verifier is made here, so that the plain
/// password is in no SQL.
///
/// # Errors
/// The server is too old, a name or value can't be written in SQL, or no random source.
pub fn decide(observed: &Observed, wanted: &Wanted<'_>) -> Result<Decision, String> {
    match (&observed.role, wanted.absent) {
        (None, true) => Ok(Decision::Nothing),
        (Some(_), true) => drop_role(wanted.name),
        (None, false) => create(observed, wanted),
        (Some(role), false) => alter(observed, role, wanted),
    }
}

fn drop_role(name: &str) -> Result<Decision, String> {
    let sql = format!("DROP ROLE {}", identifier(name)?);
    Ok(Decision::Change(Box::new(Change {
        shown: vec![sql.clone()],
        sql: sql + ";",
        inverse: None,
        stored: None,
    })))
}

fn create(observed: &Observed, wanted: &Wanted<'_>) -> Result<Decision, String> {
    let role = identifier(wanted.name)?;
    let mut options = Options::default();
    for given in wanted.flags.iter().filter(|f| !f.trim().is_empty()) {
        let ((name, _), on) = flag(given)?;
        options.push(if on { (*name).to_string() } else { format!("NO{name}") });
    }
    let stored = match wanted.password.filter(|p| !p.is_empty()) {
        Some(password) => Some(new_verifier(observed, password)?),
        None => None,
    };
    if let Some(verifier) = &stored {
        options.password(Some(verifier))?;
    }
    options.limits(wanted.connection_limit, wanted.expires)?;
    // As Ansible's: a role made here can log in unless it is told otherwise.
    let statement = format!("CREATE USER {role}{}", options.sql());
    let mut statements = vec![statement];
    let mut shown = vec![format!("CREATE USER {role}{}", options.shown())];
    if let Some(comment) = wanted.comment {
        statements.push(comment_sql(&role, Some(comment))?);
        shown.extend(statements.last().cloned());
    }
    Ok(Decision::Change(Box::new(Change {
        sql: block(&statements.join(";\n")),
        inverse: Some(format!("DROP ROLE IF EXISTS {role};")),
        shown,
        stored: Some(stored).filter(Option::is_some),
    })))
}

fn alter(observed: &Observed, now: &Role, wanted: &Wanted<'_>) -> Result<Decision, String> {
    let role = identifier(wanted.name)?;
    let (mut to, mut back) = (Options::default(), Options::default());
    for given in wanted.flags.iter().filter(|f| !f.trim().is_empty()) {
        let ((name, is_set), on) = flag(given)?;
        if is_set(now) != on {
            let word = |on: bool| if on { (*name).to_string() } else { format!("NO{name}") };
            to.push(word(on));
            back.push(word(!on));
        }
    }
    let stored = new_password(observed, now, wanted)?;
    if let Some(new) = &stored {
        to.password(new.as_deref())?;
        back.password(now.rolpassword.as_deref())?;
    }
    let limit = wanted.connection_limit.filter(|limit| *limit != now.rolconnlimit);
    let expires = wanted.expires.filter(|_| !now.same_expiry);
    to.limits(limit, expires)?;
    back.limits(
        limit.map(|_| now.rolconnlimit),
        expires.map(|_| now.rolvaliduntil.as_deref().unwrap_or("infinity")),
    )?;
    let comment = wanted.comment.filter(|c| *c != now.comment.as_deref().unwrap_or_default());

    let alter = |options: &Options| format!("ALTER USER {role}{}", options.sql());
    let (mut forth, mut undo, mut shown) = (Vec::new(), Vec::new(), Vec::new());
    if !to.is_empty() {
        forth.push(alter(&to));
        undo.push(alter(&back));
        shown.push(format!("ALTER USER {role}{}", to.shown()));
    }
    if let Some(comment) = comment {
        forth.push(comment_sql(&role, Some(comment))?);
        undo.push(comment_sql(&role, now.comment.as_deref())?);
        shown.extend(forth.last().cloned());
    }
    if forth.is_empty() {
        return Ok(Decision::Nothing);
    }
    let after = stored.clone().unwrap_or_else(|| now.rolpassword.clone());
    Ok(Decision::Change(Box::new(Change {
        sql: compare_and_set(wanted.name, now.rolpassword.as_deref(), None, &forth)?,
        inverse: Some(compare_and_set(
            wanted.name,
            after.as_deref(),
            stored.is_some().then_some(now.rolpassword.as_deref()),
            &undo,
        )?),
        shown,
        stored,
    })))
}

/// What `rolpassword` shall become; `None`: it is as wanted.
fn new_password(
    observed: &Observed,
    now: &Role,
    wanted: &Wanted<'_>,
) -> Result<Option<Option<String>>, String> {
    let Some(password) = wanted.password.filter(|_| !wanted.keep_password) else { return Ok(None) };
    if password.is_empty() {
        return Ok(now.rolpassword.is_some().then_some(None));
    }
    let same = if scram::is_verifier(password) {
        now.rolpassword.as_deref() == Some(password)
    } else {
        Stored::parse(now.rolpassword.as_deref()).accepts(wanted.name, password) == Some(true)
    };
    if same { Ok(None) } else { new_verifier(observed, password).map(|v| Some(Some(v))) }
}

fn new_verifier(observed: &Observed, password: &str) -> Result<String, String> {
    if scram::is_verifier(password) {
        return Ok(password.to_string());
    }
    if observed.version < FIRST_WITH_SCRAM {
        return Err(format!(
            "Postgres {} has no SCRAM-SHA-256: it would take the verifier for the password itself; \
version 10 or later is required",
            observed.version / 10_000
        ));
    }
    Verifier::fresh(password).map(|v| v.to_string()).map_err(|e| e.message)
}

/// Options of CREATE and ALTER, and how people see them.
#[derive(Default)]
struct Options(Vec<(String, String)>);

impl Options {
    fn push(&mut self, option: String) {
        self.0.push((option.clone(), option));
    }

    fn password(&mut self, verifier: Option<&str>) -> Result<(), String> {
        match verifier {
            Some(v) => self.0.push((format!("PASSWORD {}", literal(v)?), "PASSWORD '********'".into())),
            None => self.push("PASSWORD NULL".into()),
        }
        Ok(())
    }

    fn limits(&mut self, connections: Option<i64>, expires: Option<&str>) -> Result<(), String> {
        if let Some(limit) = connections {
            self.push(format!("CONNECTION LIMIT {limit}"));
        }
        if let Some(time) = expires {
            self.push(format!("VALID UNTIL {}", literal(time)?));
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn sql(&self) -> String {
        self.joined(|(sql, _)| sql)
    }

    fn shown(&self) -> String {
        self.joined(|(_, shown)| shown)
    }

    fn joined(&self, part: fn(&(String, String)) -> &String) -> String {
        let words: Vec<&str> = self.0.iter().map(|o| part(o).as_str()).collect();
        if words.is_empty() { String::new() } else { format!(" WITH {}", words.join(" ")) }
    }
}

fn comment_sql(role: &str, comment: Option<&str>) -> Result<String, String> {
    let text = comment.filter(|c| !c.is_empty()).map(literal).transpose()?.unwrap_or_else(|| "NULL".into());
    Ok(format!("COMMENT ON ROLE {role} IS {text}"))
}

/// Statements that run only while the stored password is `expected`, in one transaction with the
/// look; the row stays locked between. Nothing is done where it is `done` already.
fn compare_and_set(
    name: &str,
    expected: Option<&str>,
    done: Option<Option<&str>>,
    statements: &[String],
) -> Result<String, String> {
    let value = |v: Option<&str>| v.map_or(Ok("NULL".to_string()), literal);
    let skip = match done {
        Some(done) => format!("IF v_stored IS NOT DISTINCT FROM {} THEN RETURN; END IF;\n", value(done)?),
        None => String::new(),
    };
    Ok(dollar_block(&format!(
        "DECLARE v_stored text;\nBEGIN\n\
SELECT a.rolpassword INTO v_stored FROM pg_catalog.pg_authid AS a WHERE a.rolname = {} FOR UPDATE;\n\
IF NOT FOUND THEN RAISE EXCEPTION '{CONFLICT}'; END IF;\n\
{skip}IF v_stored IS DISTINCT FROM {} THEN RAISE EXCEPTION '{CONFLICT}'; END IF;\n\
{};\nEND",
        literal(name)?,
        value(expected)?,
        statements.join(";\n")
    )))
}

fn block(statements: &str) -> String {
    dollar_block(&format!("BEGIN\n{statements};\nEND"))
}

fn dollar_block(body: &str) -> String {
    format!("DO {};", dollar(body))
}
