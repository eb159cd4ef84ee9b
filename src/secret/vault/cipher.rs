//! Sealing and opening one vault envelope.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{DEFAULT_ID, Envelope, Password};
use crate::secret::{Error, Secret};

const ITERATIONS: u32 = 10_000;
const BLOCK: usize = 16;

/// Cipher key, HMAC key, first counter: derived in this order.
struct DerivedKeys(Zeroizing<[u8; 80]>);

impl DerivedKeys {
    fn new(password: &Password, salt: &[u8]) -> DerivedKeys {
        let mut keys = Zeroizing::new([0; 80]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.secret.expose_bytes(), salt, ITERATIONS, keys.as_mut_slice());
        DerivedKeys(keys)
    }

    fn apply(&self, data: &mut [u8]) {
        let mut stream = Ctr128BE::<Aes256>::new_from_slices(&self.0[..32], &self.0[64..])
            .expect("an AES-256 key has 32 bytes and a counter 16");
        stream.apply_keystream(data);
    }

    fn hmac(&self, ciphertext: &[u8]) -> Hmac<Sha256> {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0[32..64]).expect("HMAC takes a key of any length");
        mac.update(ciphertext);
        mac
    }
}

pub fn seal(plaintext: &[u8], password: &Password, salt: &[u8]) -> Envelope {
    let keys = DerivedKeys::new(password, salt);
    let padding = BLOCK - plaintext.len() % BLOCK;
    let mut data = Vec::with_capacity(plaintext.len() + padding);
    data.extend_from_slice(plaintext);
    data.resize(plaintext.len() + padding, padding as u8);
    keys.apply(&mut data);
    Envelope {
        id: Some(password.id.clone()).filter(|id| id != DEFAULT_ID),
        salt: salt.to_vec(),
        hmac: keys.hmac(&data).finalize().into_bytes().to_vec(),
        ciphertext: data,
    }
}

/// `None`: this password doesn't fit (or the text was changed).
///
/// # Errors
/// The password fits and yet the padding is wrong.
pub fn open(envelope: &Envelope, password: &Password) -> Result<Option<Secret>, Error> {
    let keys = DerivedKeys::new(password, &envelope.salt);
    if keys.hmac(&envelope.ciphertext).verify_slice(&envelope.hmac).is_err() {
        return Ok(None);
    }
    let mut data = Zeroizing::new(envelope.ciphertext.clone());
    keys.apply(&mut data);
    let padding = usize::from(data.last().copied().unwrap_or(0));
    let valid = (1..=BLOCK).contains(&padding)
        && padding <= data.len()
        && data[data.len() - padding..].iter().all(|b| usize::from(*b) == padding);
    if !valid {
        return Err(Error::damaged("the vault text is damaged: its padding is wrong"));
    }
    Ok(Some(Secret::from_bytes(&data[..data.len() - padding])))
}
