//! `postgresql_user`: a role of a Postgres server.

use super::connection::{answer, with_connection_args};
use super::role::{self, Change, Decision, Observed, Wanted};
use crate::module::{Failure, Module, Plan, PlanCx, Postcondition, Step, Where};
use crate::remote::{Effect, Output};
use crate::source::{Text, Val};

/// Makes, changes or removes a role. The password reaches the server only as a SCRAM-SHA-256
/// verifier made on the operator's machine, is compared with the stored one, and is read again
/// after the change.
pub struct PostgresqlUser;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    #[default]
    Present,
    Absent,
}

fn yes() -> bool {
    true
}

with_connection_args! {
    /// Arguments of `postgresql_user`.
    pub struct Args {
        /// The role.
        #[serde(alias = "user")]
        pub name: String,
        /// Its password: plain, or a verifier (`SCRAM-SHA-256$…`, `md5…`) to be stored as it is.
        /// Empty: no password.
        pub password: Option<Text>,
        #[serde(default)]
        pub state: State,
        /// `LOGIN,NOCREATEDB` and the like.
        #[serde(default)]
        pub role_attr_flags: Vec<String>,
        /// Leave the password of a role that is there alone.
        #[serde(default)]
        pub no_password_changes: bool,
        /// Only `true` exists: Postgres stores no plain passwords.
        #[serde(default = "yes")]
        pub encrypted: bool,
        /// When the password expires, as Postgres writes times, or `infinity`.
        pub expires: Option<String>,
        /// Connections that it can have at a time; -1: any number.
        pub conn_limit: Option<i64>,
        pub comment: Option<String>,
        /// With `state: absent`: fail where other objects depend on the role.
        #[serde(default = "yes")]
        pub fail_on_user: bool,
    }
}

const DROPPED: &str = "a dropped role loses its memberships and settings; make it again by hand";

impl Module for PostgresqlUser {
    type Args = Args;
    const NAME: &'static str = "postgresql_user";
    const COLLECTION: &'static str = "community.postgresql";
    const SECRET_ARGS: &'static [&'static str] = &["password", "login_password"];

    fn one_way(args: &Val) -> Option<&'static str> {
        (args.get("state")?.as_str()? == "absent").then_some(DROPPED)
    }

    fn validate(args: &Args) -> Result<(), String> {
        if !args.encrypted {
            return Err("encrypted: false is not possible since Postgres 10".into());
        }
        role::check_flags(&args.role_attr_flags)?;
        args.connection().check()
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let connection = args.connection();
        let wanted = Wanted {
            name: &args.name,
            absent: args.state == State::Absent,
            password: args.password.as_deref(),
            keep_password: args.no_password_changes,
            flags: &args.role_attr_flags,
            expires: args.expires.as_deref(),
            connection_limit: args.conn_limit,
            comment: args.comment.as_deref(),
        };
        let look = role::observe_sql(&args.name, args.expires.as_deref()).map_err(Failure::new)?;
        let look = connection.psql(&look, false).map_err(Failure::new)?;
        let output = cx.target.probe(look.clone()).await?;
        let observed = read(&output, &args.name)?;
        // As good as the password for whoever has the server's traffic.
        if let Some(stored) = observed.role.as_ref().and_then(|r| r.rolpassword.as_deref()) {
            cx.services.keep_secret(&Text::secret(stored));
        }
        let plan = Plan::ok().value("user", args.name.as_str());
        match role::decide(&observed, &wanted).map_err(Failure::new)? {
            Decision::Nothing => Ok(plan.value("queries", Vec::<String>::new())),
            Decision::Change(change) => {
                if let Some(Some(new)) = &change.stored {
                    cx.services.keep_secret(&Text::secret(new.as_str()));
                }
                let apply = connection.psql(&change.sql, true).map_err(Failure::new)?;
                let undo = change.inverse.as_deref().map(|sql| connection.psql(sql, true));
                let undo = undo.transpose().map_err(Failure::new)?;
                let plan = plan.value("queries", change.shown.clone());
                Ok(with_step(plan, &args, *change, apply, undo, look))
            }
        }
    }
}

fn read(output: &Output, name: &str) -> Result<Observed, Failure> {
    let answered = answer(output, &format!("look at the role {name}"))?;
    role::read_observed(&answered).map_err(Failure::new)
}

fn with_step(
    plan: Plan,
    args: &Args,
    change: Change,
    apply: crate::remote::Command,
    undo: Option<crate::remote::Command>,
    look: crate::remote::Command,
) -> Plan {
    let name = args.name.clone();
    let step = match undo {
        Some(undo) => {
            Step::with_inverse(format!("change the role {name}"), Effect::Run(apply), Effect::Run(undo))
        }
        None => Step::one_way(format!("drop the role {name}"), Effect::Run(apply), DROPPED),
    };
    let mut plan = plan.step(step);
    let (absent, tolerate) = (args.state == State::Absent, !args.fail_on_user);
    if let Some(stored) = change.stored {
        let of = name.clone();
        plan.postconditions.push(Postcondition {
            label: format!("the stored password of {name} is the one that was sent"),
            at: Where::Host,
            command: look,
            holds: Box::new(move |output| {
                let now = read(output, &of).map_err(|e| e.message)?.role.and_then(|r| r.rolpassword);
                if now == stored { Ok(()) } else { Err("the server stores another one".into()) }
            }),
        });
    }
    plan.finish(move |outputs| {
        let Some(output) = outputs.last() else { return Ok(Plan::ok()) };
        match answer(output, &format!("change the role {name}")) {
            Ok(_) if absent => Ok(Plan::ok().value("user_removed", true)),
            Ok(_) => Ok(Plan::ok()),
            Err(failure) if absent && tolerate && failure.message.contains("cannot be dropped") => {
                let mut plan = Plan::ok().value("user_removed", false);
                plan.changed = Some(false);
                plan.warnings.push(failure.message);
                Ok(plan)
            }
            Err(failure) => Err(failure.value("queries", Val::from(change.shown.clone()))),
        }
    })
}
