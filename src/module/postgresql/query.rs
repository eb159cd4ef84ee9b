//! `postgresql_query`: SQL on a Postgres server.

use super::connection::{Connection, answer, with_connection_args};
use super::quote::identifier;
use super::statement::{self, Kind, Values};
use crate::module::{CheckAnswer, Failure, Module, Plan, PlanCx, Step};
use crate::remote::Effect;
use crate::secret::generate;
use crate::source::{Map, Text, Val};

/// Runs SQL and gives its rows. What only reads is run while planning, in a read-only transaction,
/// so it works in check mode and is never `changed`.
pub struct PostgresqlQuery;

with_connection_args! {
    /// Arguments of `postgresql_query`.
    pub struct Args {
        /// The SQL, or a list of it. Placeholders take the values of `positional_args` or
        /// `named_args`.
        pub query: Val,
        /// Values of `%s`, in order.
        #[serde(default)]
        pub positional_args: Vec<Val>,
        /// Values of `%(name)s`.
        pub named_args: Option<Val>,
        /// Run outside a transaction, for what can't be in one (VACUUM).
        #[serde(default)]
        pub autocommit: bool,
        /// Schemas to look for names in.
        #[serde(default)]
        pub search_path: Vec<String>,
        /// Client encoding; only UTF8 is supported.
        pub encoding: Option<String>,
    }
}

const WRITES: &str = "what SQL did can't be taken back; write what undoes it as undo: tasks";

impl Module for PostgresqlQuery {
    type Args = Args;
    const NAME: &'static str = "postgresql_query";
    const COLLECTION: &'static str = "community.postgresql";
    const SECRET_ARGS: &'static [&'static str] = &["login_password"];

    fn one_way(args: &Val) -> Option<&'static str> {
        let args = crate::source::args::from_val(args).ok().filter(|_| !args.has_template())?;
        (!Script::new(&args).ok()?.only_reads()).then_some(WRITES)
    }

    fn validate(args: &Args) -> Result<(), String> {
        if !args.positional_args.is_empty() && args.named_args.is_some() {
            return Err("parameters are mutually exclusive: positional_args|named_args".into());
        }
        if args.encoding.as_ref().is_some_and(|e| !e.to_uppercase().replace('-', "").eq("UTF8")) {
            return Err("encoding: only UTF8 is supported".into());
        }
        args.connection().check()
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let script = Script::new(&args).map_err(Failure::new)?;
        let connection = args.connection();
        if script.only_reads() {
            let command = script.command(&connection, "BEGIN READ ONLY;").map_err(Failure::new)?;
            let output = cx.target.probe(command).await?;
            // A function that writes: then it is an effect after all.
            if !output.stderr_text().contains("read-only transaction") {
                let text = answer(&output, "run the query")?;
                let mut plan = script.results(&text).map_err(Failure::new)?;
                plan.changed = Some(false);
                return Ok(plan);
            }
        }
        let command = script.command(&connection, script.begin()).map_err(Failure::new)?;
        let mut plan = Plan::ok().step(Step::one_way("run SQL", Effect::Run(command), WRITES).unobservable());
        plan.check = CheckAnswer::Unknown("the SQL is not run in check mode".into());
        Ok(plan.finish(move |outputs| {
            let Some(output) = outputs.last() else { return Ok(Plan::ok()) };
            script.results(&answer(output, "run the query")?).map_err(Failure::new)
        }))
    }
}

/// Statements ready to run, and how to read what they print.
struct Script {
    statements: Vec<(Text, Kind)>,
    /// Stands before the output of each statement; unguessable, so that no data looks like it.
    mark: String,
    /// Printed for NULL in reports.
    null: String,
    autocommit: bool,
    search_path: Vec<String>,
}

/// What one statement printed.
struct Answered {
    rows: Vec<Val>,
    status: String,
    count: i64,
}

