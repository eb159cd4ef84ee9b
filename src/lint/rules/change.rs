//! Which tasks change a credential; which texts name a `.env` file.

use crate::lint::Visit;
use crate::lint::project::variable;
use crate::secret::names::is_credential;
use crate::source::Val;

/// What credential a task changes, as in "`dotenv` changes OIDC_CLIENT_SECRET".
pub fn credential_change(visit: &Visit) -> Option<String> {
    if visit.only_looks() {
        return None;
    }
    match visit.module() {
        "dotenv" => env_keys(visit).map(|keys| format!("`dotenv` changes {keys}")),
        "postgresql_user" => {
            let password = visit.arg(&["password"])?;
            let is_given = !matches!(password, Val::Null | Val::Omit) && !password.key_text().is_empty();
            is_given.then(|| "`postgresql_user` changes the password of a database role".to_string())
        }
        "postgresql_query" => {
            let query = visit.arg(&["query"])?.key_text();
            alters_password(&query).then(|| "`postgresql_query` changes the password of a role".to_string())
        }
        "lineinfile" | "replace" => {
            let path = visit.text_arg(&["path", "dest", "destfile", "name"])?;
            let texts = ["line", "regexp", "search_string", "replace"];
            let keys =
                texts.iter().filter_map(|name| visit.text_arg(&[name])).filter_map(|text| first_key(text));
            let key = keys.into_iter().find(|key| is_credential(key)).filter(|_| is_env_file(path))?;
            Some(format!("`{}` changes {key}", visit.module()))
        }
        module => {
            let line = visit.command_line()?;
            alters_password(&line).then(|| format!("`{module}` changes the password of a database role"))
        }
    }
}

/// What a task's play says of what it changes: `high` can lock everybody out.
pub fn blast_radius(visit: &Visit) -> Option<&str> {
    visit.play.as_ref()?.vars.get("blast_radius").and_then(Val::as_str)
}

/// The credential that a `dotenv` task writes. A key that only the run can tell is taken for one:
/// that is what the module is for.
pub fn env_keys(visit: &Visit) -> Option<String> {
    match visit.arg(&["key", "name"])? {
        Val::Text(key) => match visit.known_texts(key) {
            Some(keys) => keys.into_iter().find(|key| is_credential(key)),
            None => Some("a variable of .env that only the run can name".to_string()),
        },
        _ => None,
    }
}

/// `^OIDC_CLIENT_SECRET=.*` → `OIDC_CLIENT_SECRET`
fn first_key(text: &str) -> Option<String> {
    let text = text.trim_start_matches(['^', '\\', ' ']).trim_start_matches("export ");
    let key: String = text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!key.is_empty()).then_some(key)
}

/// `ALTER ROLE x WITH PASSWORD …`, `ALTER USER …`
fn alters_password(sql: &str) -> bool {
    let sql = sql.to_ascii_uppercase();
    let words: Vec<&str> =
        sql.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
    let alter = words.windows(2).position(|pair| pair[0] == "ALTER" && matches!(pair[1], "ROLE" | "USER"));
    alter.is_some_and(|at| words[at..].contains(&"PASSWORD"))
}

/// Whether a path is that of a `.env` file: by its name, or by the name of the variable that holds
/// it.
pub fn is_env_file(path: &str) -> bool {
    const COPIES: [&str; 8] = ["example", "sample", "template", "dist", "bak", "old", "orig", "j2"];
    let path = path.trim().trim_matches(['"', '\'']);
    if let Some(variable) = variable(path) {
        let name = variable.rsplit('.').next().unwrap_or(variable);
        return ["env_file", "env_path", "dotenv"].iter().any(|part| name.contains(part));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    match name.strip_prefix(".env") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('.').is_some_and(|rest| !COPIES.iter().any(|c| rest.ends_with(c))),
        None => name.ends_with(".env"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn env_files() {
        for path in [
            ".env",
            "/srv/seqn-auth/.env",
            "{{ seqn_project_dir }}/.env",
            ".env.production",
            "{{ seqn_env_file }}",
            "'{{ db.env_file }}'",
            "prod.env",
        ] {
            assert!(is_env_file(path), "{path}");
        }
        for path in [
            "",
            ".env.example",
            ".env.bak",
            "env",
            "/etc/environment",
            "{{ item }}",
            ".envrc",
            "x.env.j2",
            "{{ seqn_project_dir }}",
        ] {
            assert!(!is_env_file(path), "{path}");
        }
    }

    #[test]
    fn passwords_in_sql() {
        assert!(alters_password("psql -c \"alter role silver with login password 'x'\""));
        assert!(alters_password("ALTER USER silver PASSWORD 'x'"));
        assert!(!alters_password("SELECT 'ALTER', password FROM pg_shadow"));
        assert!(!alters_password("ALTER ROLE silver NOLOGIN"));
    }
}
