//! `wait_for_connection`: the host can be reached again, after a reboot for example.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx};

/// Waits until the host can be reached and has a shell.
pub struct WaitForConnection;

/// Arguments of `wait_for_connection`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// Seconds before the first try.
    #[serde(default)]
    pub delay: f64,
    /// Seconds between tries.
    #[serde(default = "one")]
    pub sleep: f64,
    /// Seconds that all tries may take.
    #[serde(default = "six_hundred")]
    pub timeout: f64,
    /// Seconds that one try may take.
    #[serde(default = "five")]
    pub connect_timeout: f64,
}

fn one() -> f64 {
    1.0
}
fn five() -> f64 {
    5.0
}
fn six_hundred() -> f64 {
    600.0
}

impl Module for WaitForConnection {
    type Args = Args;
    const NAME: &'static str = NAME;

    /// The engine has waited already: it alone opens connections.
    async fn plan(_: Args, _: &PlanCx<'_>) -> Result<Plan, Failure> {
        Ok(Plan::ok())
    }
}

/// The one module that an unreachable host doesn't end.
pub const NAME: &str = "wait_for_connection";