impl Script {
    fn new(args: &Args) -> Result<Script, String> {
        let queries: Vec<&str> = match &args.query {
            Val::Text(query) => vec![query.as_str()],
            Val::List(list) => list
                .iter()
                .map(|q| q.as_str().ok_or("query must be a string or a list of strings"))
                .collect::<Result<_, _>>()?,
            _ => return Err("query must be a string or a list of strings".into()),
        };
        let has_secret = args.query.has_secret();
        let values = match &args.named_args {
            Some(named) => Values::Named(named.as_map().ok_or("named_args must be a dictionary")?),
            None if args.positional_args.is_empty() => Values::None,
            None => Values::Positional(&args.positional_args),
        };
        let mut statements = Vec::new();
        for query in queries {
            let bound = statement::bind(query, values)?;
            let secret = has_secret || bound.is_secret();
            for sql in statement::split(&bound)? {
                let kind = statement::kind(&sql)?;
                statements.push((if secret { Text::secret(sql) } else { Text::new(sql) }, kind));
            }
        }
        if statements.is_empty() {
            return Err("query is empty".into());
        }
        let random = || generate(generate::ALPHANUMERIC, 32).map_err(|e| e.message);
        let token = |s: crate::secret::Secret| s.expose().unwrap_or_default().to_string();
        Ok(Script {
            statements,
            mark: token(random()?),
            null: token(random()?),
            autocommit: args.autocommit,
            search_path: args.search_path.clone(),
        })
    }

    fn only_reads(&self) -> bool {
        self.statements.iter().all(|(_, kind)| matches!(kind, Kind::Rows | Kind::Report))
    }

    fn begin(&self) -> &'static str {
        if self.autocommit { "" } else { "BEGIN;" }
    }

    fn command(&self, connection: &Connection, begin: &str) -> Result<crate::remote::Command, String> {
        let secret = self.statements.iter().any(|(sql, _)| sql.is_secret());
        let mut script = format!("\\pset null {}\n", self.null);
        if !self.search_path.is_empty() {
            let path = self.search_path.iter().map(|s| identifier(s)).collect::<Result<Vec<_>, _>>()?;
            script.push_str(&format!("SET search_path = {};\n", path.join(", ")));
        }
        script.push_str(&format!("{begin}\n"));
        for (sql, kind) in &self.statements {
            script.push_str(&format!("\\echo {}\n", self.mark));
            // On a line of its own: the statement may end in a comment.
            script.push_str(&match kind {
                Kind::Rows => format!("SELECT pg_catalog.row_to_json(q) FROM (\n{}\n) AS q;\n", sql.as_str()),
                Kind::Returning => {
                    format!("WITH q AS (\n{}\n) SELECT pg_catalog.row_to_json(q) FROM q;\n", sql.as_str())
                }
                Kind::Report | Kind::WritingWith => format!(
                    "\\pset format csv\n\\pset tuples_only off\n{}\n;\n\\pset format unaligned\n\\pset tuples_only on\n",
                    sql.as_str()
                ),
                Kind::Effect => format!("\\set QUIET off\n{}\n;\n\\set QUIET on\n", sql.as_str()),
            });
        }
        if !begin.is_empty() {
            script.push_str("COMMIT;\n");
        }
        connection.psql(&script, secret)
    }

    fn results(&self, output: &str) -> Result<Plan, String> {
        let unreadable = || "the server's answer could not be understood".to_string();
        let mark = format!("{}\n", self.mark);
        let mut printed = output.split(&mark).skip(1);
        let mut all = Vec::new();
        for (sql, kind) in &self.statements {
            all.push(
                self.answered(sql, *kind, printed.next().ok_or_else(unreadable)?).ok_or_else(unreadable)?,
            );
        }
        let changed = self.statements.iter().zip(&all).any(|((_, kind), a)| match kind {
            Kind::Rows | Kind::Report => false,
            Kind::Returning | Kind::WritingWith => a.count > 0,
            // As Ansible: rows that were touched count, and whatever isn't about rows.
            Kind::Effect => match a.status.split(' ').next() {
                Some("INSERT" | "UPDATE" | "DELETE" | "MERGE") => a.count > 0,
                _ => true,
            },
        });
        let mut plan = Plan::ok();
        plan.changed = Some(changed);
        let texts: Vec<Val> = self.statements.iter().map(|(sql, _)| Val::Text(sql.clone())).collect();
        let last = all.last();
        plan = plan
            .value("query", texts.last().cloned().unwrap_or_default())
            .value("query_list", Val::list(texts))
            .value("statusmessage", last.map(|a| a.status.clone()))
            .value("query_result", Val::list(last.map(|a| a.rows.clone()).unwrap_or_default()))
            .value("rowcount", all.iter().map(|a| a.count).sum::<i64>());
        let each: Vec<Val> = all.into_iter().map(|a| Val::list(a.rows)).collect();
        Ok(plan.value("query_all_results", Val::list(each)))
    }

    fn answered(&self, sql: &str, kind: Kind, printed: &str) -> Option<Answered> {
        let json = || {
            printed
                .lines()
                .filter(|l| !l.is_empty())
                .map(|l| serde_json::from_str(l).ok().map(|row| Val::from_json(&row)))
                .collect::<Option<Vec<Val>>>()
        };
        let with_rows = |rows: Vec<Val>, word: &str| {
            let count = rows.len() as i64;
            Answered { rows, status: format!("{word} {count}"), count }
        };
        let first = || sql.split_whitespace().next().unwrap_or_default().to_uppercase();
        Some(match kind {
            Kind::Rows => with_rows(json()?, "SELECT"),
            Kind::Returning if first() == "INSERT" => with_rows(json()?, "INSERT 0"),
            Kind::Returning => with_rows(json()?, &first()),
            Kind::Report | Kind::WritingWith => match first().as_str() {
                word @ ("SHOW" | "EXPLAIN") => {
                    let status = word.to_string();
                    Answered { status, ..with_rows(self.table(printed)?, "") }
                }
                _ => with_rows(self.table(printed)?, "SELECT"),
            },
            Kind::Effect => {
                let status = printed.lines().rfind(|l| !l.is_empty()).unwrap_or_default().to_string();
                let count = status.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
                Answered { rows: Vec::new(), status, count }
            }
        })
    }

    /// Rows of CSV with a header; every value is text or NULL.
    fn table(&self, csv: &str) -> Option<Vec<Val>> {
        let mut rows = csv_rows(csv)?.into_iter();
        let Some(header) = rows.next() else { return Some(Vec::new()) };
        let value = |text: String| if text == self.null { Val::Null } else { Val::from(text) };
        Some(
            rows.map(|row| {
                let row = header.iter().map(|h| Val::from(h.as_str())).zip(row.into_iter().map(value));
                Val::map(row.collect::<Map>())
            })
            .collect(),
        )
    }
}

