//! `fingerprint` (ours): whether secrets are the same, for people to see.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx};
use crate::secret::scram::hmac_sha256;
use crate::source::hex::hex;
use crate::source::{Text, Val};

/// Digits of a fingerprint: two different values share one in one of 2^48 cases.
const DIGITS: usize = 12;

/// Shorter keys could be guessed, and weak secrets with them. Characters.
const SHORTEST_KEY: usize = 16;

/// Gives each value a short text that is the same for the same value and the same key, and tells
/// nothing of it to whoever doesn't have the key (HMAC-SHA-256, RFC 2104, cut short as its section 5
/// allows for show). No Secret itself. Looks at no host and changes nothing.
pub struct Fingerprint;

/// Arguments of `fingerprint`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The secrets; the result has the fingerprints in the same order. No names, since those beside a
    /// secret in a template would be secret too.
    pub values: Vec<Text>,
    /// A secret of at least 16 characters. With a new one for each run, fingerprints of different runs
    /// can't be compared.
    pub key: Text,
}

impl Module for Fingerprint {
    type Args = Args;
    const NAME: &'static str = "fingerprint";
    const COLLECTION: &'static str = "seqn.play";

    async fn plan(args: Args, _cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        if args.key.as_str().chars().count() < SHORTEST_KEY {
            return Err(Failure::new(format!("the key must have at least {SHORTEST_KEY} characters")));
        }
        let taken =
            args.values.iter().map(|value| Val::from(fingerprint(args.key.as_bytes(), value.as_bytes())));
        Ok(Plan::ok().value("fingerprints", Val::list(taken.collect())))
    }
}

fn fingerprint(key: &[u8], value: &[u8]) -> String {
    let mut digits = hex(hmac_sha256(key, value));
    digits.truncate(DIGITS);
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test case 2 of RFC 4231.
    #[test]
    fn rfc_4231() {
        assert_eq!(fingerprint(b"Jefe", b"what do ya want for nothing?"), "5bdcc146bf60");
    }
}
