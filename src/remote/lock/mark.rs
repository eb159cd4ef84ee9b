//! What an effect leaves on its host for those who ask later, as text around its script.

use serde::{Deserialize, Serialize};

use super::tidy;
use crate::source::hex::sha256;

const FUNCTIONS: &str = include_str!("effect.sh");

/// Names an effect for later. It is applied once under one lock.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct EffectId {
    pub run: String,
    /// Whatever tells it from the run's others. The host sees only a hash of it.
    pub effect: String,
    /// The user who is become for it (name or number); `None`: the login user. Only what he, root
    /// or the login user left on the host is believed.
    pub user: Option<String>,
}

impl EffectId {
    /// `RUN/HASH.NUMBER`, with the number of the lock that it was applied under.
    pub fn path(&self, number: u32) -> String {
        format!("{}/{}.{number}", tidy(&self.run), self.hash())
    }

    pub fn hash(&self) -> String {
        sha256(self.effect.as_bytes())[..32].to_string()
    }
}

/// The mark of one effect.
#[derive(Debug, Clone)]
pub struct Mark {
    /// What the names of its folders begin with.
    pub path: String,
    pub lock: String,
    /// The lock that there is once ours was taken over.
    pub next: String,
    /// Said on stderr where the effect was not begun, and why in the line before.
    pub token: String,
}

impl Mark {
    /// `script` in a subshell, its beginning and its status noted.
    pub fn around(&self, script: &str) -> String {
        let Mark { path, lock, next, token } = self;
        format!(
            "{FUNCTIONS}e_began {path} {lock} {next} || {{ echo {token} >&2; exit 9; }}\n\
             (\n{script}\n)\ne_st=$?\ne_ended {path} $e_st\n[ $e_st = 0 ] || exit $e_st\n"
        )
    }

    /// After a group that was killed with who would have noted its status, in `s_st`.
    pub fn after_kill(&self) -> String {
        let path = &self.path;
        format!(
            "if [ \"$s_st\" -gt 128 ]; then for e_f in {path}.ended.*; do \
             [ -d \"$e_f\" ] || mkdir -- {path}.ended.$s_st; done; fi\n"
        )
    }

    /// Why the effect was not begun, if it wasn't.
    pub fn refusal(&self, stderr: &str) -> Option<String> {
        let said = stderr.trim_end().strip_suffix(&self.token)?.trim();
        Some(if said.is_empty() { "it could not be noted on the host".into() } else { said.to_string() })
    }
}
