//! `gpg_key` (ours): a public GPG key in the keyring of a host's user.

use serde::Deserialize;

use super::{Failure, Module, Plan, PlanCx, Postcondition, Step, Where};
use crate::remote::{Command, Effect};
use crate::secret::gpg::{self, PublicKey};

/// Gives the public half of a key in the operator's keyring to the keyring of the host's user, so that
/// what runs there can encrypt to it. One that is there already gets what is new: another subkey, a
/// later end, a revocation.
pub struct GpgKey;

/// Arguments of `gpg_key`.
#[derive(Debug, Clone, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The whole fingerprint of the key. Its private half needn't be here, and never leaves this machine.
    pub fingerprint: String,
}

/// `gpg` asks nobody there, and leaves no agent behind.
const GPG: &str = "gpg --batch --no-tty --quiet --no-autostart";
/// To look must not make a keyring.
const WITHOUT_KEYRING: &str = "\
command -v gpg >/dev/null || exit 127
home=${GNUPGHOME:-$HOME/.gnupg}
[ -e \"$home/pubring.kbx\" ] || [ -e \"$home/pubring.gpg\" ] || [ -e \"$home/public-keys.d\" ] || exit 0
";

impl Module for GpgKey {
    type Args = Args;
    const NAME: &'static str = "gpg_key";
    const COLLECTION: &'static str = "seqn.play";

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let fingerprint = gpg::normalised(&args.fingerprint)?;
        cx.services.never_secret(&fingerprint);
        let (armored, here) = gpg::public_half(&fingerprint)?;
        let run = |script: String| Command { env: cx.environment.to_vec(), ..Command::shell(script) };
        let list = run(format!("{WITHOUT_KEYRING}{GPG} --with-colons --list-keys {fingerprint}"));
        let listed = cx.target.query(list.clone()).await?;
        if listed.status == 127 {
            return Err(Failure::new("gpg is not installed on the host"));
        }
        let there = PublicKey::read(&listed.stdout_text(), &fingerprint);
        let plan = Plan::ok().value("fingerprint", fingerprint.as_str());
        if there.as_ref().is_some_and(|there| here.is_known_as(there)) {
            return Ok(plan);
        }
        let delete = format!("{GPG} --yes --delete-keys {fingerprint}");
        let inverse = match there {
            // It may never have come to the import; but a list that can't be had proves nothing.
            None => run(format!(
                "{delete} || {{ all=$({GPG} --with-colons --list-keys) && \
                 case $all in *{fingerprint}*) exit 2 ;; esac; }}"
            )),
            Some(_) => {
                let before = cx.target.query(run(format!("{GPG} --armor --export {fingerprint}"))).await?;
                run(format!("{delete} && {GPG} --import")).stdin(before.stdout_text())
            }
        };
        let mut plan = plan.step(Step::with_inverse(
            format!("import the public GPG key {fingerprint}"),
            Effect::Run(run(format!("{GPG} --import")).stdin(armored)),
            Effect::Run(inverse),
        ));
        plan.postconditions.push(Postcondition {
            label: format!("the keyring has the GPG key {fingerprint}"),
            at: Where::Host,
            command: list,
            holds: Box::new(move |output| match PublicKey::read(&output.stdout_text(), &fingerprint) {
                Some(there) if here.is_known_as(&there) => Ok(()),
                _ => Err("gpg took it, but does not list it as it is here".into()),
            }),
        });
        Ok(plan)
    }
}
