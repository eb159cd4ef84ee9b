//! What `gpg --with-colons` lists (doc/DETAILS of GnuPG).

use super::packets::KeyId;

/// One key with its subkeys, as it can be compared with the same key of another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<Part>);

/// A key or subkey.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    id: KeyId,
    /// Seconds since the epoch; never without it.
    expires: Option<u64>,
    revoked: bool,
}

impl PublicKey {
    /// The key with this fingerprint; `None` where it isn't listed.
    pub fn read(listing: &str, fingerprint: &str) -> Option<PublicKey> {
        let of_it: Vec<Vec<&str>> = records_of(listing, fingerprint);
        let parts = of_it.iter().filter(|record| ["pub", "sub"].contains(&record[0]));
        let parts = parts.map(|record| Part {
            id: field(record, 5).into(),
            expires: field(record, 7).parse().ok(),
            revoked: field(record, 2) == "r",
        });
        Some(PublicKey(parts.collect())).filter(|key| !key.0.is_empty())
    }

    /// Whether another machine knows all of it: every part, no sooner end, every revocation.
    pub fn is_known_as(&self, there: &PublicKey) -> bool {
        self.0.iter().all(|part| {
            there.0.iter().any(|other| {
                let lasts =
                    other.expires.is_none() || (part.expires.is_some() && part.expires <= other.expires);
                other.id == part.id && lasts && (other.revoked || !part.revoked)
            })
        })
    }
}

/// The ids of the key's parts that decrypt and whose private half is at hand, on a card too.
pub fn decrypting(listing: &str, fingerprint: &str) -> Vec<KeyId> {
    let of_it = records_of(listing, fingerprint);
    let private = of_it.iter().filter(|record| ["sec", "ssb"].contains(&record[0]));
    private
        .filter(|record| field(record, 12).contains('e') && field(record, 15) != "#")
        .map(|record| field(record, 5).to_string())
        .collect()
}

/// The records of the key whose own fingerprint it is, not a subkey's.
fn records_of<'l>(listing: &'l str, fingerprint: &str) -> Vec<Vec<&'l str>> {
    let mut keys: Vec<Vec<Vec<&str>>> = Vec::new();
    for line in listing.lines() {
        let record: Vec<&str> = line.split(':').collect();
        match (record[0], keys.last_mut()) {
            ("pub" | "sec", _) => keys.push(vec![record]),
            (_, Some(key)) => key.push(record),
            (_, None) => {}
        }
    }
    let own = |key: &Vec<Vec<&str>>| {
        key.iter().find(|record| record[0] == "fpr").is_some_and(|record| field(record, 10) == fingerprint)
    };
    keys.into_iter().find(own).unwrap_or_default()
}

/// Counted from 1, as their documentation does.
fn field<'l>(record: &[&'l str], number: usize) -> &'l str {
    record.get(number - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &str = "C25F9436D196EFAB655969328B1388D4464119F4";
    const SECOND: &str = "C868A0A94EDD40CF6A7DF2C98FB229C2F5A0F427";
    const LISTING: &str = "\
sec:u:3072:1:8B1388D4464119F4:1795729122:::u:::scESC:::+:::23::0:
fpr:::::::::C25F9436D196EFAB655969328B1388D4464119F4:
uid:u::::1795729122::7CE4721F469495524F86B3119EC384EEF49388DE::old <old@x.invalid>::::::::::0:
ssb:e:3072:1:90D1159826D8A10F:1795729122::::::e:::+:::23:
fpr:::::::::B3944F8FCD9D69DE16BE023590D1159826D8A10F:
ssb:u:3072:1:1111111111111111:1795729122::::::e:::#:::23:
fpr:::::::::1111111111111111111111111111111111111111:
ssb:u:3072:1:2222222222222222:1795729122::::::e:::D2760001240102010006:::23:
fpr:::::::::2222222222222222222222222222222222222222:
sec:u:255:22:8FB229C2F5A0F427:1795729123:::u:::scESC:::+:::23::0:
fpr:::::::::C868A0A94EDD40CF6A7DF2C98FB229C2F5A0F427:
ssb:u:255:18:86768F63B127FC96:1795729123::::::e:::+:::23:
fpr:::::::::D8318265542DDCBB39F3045B86768F63B127FC96:
";

    #[test]
    fn private_parts_that_decrypt() {
        // An expired one still opens what is encrypted to it; a stub on this machine doesn't.
        assert_eq!(decrypting(LISTING, FIRST), ["90D1159826D8A10F", "2222222222222222"]);
        assert_eq!(decrypting(LISTING, SECOND), ["86768F63B127FC96"]);
        // A subkey is no key that an operator means.
        assert!(decrypting(LISTING, "B3944F8FCD9D69DE16BE023590D1159826D8A10F").is_empty());
        assert!(decrypting("", FIRST).is_empty());
    }

    #[test]
    fn what_another_machine_knows_of_a_key() {
        let plain = LISTING.replace("sec:", "pub:").replace("ssb:", "sub:");
        let ending = |at: u64| plain.replace("1795729122:::u", &format!("1795729122:{at}::u"));
        let read = |listing: &str| PublicKey::read(listing, FIRST).unwrap();
        for (here, there, known) in [
            // How much a machine trusts a key says nothing about the key.
            (&plain, &plain.replace("pub:u:", "pub:-:"), true),
            (&plain.replace("pub:u:", "pub:r:"), &plain, false),
            (&plain, &plain.replace("pub:u:", "pub:r:"), true),
            (&plain, &ending(1_895_729_122), false),
            (&ending(1_895_729_122), &plain, true),
            (&ending(1_895_729_122), &ending(1_995_729_122), true),
            (&ending(1_995_729_122), &ending(1_895_729_122), false),
            (&plain, &plain.replace("sub:u:3072:1:2222222222222222", "x"), false),
            (&plain.replace("sub:u:3072:1:2222222222222222", "x"), &plain, true),
        ] {
            assert_eq!(read(here).is_known_as(&read(there)), known, "{here}\n{there}");
        }
        assert_eq!(PublicKey::read("", FIRST), None);
    }
}
