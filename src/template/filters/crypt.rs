//! `password_hash`: SHA-crypt, as `/etc/shadow` holds it.

use sha2::{Digest, Sha256, Sha512};

use super::Filter;
use crate::template::call::Args;
use crate::template::eval::{Eval, Run};
use crate::template::fault::Fault;
use crate::template::random::Random;
use crate::template::value::Value;

pub const FILTERS: &[Filter] = &[Filter::new("password_hash", filter)];

const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const SALT_ALPHABET: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./";

fn filter(eval: &Eval, value: Value, args: Args) -> Run<Value> {
    let [kind, salt, salt_size, rounds, _ident] =
        args.bind(["hashtype", "salt", "salt_size", "rounds", "ident"])?;
    let kind = eval.text_or(kind, "sha512")?;
    let size =
        usize::try_from(eval.int_or("salt_size", eval.given(salt_size), 16)?).unwrap_or(16).clamp(1, 16);
    let salt = match eval.given(salt) {
        Some(salt) => eval.text_of(&salt)?.to_string(),
        None => {
            eval.impure();
            random_salt(size)?
        }
    };
    let rounds = match eval.given(rounds) {
        Some(n) => Some(eval.int_of("rounds", &n)?),
        None => None,
    };
    Ok(Value::text(password_hash(&eval.text_of(&value)?, &kind, &salt, rounds)?))
}

pub fn random_salt(size: usize) -> Run<String> {
    let mut random = Random::System;
    (0..size).map(|_| Ok(char::from(SALT_ALPHABET[random.below(64)? as usize]))).collect()
}

/// A crypt(3) hash. `kind` is `sha256`, `sha512` or passlib's `sha256_crypt`, `sha512_crypt`;
/// rounds are 1,000 to 999,999,999, by default those of Ansible (535,000 and 656,000).
///
/// # Errors
/// Another kind; a salt with characters that crypt doesn't take; rounds out of range.
pub fn password_hash(password: &str, kind: &str, salt: &str, rounds: Option<i128>) -> Run<String> {
    let (long, default_rounds) = match kind {
        "sha512" | "sha512_crypt" => (true, 656_000),
        "sha256" | "sha256_crypt" => (false, 535_000),
        other => {
            return Err(
                Fault::new(format!("the hash type '{other}' is not supported")).help("Use sha512 or sha256.")
            );
        }
    };
    let rounds = rounds.unwrap_or(default_rounds);
    if !(1000..=999_999_999).contains(&rounds) {
        return Err(Fault::plain("rounds must be from 1000 to 999999999"));
    }
    if salt.len() > 16 || !salt.bytes().all(|b| ALPHABET.contains(&b)) {
        return Err(Fault::plain("a salt has at most 16 characters of a-z, A-Z, 0-9, '.' and '/'"));
    }
    let shown = if rounds == 5000 { String::new() } else { format!("rounds={rounds}$") };
    let hash = if long {
        encode64(
            &sha_crypt::<Sha512>(password.as_bytes(), salt.as_bytes(), rounds as u32),
            ORDER_512,
            (63, None),
        )
    } else {
        encode64(
            &sha_crypt::<Sha256>(password.as_bytes(), salt.as_bytes(), rounds as u32),
            ORDER_256,
            (31, Some(30)),
        )
    };
    Ok(format!("${}${shown}{salt}${hash}", if long { 6 } else { 5 }))
}

/// Ulrich Drepper's SHA-crypt, without its encoding.
fn sha_crypt<D: Digest>(password: &[u8], salt: &[u8], rounds: u32) -> Vec<u8> {
    let digest = |parts: &[&[u8]]| {
        let mut d = D::new();
        parts.iter().for_each(|p| d.update(p));
        d.finalize().to_vec()
    };
    let stretched = |block: &[u8], len: usize| block.iter().copied().cycle().take(len).collect::<Vec<u8>>();
    let b = digest(&[password, salt, password]);
    let mut a = D::new();
    a.update(password);
    a.update(salt);
    a.update(stretched(&b, password.len()));
    let mut bits = password.len();
    while bits > 0 {
        if bits & 1 == 1 {
            a.update(&b)
        } else {
            a.update(password)
        }
        bits >>= 1;
    }
    let mut a = a.finalize().to_vec();
    let mut dp = D::new();
    (0..password.len()).for_each(|_| dp.update(password));
    let p = stretched(&dp.finalize(), password.len());
    let mut ds = D::new();
    (0..16 + usize::from(a[0])).for_each(|_| ds.update(salt));
    let s = stretched(&ds.finalize(), salt.len());
    for i in 0..rounds {
        let mut c = D::new();
        if i & 1 == 1 {
            c.update(&p)
        } else {
            c.update(&a)
        }
        if i % 3 != 0 {
            c.update(&s);
        }
        if i % 7 != 0 {
            c.update(&p);
        }
        if i & 1 == 1 {
            c.update(&a)
        } else {
            c.update(&p)
        }
        a = c.finalize().to_vec();
    }
    a
}

/// Which bytes make each group of four characters.
const ORDER_512: &[[u8; 3]] = &[
    [0, 21, 42],
    [22, 43, 1],
    [44, 2, 23],
    [3, 24, 45],
    [25, 46, 4],
    [47, 5, 26],
    [6, 27, 48],
    [28, 49, 7],
    [50, 8, 29],
    [9, 30, 51],
    [31, 52, 10],
    [53, 11, 32],
    [12, 33, 54],
    [34, 55, 13],
    [56, 14, 35],
    [15, 36, 57],
    [37, 58, 16],
    [59, 17, 38],
    [18, 39, 60],
    [40, 61, 19],
    [62, 20, 41],
];
const ORDER_256: &[[u8; 3]] = &[
    [0, 10, 20],
    [21, 1, 11],
    [12, 22, 2],
    [3, 13, 23],
    [24, 4, 14],
    [15, 25, 5],
    [6, 16, 26],
    [27, 7, 17],
    [18, 28, 8],
    [9, 19, 29],
];

fn encode64(hash: &[u8], order: &[[u8; 3]], (last, before_last): (usize, Option<usize>)) -> String {
    let mut out = String::new();
    let mut push = |mut word: u32, n: usize| {
        for _ in 0..n {
            out.push(char::from(ALPHABET[(word & 63) as usize]));
            word >>= 6;
        }
    };
    for [a, b, c] in order {
        let byte = |i: &u8| u32::from(hash[usize::from(*i)]);
        push(byte(a) << 16 | byte(b) << 8 | byte(c), 4);
    }
    match before_last {
        Some(i) => push(u32::from(hash[last]) << 8 | u32::from(hash[i]), 3),
        None => push(u32::from(hash[last]), 2),
    }
    out
}
