//! `archive_decrypt` (ours): proves that an archive on a host decrypts with the operator's key.

mod prove;

pub use prove::{Content, Proof, prove, prove_async};

use super::{Failure, Module, Plan, PlanCx, Step, StepKind, host_path};
use crate::remote::Effect;
use crate::secret::Identities;
use crate::secret::archive::{Key, KeyAt, Kind};
use crate::source::Val;

/// Streams an encrypted archive from the host and decrypts it on the operator's machine to its last
/// byte, keeping nothing. The private key never leaves this machine. Changes nothing.
pub struct ArchiveDecrypt;

#[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Args {
    /// The archive on the host.
    #[serde(alias = "src")]
    pub path: String,
    /// What it is encrypted with: `age` or `gpg`.
    #[serde(default)]
    pub kind: Kind,
    /// The private key, on the operator's machine. Of `age` identity files, by default those of
    /// `--age-identity`, `$SEQN_AGE_IDENTITY` or `~/.config/seqn-play/identity.txt`. Of `gpg` the
    /// whole fingerprint of a key in the keyring; no other key may open the archive. One that is
    /// locked must be unlocked in the agent before.
    #[serde(default, alias = "identity")]
    pub key: Vec<String>,
    /// What the decrypted content must be, by its first bytes; any of these.
    #[serde(default)]
    pub content: Vec<Content>,
    /// Bytes of decrypted content that there must be at least.
    #[serde(default = "one")]
    pub min_size: u64,
    /// SHA-256 that the decrypted content must have.
    pub sha256: Option<String>,
    /// A shell script of the host that gets the decrypted content on its standard input, once it is
    /// proven, and must succeed: `pg_restore` into a database made for that. Needs `key`. Not run in
    /// check mode.
    pub feed: Option<String>,
}

fn one() -> u64 {
    1
}

impl Module for ArchiveDecrypt {
    type Args = Args;
    const NAME: &'static str = "archive_decrypt";
    const COLLECTION: &'static str = "seqn.play";

