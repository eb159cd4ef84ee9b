//! The beginning of an OpenPGP message: a packet for each recipient, then what is encrypted (RFC 9580,
//! sections 4.2 and 5.1).

use std::ops::Range;

use crate::secret::Error;

/// The id by which a message names a recipient's key: 16 hex digits, as `gpg` writes it.
pub type KeyId = String;

/// A public-key encrypted session key.
struct Recipient {
    key: KeyId,
    packet: Range<usize>,
}

const SESSION_KEY: u8 = 1;
const PASSPHRASE: u8 = 3;
const ENCRYPTED: [u8; 3] = [9, 18, 20];

/// For whom the message is that begins with `head`.
///
/// # Errors
/// It is no encrypted message, or doesn't tell.
pub fn recipients(head: &[u8]) -> Result<Vec<KeyId>, Error> {
    Ok(read(head)?.into_iter().map(|recipient| recipient.key).collect())
}

/// `head` without the packets of other recipients, so that no other key can open the message.
///
/// # Errors
/// As [`recipients`].
pub fn only_for(head: &[u8], keys: &[KeyId]) -> Result<Vec<u8>, Error> {
    let mut kept = Vec::with_capacity(head.len());
    let mut at = 0;
    for recipient in read(head)? {
        if !keys.contains(&recipient.key) {
            kept.extend_from_slice(&head[at..recipient.packet.start]);
            at = recipient.packet.end;
        }
    }
    kept.extend_from_slice(&head[at..]);
    Ok(kept)
}

fn read(head: &[u8]) -> Result<Vec<Recipient>, Error> {
    if head.trim_ascii_start().starts_with(b"-----BEGIN PGP ") {
        return Err(Error::refused("it is ASCII-armored").help("encrypt archives without --armor"));
    }
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let (tag, body) = packet(head, at)?;
        let part = || head.get(body.clone()).ok_or_else(cut);
        match tag {
            SESSION_KEY => {
                let [3, key @ ..] = part()? else {
                    return Err(Error::refused("a recipient is named in a way that is unknown here"));
                };
                let key = crate::source::hex::hex(key.get(..8).ok_or_else(cut)?).to_uppercase();
                if key.bytes().all(|digit| digit == b'0') {
                    return Err(Error::refused("it hides for whom it is")
                        .help("encrypt archives without --hidden-recipient and --throw-keyids"));
                }
                found.push(Recipient { key, packet: at..body.end });
            }
            PASSPHRASE => {
                return Err(Error::refused(
                    "it is encrypted with a passphrase; encrypt it to recipients instead",
                ));
            }
            tag if ENCRYPTED.contains(&tag) => return Ok(found),
            _ => return Err(Error::damaged("it is not a message that is encrypted with GPG")),
        }
        at = body.end;
    }
}

/// Tag and body of the packet at a place. The body of the last one, which may be of unknown length, is
/// where it begins.
fn packet(head: &[u8], at: usize) -> Result<(u8, Range<usize>), Error> {
    let byte = |n: usize| head.get(at + n).copied().map(usize::from);
    let first = match byte(0) {
        Some(first) if first & 0x80 != 0 => first,
        None if at > 0 => return Err(cut()),
        None => return Err(Error::damaged("it is empty, so not encrypted with GPG")),
        Some(_) => return Err(Error::damaged("it is not a message that is encrypted with GPG")),
    };
    let number = |from: usize, bytes: usize| {
        (from..from + bytes).try_fold(0, |sum, n| Some(sum << 8 | byte(n)?)).ok_or_else(cut)
    };
    let is_new = first & 0x40 != 0;
    let tag = (if is_new { first & 0x3f } else { first >> 2 & 0x0f }) as u8;
    if ENCRYPTED.contains(&tag) {
        return Ok((tag, at..at));
    }
    let (header, length) = match (is_new, first & 3) {
        (false, 0) => (2, number(1, 1)?),
        (false, 1) => (3, number(1, 2)?),
        (false, 2) => (5, number(1, 4)?),
        (false, _) => return Err(Error::damaged("the length of a packet is missing")),
        (true, _) => match number(1, 1)? {
            short @ ..192 => (2, short),
            long @ 192..224 => (3, ((long - 192) << 8) + number(2, 1)? + 192),
            255 => (6, number(2, 4)?),
            _ => return Err(Error::damaged("the length of a packet is missing")),
        },
    };
    Ok((tag, at + header..at + header + length))
}

fn cut() -> Error {
    Error::damaged("its header was cut or changed")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recipient's packet, its length written in one of the ways.
    fn recipient(header: &[u8], key: u8, rest: usize) -> Vec<u8> {
        let mut packet = header.to_vec();
        packet.push(3);
        packet.extend([key; 8]);
        packet.extend(vec![7; rest]);
        packet
    }

    const DATA: &[u8] = &[0xd2, 0xe9, 1, 2, 3];

    fn message() -> Vec<u8> {
        [
            recipient(&[0x84, 12], 0xa1, 3),
            recipient(&[0x85, 1, 140], 0xb2, 387),
            recipient(&[0x86, 0, 0, 0, 10], 0xc3, 1),
            recipient(&[0xc1, 191], 0xd4, 182),
            recipient(&[0xc1, 192, 8], 0xe5, 191),
            recipient(&[0xc1, 255, 0, 0, 0, 20], 0xf6, 11),
            DATA.to_vec(),
        ]
        .concat()
    }

    #[test]
    fn recipients_are_read_in_every_form_of_length() {
        let expected = ["A1", "B2", "C3", "D4", "E5", "F6"].map(|digits| digits.repeat(8));
        assert_eq!(recipients(&message()).unwrap(), expected);
        assert_eq!(recipients(DATA).unwrap(), Vec::<KeyId>::new());
    }

    #[test]
    fn others_are_left_out_and_nothing_else() {
        let only = only_for(&message(), &["B2".repeat(8), "F6".repeat(8)]).unwrap();
        let expected = [
            recipient(&[0x85, 1, 140], 0xb2, 387),
            recipient(&[0xc1, 255, 0, 0, 0, 20], 0xf6, 11),
            DATA.to_vec(),
        ];
        assert_eq!(only, expected.concat());
    }

    #[test]
    fn what_is_no_message_for_recipients() {
        let whole = message();
        let hidden = recipient(&[0x84, 12], 0, 3);
        for (head, why) in [
            (&b""[..], "it is empty"),
            (b"PGDMP", "not a message"),
            (b"\n-----BEGIN PGP MESSAGE-----\n", "ASCII-armored"),
            (&[0xcb, 2, 1, 1], "not a message"),
            (&[0xc3, 2, 1, 1, 0xd2], "with a passphrase"),
            (&[0x84, 2, 6, 1, 0xd2], "unknown here"),
            (&[0x87, 3], "length of a packet"),
            (&hidden, "hides for whom"),
            (&whole[..200], "cut or changed"),
            (&whole[..4], "cut or changed"),
            (&whole[..whole.len() - DATA.len()], "cut or changed"),
        ] {
            let error = recipients(head).unwrap_err();
            assert!(error.message.contains(why), "{error}");
        }
    }
}
