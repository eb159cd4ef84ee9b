//! Digests: `hash`, `md5`, `sha1`, `checksum`, `to_uuid`.

use crate::source::hex::hex;
use sha1::Digest;

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[
    Filter::new("checksum", |e, v, a| fixed(e, v, a, "sha1")),
    Filter::new("hash", hash),
    Filter::new("md5", |e, v, a| fixed(e, v, a, "md5")),
    Filter::new("sha1", |e, v, a| fixed(e, v, a, "sha1")),
    Filter::new("to_uuid", to_uuid),
];

fn digest(kind: &str, data: &[u8]) -> Run<String> {
    Ok(hex(&match kind {
        "md5" => md5::Md5::digest(data).to_vec(),
        "sha1" => sha1::Sha1::digest(data).to_vec(),
        "sha224" => sha2::Sha224::digest(data).to_vec(),
        "sha256" => sha2::Sha256::digest(data).to_vec(),
        "sha384" => sha2::Sha384::digest(data).to_vec(),
        "sha512" => sha2::Sha512::digest(data).to_vec(),
        "sha512_256" => sha2::Sha512_256::digest(data).to_vec(),
        other => {
            return Err(Fault::new(format!("unsupported hash type {other}"))
                .help("It can be: md5, sha1, sha224, sha256, sha384, sha512"));
        }
    }))
}

fn hash(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [kind] = args.bind(["hashtype"])?;
    let kind = eval.text_or(kind, "sha1")?;
    Ok(Value::text(digest(&kind, eval.text_of(&value)?.as_bytes())?))
}

fn fixed(eval: &Eval, value: Value, args: Args, kind: &str) -> Run<Value> {
    let [] = args.bind([])?;
    Ok(Value::text(digest(kind, eval.text_of(&value)?.as_bytes())?))
}

/// Ansible's namespace for `to_uuid`.
const ANSIBLE: &str = "361E6D51-FAEC-444A-9079-341386DA8E2E";

fn to_uuid(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [namespace] = args.bind(["namespace"])?;
    let namespace = eval.text_or(namespace, ANSIBLE)?;
    let digits: String = namespace.chars().filter(char::is_ascii_hexdigit).collect();
    let bad = || {
        Fault::new(format!(
            "Invalid value '{namespace}' for 'namespace': badly formed hexadecimal UUID string"
        ))
    };
    if digits.len() != 32 {
        return Err(bad());
    }
    let mut data = u128::from_str_radix(&digits, 16).map_err(|_| bad())?.to_be_bytes().to_vec();
    data.extend_from_slice(eval.text_of(&value)?.as_bytes());
    let mut uuid: [u8; 16] = [0; 16];
    uuid.copy_from_slice(&sha1::Sha1::digest(&data)[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x50;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    let h = hex(uuid);
    Ok(Value::text(format!("{}-{}-{}-{}-{}", &h[..8], &h[8..12], &h[12..16], &h[16..20], &h[20..])))
}