    fn validate(args: &Args) -> Result<(), String> {
        match (args.kind, args.key.len()) {
            (Kind::Gpg, 0 | 2..) => Err("kind: gpg takes one fingerprint as key".into()),
            (Kind::Age, 0) if args.feed.is_some() => {
                Err("missing parameter(s) required by 'feed': key".into())
            }
            _ => Ok(()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        let path = host_path::expand(cx.target, &args.path).await?;
        if cx.target.stat(&path).await?.is_none() {
            return Err(Failure::new(format!("{path} does not exist")));
        }
        let key = match args.key.is_empty() {
            true => Key::Age(Identities::from_texts(&cx.services.age_identities())?),
            false => Key::load(&key_at(args.kind, &args.key, cx)?)?,
        };
        let archive = cx.target.download(&path).await?;
        let proof = prove_async(archive, key).await.map_err(|e| {
            let failure = Failure::new(format!("{path} could not be decrypted: {e}"));
            match e.help {
                Some(help) => failure.help(help),
                None => failure,
            }
        })?;
        if let Some(why) = unmet(&args, &proof) {
            return Err(with_proof(Failure::new(format!("{path} decrypts, but {why}")), &proof));
        }
        let mut plan = Plan::ok().value("path", path.as_str());
        for (key, value) in values(&proof) {
            plan = plan.value(key, value);
        }
        match args.feed {
            Some(script) => Ok(fed(plan, path, key_at(args.kind, &args.key, cx)?, script)),
            None => Ok(plan),
        }
    }
}

/// `archive_decrypt` for archives of age alone.
pub struct AgeDecrypt;

impl Module for AgeDecrypt {
    type Args = Args;
    const NAME: &'static str = "age_decrypt";
    const COLLECTION: &'static str = "seqn.play";

    fn validate(args: &Args) -> Result<(), String> {
        match args.kind {
            Kind::Age => ArchiveDecrypt::validate(args),
            Kind::Gpg => Err("age_decrypt opens archives of age; for kind: gpg use archive_decrypt".into()),
        }
    }

    async fn plan(args: Args, cx: &PlanCx<'_>) -> Result<Plan, Failure> {
        ArchiveDecrypt::plan(args, cx).await
    }
}

/// What the script makes is its own affair: like a probe, it leaves nothing to take back.
fn fed(plan: Plan, archive: String, key: KeyAt, script: String) -> Plan {
    let label = format!("feed {archive}");
    let step = Step::new(label, Effect::Feed { archive, key, script }, StepKind::Passing);
    let mut plan = plan.step(step);
    plan.changed = Some(false);
    plan.finish(|outputs| {
        let output = outputs.last().cloned().unwrap_or_default();
        let (stdout, stderr) = (output.stdout_text(), output.stderr_text());
        let told = |plan: Plan| {
            plan.value("rc", i64::from(output.status))
                .value("stdout", stdout.trim_end())
                .value("stderr", stderr.trim_end())
        };
        match output.success() {
            true => Ok(told(Plan { changed: Some(false), ..Plan::ok() })),
            false => {
                let why = format!("what was fed ended with status {}: {}", output.status, stderr.trim());
                Err(Failure { result: told(Plan::ok()).result, ..Failure::new(why) })
            }
        }
    })
}

/// Where a key is that is named by identity files or a fingerprint.
///
/// # Errors
/// A file isn't there, or it isn't a fingerprint.
pub fn key_at(kind: Kind, named: &[String], cx: &PlanCx<'_>) -> Result<KeyAt, Failure> {
    match kind {
        Kind::Age => {
            named.iter().map(|file| cx.find("files", file)).collect::<Result<_, _>>().map(KeyAt::Age)
        }
        Kind::Gpg => {
            let fingerprint = crate::secret::gpg::normalised(&named.concat())?;
            // It stands where secrets do (a `.env` key), and is told to everybody.
            cx.services.never_secret(&fingerprint);
            Ok(KeyAt::Gpg(fingerprint))
        }
    }
}

/// What the content isn't although it should be.
fn unmet(args: &Args, proof: &Proof) -> Option<String> {
    if proof.size < args.min_size {
        return Some(format!(
            "its content has only {} bytes, at least {} are required",
            proof.size, args.min_size
        ));
    }
    if !args.content.is_empty() && !proof.content.is_some_and(|c| args.content.contains(&c)) {
        let wanted: Vec<&str> = args.content.iter().map(|c| c.name()).collect();
        let found = proof.content.map_or("something else", Content::name);
        return Some(format!("its content is {found}, not {}", wanted.join(" or ")));
    }
    let wanted = args.sha256.as_ref().map(|h| h.to_lowercase()).filter(|h| *h != proof.sha256)?;
    Some(format!("its content has the SHA-256 {}, not {wanted}", proof.sha256))
}

fn values(proof: &Proof) -> [(&'static str, Val); 4] {
    [
        ("size", Val::from(proof.size as i64)),
        ("archive_size", Val::from(proof.archive_size as i64)),
        ("sha256", Val::from(proof.sha256.as_str())),
        ("content", Val::from(proof.content.map(Content::name))),
    ]
}

fn with_proof(failure: Failure, proof: &Proof) -> Failure {
    values(proof).into_iter().fold(failure, |failure, (key, value)| failure.value(key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::args::{args, from_val};

    #[test]
    fn what_the_content_must_be() {
        let proof =
            Proof { size: 100, sha256: "ab".repeat(32), archive_size: 300, content: Some(Content::Gzip) };
        let given = |extra: &[(&'static str, Val)]| -> Args {
            let all = extra.iter().cloned().chain([("path", Val::from("/a.age"))]);
            from_val(&args(all)).unwrap()
        };
        for (extra, expected) in [
            (vec![], None),
            (vec![("content", Val::from("pg_dump,gzip"))], None),
            (vec![("content", Val::from("pg_dump"))], Some("its content is gzip, not pg_dump")),
            (vec![("min_size", Val::from(101i64))], Some("only 100 bytes, at least 101")),
            (vec![("sha256", Val::from("AB".repeat(32)))], None),
            (vec![("sha256", Val::from("00"))], Some("not 00")),
        ] {
            let unmet = unmet(&given(&extra), &proof);
            match expected {
                None => assert_eq!(unmet, None),
                Some(e) => assert!(unmet.as_ref().is_some_and(|u| u.contains(e)), "{unmet:?}"),
            }
        }
        let empty = Proof { size: 0, content: None, ..proof };
        assert!(unmet(&given(&[]), &empty).is_some());
    }
}
