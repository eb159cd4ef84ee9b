//! The implementation of one task kind, one file each.
//!
//! A module is a function from arguments and observations to a [`Plan`]. It never writes: the
//! engine alone applies Steps, so check mode, `--diff`, undo and the journal are written once and
//! hold for every module.

pub mod compose;
pub mod context;
pub mod control;
pub mod docker_compose_v2;
pub mod dotenv;
pub mod file_args;
pub mod host_path;
pub mod output;
pub mod place;
pub mod plan;
pub mod postgresql;
pub mod registry;
pub mod text_edit;

mod apt;
pub mod archive_decrypt;
mod archive_info;
mod assemble;
mod blockinfile;
mod command;
mod copy;
mod dotenv_info;
mod fetch;
mod file;
mod find;
mod fingerprint;
mod getent;
mod gpg_key;
mod group;
mod lineinfile;
mod ping;
mod postgresql_login;
mod raw;
mod replace;
mod script;
mod secret_file;
mod secret_search;
mod setup;
mod shell;
mod slurp;
mod stat;
mod stays_well;
mod tempfile;
mod template;
mod uri;
mod user;
mod wait_for;
pub mod wait_for_connection;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::pin::Pin;

use serde::de::DeserializeOwned;

use crate::source::Val;
use crate::source::args::{self, ArgError};

/// Modules whose tasks tell whether a service is well.
pub const CHECKS_OF_HEALTH: [&str; 4] = ["postgresql_login", "uri", "wait_for", "wait_for_connection"];

pub use context::PlanCx;
pub use plan::{CheckAnswer, Failure, Finish, Plan, Postcondition, Step, StepKind, Undo, Where};

/// A module: typed arguments and a plan.
pub trait Module: Send + Sync + 'static {
    /// Its doc comments are the module's argument documentation.
    type Args: DeserializeOwned + schemars::JsonSchema + Send + Sync + 'static;

    /// Short name: `lineinfile`.
    const NAME: &'static str;
    /// Collection of its fully qualified name; ours alone are in `seqn.play`.
    const COLLECTION: &'static str = "ansible.builtin";
    /// The argument that free-form text fills (`command: ls -l`).
    const FREE_FORM: Option<&'static str> = None;
    /// Arguments whose values are Secret whatever they came from.
    const SECRET_ARGS: &'static [&'static str] = &[];

    /// What is wrong with arguments that are each fine by themselves (mutually exclusive,
    /// required together), in Ansible's words.
    ///
    /// # Errors
    /// The sentence to show.
    fn validate(_args: &Self::Args) -> Result<(), String> {
        Ok(())
    }

    /// Why nothing but the task's author could take back what these arguments do, whatever is found
    /// on the host; templates may stand in them.
    fn one_way(_args: &Val) -> Option<&'static str> {
        None
    }

    /// Looks at the host and says what would bring it to the wanted state. Writes nothing.
    fn plan(args: Self::Args, cx: &PlanCx<'_>) -> impl Future<Output = Result<Plan, Failure>> + Send;
}

type PlanFuture<'a> = Pin<Box<dyn Future<Output = Result<Plan, Failure>> + Send + 'a>>;

/// A module as the registry holds it.
pub struct Entry {
    pub name: &'static str,
    pub collection: &'static str,
    pub free_form: Option<&'static str>,
    pub secret_args: &'static [&'static str],
    /// Every argument name, aliases included.
    pub known_args: fn() -> &'static [&'static str],
    /// Checks what is literal; templates fit anything.
    pub check_literals: fn(&Val) -> Result<(), ArgError>,
    /// See [`Module::one_way`].
    pub one_way: fn(&Val) -> Option<&'static str>,
    pub plan: for<'a> fn(&'a Val, &'a PlanCx<'a>) -> PlanFuture<'a>,
    pub schema: fn() -> schemars::Schema,
}

/// The registry line of a module.
pub const fn entry<M: Module>() -> Entry {
    Entry {
        name: M::NAME,
        collection: M::COLLECTION,
        free_form: M::FREE_FORM,
        secret_args: M::SECRET_ARGS,
        known_args: args::known_names::<M::Args>,
        check_literals: check_literals::<M>,
        one_way: M::one_way,
        plan: plan::<M>,
        schema: schemars::schema_for_args::<M>,
    }
}

mod schemars {
    pub use ::schemars::*;

    pub fn schema_for_args<M: super::Module>() -> Schema {
        ::schemars::schema_for!(M::Args)
    }
}

fn check_literals<M: Module>(given: &Val) -> Result<(), ArgError> {
    args::check_literals::<M::Args>(given)?;
    // Rules between arguments can only be judged when none of them is a hole.
    if !given.has_template() {
        let typed = args::from_val::<M::Args>(given)?;
        M::validate(&typed).map_err(|message| ArgError { arg: None, message })?;
    }
    Ok(())
}

/// What the loader couldn't see: names that a template gave.
fn refuse_unknown<M: Module>(given: &Val) -> Result<(), Failure> {
    let known = args::known_names::<M::Args>();
    let mut unknown: Vec<String> =
        given.as_map().into_iter().flat_map(|m| m.keys()).map(Val::key_text).collect();
    unknown.retain(|name| !known.contains(&name.as_str()));
    if unknown.is_empty() {
        return Ok(());
    }
    unknown.sort();
    Err(Failure::new(format!(
        "Unsupported parameters for ({}) module: {}. Supported parameters include: {}.",
        M::NAME,
        unknown.join(", "),
        known.join(", ")
    )))
}

fn plan<'a, M: Module>(given: &'a Val, cx: &'a PlanCx<'a>) -> PlanFuture<'a> {
    Box::pin(async move {
        refuse_unknown::<M>(given)?;
        let typed = args::from_val::<M::Args>(given).map_err(|e| Failure::new(e.message))?;
        M::validate(&typed).map_err(Failure::new)?;
        M::plan(typed, cx).await
    })
}