/// `None`: a quote doesn't end.
fn csv_rows(csv: &str) -> Option<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    let mut row = vec![String::new()];
    let mut quoted = false;
    let mut chars = csv.chars().peekable();
    while let Some(c) = chars.next() {
        let field = row.last_mut()?;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                field.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(String::new()),
            '\n' if !quoted => rows.push(std::mem::replace(&mut row, vec![String::new()])),
            c => field.push(c),
        }
    }
    let ended = row.len() == 1 && row[0].is_empty();
    (!quoted && ended).then_some(rows)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::source::args::from_val;

    fn args(entries: Vec<(&'static str, Val)>) -> Args {
        from_val(&crate::source::args::args(entries)).unwrap()
    }

    /// Runs a script as the module would, against a real server.
    pub fn run_on(
        connection: &Connection,
        entries: Vec<(&'static str, Val)>,
        run: impl Fn(crate::remote::Command) -> crate::remote::Output,
    ) -> Result<Plan, Failure> {
        let script = Script::new(&args(entries)).map_err(Failure::new)?;
        let output = run(script.command(connection, script.begin()).map_err(Failure::new)?);
        script.results(&answer(&output, "run the query")?).map_err(Failure::new)
    }

    #[test]
    fn what_only_reads() {
        let reads = |q: &str| Script::new(&args(vec![("query", Val::from(q))])).unwrap().only_reads();
        assert!(reads("SELECT 1; SHOW port"));
        assert!(!reads("SELECT 1; INSERT INTO t VALUES (1)"));
        assert!(!reads("VACUUM"));
    }

    #[test]
    fn bad_arguments() {
        let both = args(vec![
            ("query", Val::from("x")),
            ("positional_args", Val::from(vec![1i64])),
            ("named_args", Val::map(Map::new())),
        ]);
        assert!(PostgresqlQuery::validate(&both).unwrap_err().contains("mutually exclusive"));
        for (query, message) in [(Val::from(" ; "), "query is empty"), (Val::Int(1), "must be a string")] {
            let error = Script::new(&args(vec![("query", query)])).err().unwrap();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn csv() {
        assert_eq!(
            csv_rows("a,b\n\"x,\"\"y\n\",\n").unwrap(),
            [vec!["a".to_string(), "b".into()], vec!["x,\"y\n".into(), String::new()]]
        );
        assert!(csv_rows("a\n\"x").is_none());
    }
}
