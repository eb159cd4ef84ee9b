//! Random choices: from the operating system, or repeatable ones that equal Python's `Random(seed)`.

use sha2::{Digest, Sha512};

use super::eval::{Eval, Run};
use super::fault::Fault;
use super::value::Value;

const N: usize = 624;
const M: usize = 397;

/// Where random numbers come from.
pub enum Random {
    System,
    /// Python's Mersenne Twister, seeded as `random.seed(x, version=2)` does.
    Seeded(Box<Twister>),
}

pub struct Twister {
    state: [u32; N],
    at: usize,
}

impl Random {
    /// From a template's `seed=`; without one, from the operating system.
    pub fn from_seed(eval: &Eval, seed: Option<Value>) -> Run<Random> {
        Ok(match seed {
            None | Some(Value::None) => {
                eval.impure();
                Random::System
            }
            Some(Value::Text(s)) => Random::Seeded(Box::new(Twister::from_text(&s))),
            Some(other) => {
                let int = eval.int_of("seed", &other)?;
                Random::Seeded(Box::new(Twister::from_bytes(&int.unsigned_abs().to_be_bytes())))
            }
        })
    }

    pub fn from_text_seed(seed: &str) -> Random {
        Random::Seeded(Box::new(Twister::from_text(seed)))
    }

    /// Up to 64 random bits.
    fn bits(&mut self, k: u32) -> Run<u64> {
        if k == 0 {
            return Ok(0);
        }
        match self {
            Random::System => {
                let mut bytes = [0u8; 8];
                fill_from_system(&mut bytes)?;
                Ok(u64::from_le_bytes(bytes) >> (64 - k))
            }
            Random::Seeded(twister) => {
                if k <= 32 {
                    return Ok(u64::from(twister.next() >> (32 - k)));
                }
                let low = u64::from(twister.next());
                let high = u64::from(twister.next() >> (64 - k));
                Ok(low | high << 32)
            }
        }
    }

    /// A number below `n`, each equally likely.
    pub fn below(&mut self, n: u64) -> Run<u64> {
        if n == 0 {
            return Err(Fault::plain("cannot choose from an empty sequence"));
        }
        let k = 64 - n.leading_zeros();
        loop {
            let r = self.bits(k)?;
            if r < n {
                return Ok(r);
            }
        }
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) -> Run<()> {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u64 + 1)? as usize;
            items.swap(i, j);
        }
        Ok(())
    }
}

/// Entropy from the operating system.
pub fn fill_from_system(bytes: &mut [u8]) -> Run<()> {
    use std::io::Read;
    std::fs::File::open("/dev/urandom")
        .and_then(|mut f| f.read_exact(bytes))
        .map_err(|e| Fault::plain(format!("the operating system gave no random numbers: {e}")))
}

impl Twister {
    fn from_text(seed: &str) -> Twister {
        let mut bytes = seed.as_bytes().to_vec();
        bytes.extend_from_slice(&Sha512::digest(seed.as_bytes()));
        Twister::from_bytes(&bytes)
    }

    /// From a big-endian number.
    fn from_bytes(bytes: &[u8]) -> Twister {
        let significant = bytes.iter().position(|b| *b != 0).map_or(&[][..], |at| &bytes[at..]);
        let mut key: Vec<u32> = significant
            .rchunks(4)
            .map(|chunk| chunk.iter().fold(0, |word, b| word << 8 | u32::from(*b)))
            .collect();
        if key.is_empty() {
            key.push(0);
        }
        let mut t = Twister { state: [0; N], at: N };
        t.fill(19_650_218);
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            let before = t.state[i - 1];
            t.state[i] = (t.state[i] ^ (before ^ before >> 30).wrapping_mul(1_664_525))
                .wrapping_add(key[j])
                .wrapping_add(j as u32);
            (i, j) = (i + 1, (j + 1) % key.len());
            if i >= N {
                t.state[0] = t.state[N - 1];
                i = 1;
            }
        }
        for _ in 0..N - 1 {
            let before = t.state[i - 1];
            t.state[i] =
                (t.state[i] ^ (before ^ before >> 30).wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i >= N {
                t.state[0] = t.state[N - 1];
                i = 1;
            }
        }
        t.state[0] = 0x8000_0000;
        t
    }

    fn fill(&mut self, seed: u32) {
        self.state[0] = seed;
        for i in 1..N {
            let before = self.state[i - 1];
            self.state[i] = (before ^ before >> 30).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        self.at = N;
    }

    fn next(&mut self) -> u32 {
        if self.at >= N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let mix = if y & 1 == 0 { 0 } else { 0x9908_b0df };
                self.state[i] = self.state[(i + M) % N] ^ y >> 1 ^ mix;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= y << 7 & 0x9d2c_5680;
        y ^= y << 15 & 0xefc6_0000;
        y ^ y >> 18
    }
}
