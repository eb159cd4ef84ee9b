//! The login of Postgres's frontend/backend protocol 3.0 (PostgreSQL documentation, "Message
//! Flow"), with SCRAM-SHA-256 (RFC 5802, RFC 7677), MD5 and plain passwords.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::remote::Stream;
use crate::source::Text;

/// `invalid_password`
pub const WRONG_PASSWORD: &str = "28P01";

/// Longer messages than any that a login has.
const MAX_MESSAGE: usize = 64 << 10;

/// More than anybody sets; a server that asks for more would keep this machine busy for hours.
const MAX_ITERATIONS: u32 = 10_000_000;

pub struct Login {
    pub user: String,
    pub database: String,
    pub password: Text,
}

/// How a server answered a login.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// What it asked for: `scram-sha-256`, `md5`, `password`, `trust`, or `none` where it refused
    /// before it asked.
    pub method: &'static str,
    /// Why it refused.
    pub error: Option<Refusal>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    pub sqlstate: String,
    pub message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.sqlstate)
    }
}

/// Logs in and out again.
///
/// # Errors
/// The connection broke, or what answers is no Postgres server.
pub async fn log_in(stream: &mut (dyn Stream + '_), login: &Login) -> Result<Reply, String> {
    let mut body = 196_608_i32.to_be_bytes().to_vec();
    for part in ["user", &login.user, "database", &login.database, "application_name", "seqn-play"] {
        body.extend_from_slice(part.as_bytes());
        body.push(0);
    }
    body.push(0);
    send(stream, None, &body).await?;
    let mut method = "none";
    let mut scram: Option<Scram> = None;
    loop {
        let (kind, body) = receive(stream).await?;
        match kind {
            b'E' => return Ok(Reply { method, error: Some(refusal(&body)) }),
            b'Z' => {
                // Saying goodbye is a courtesy.
                let _ = send(stream, Some(b'X'), &[]).await;
                return Ok(Reply { method, error: None });
            }
            b'R' => {
                let (code, rest) = authentication(&body)?;
                match code {
                    0 if method == "none" => method = "trust",
                    0 => {}
                    3 => {
                        method = "password";
                        send_text(stream, &login.password).await?;
                    }
                    5 => {
                        method = "md5";
                        send_text(stream, &md5_answer(login, rest)).await?;
                    }
                    10 => {
                        method = "scram-sha-256";
                        let begun = Scram::begin(rest)?;
                        send(stream, Some(b'p'), &begun.first_message()).await?;
                        scram = Some(begun);
                    }
                    11 => {
                        let scram =
                            scram.as_mut().ok_or("it went on with a SCRAM login that was not begun")?;
                        let proof = scram.proof(text(rest)?, &login.password)?;
                        send(stream, Some(b'p'), proof.as_bytes()).await?;
                    }
                    12 => {
                        let scram = scram.as_ref().ok_or("it ended a SCRAM login that was not begun")?;
                        scram.check_server(text(rest)?)?;
                    }
                    other => {
                        return Err(format!("it asks for a kind of login that is not known here ({other})"));
                    }
                }
            }
            // Settings, the cancellation key, notices, another version of the protocol.
            b'S' | b'K' | b'N' | b'v' => {}
            _ => return Err("it does not speak Postgres's protocol".into()),
        }
    }
}

async fn send(stream: &mut (dyn Stream + '_), kind: Option<u8>, body: &[u8]) -> Result<(), String> {
    let length = i32::try_from(body.len() + 4).map_err(|_| "a message is too long")?;
    let mut message = Zeroizing::new(Vec::with_capacity(body.len() + 5));
    message.extend(kind);
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    let written = async {
        stream.write_all(&message).await?;
        stream.flush().await
    };
    written.await.map_err(|e| e.to_string())
}

async fn send_text(stream: &mut (dyn Stream + '_), text: &str) -> Result<(), String> {
    let body = Zeroizing::new([text.as_bytes(), &[0]].concat());
    send(stream, Some(b'p'), &body).await
}

async fn receive(stream: &mut (dyn Stream + '_)) -> Result<(u8, Vec<u8>), String> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).await.map_err(|_| "the connection was closed")?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    if !(4..=MAX_MESSAGE).contains(&length) {
        return Err("it does not speak Postgres's protocol".into());
    }
    let mut body = vec![0; length - 4];
    stream.read_exact(&mut body).await.map_err(|_| "the connection was closed")?;
    Ok((head[0], body))
}

fn authentication(body: &[u8]) -> Result<(u32, &[u8]), String> {
    let (code, rest) = body.split_first_chunk::<4>().ok_or("it sent a message that is cut short")?;
    Ok((u32::from_be_bytes(*code), rest))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "it sent a message that is no text".into())
}

/// Fields `C` (SQLSTATE) and `M` (message) of an ErrorResponse.
fn refusal(body: &[u8]) -> Refusal {
    let field = |wanted: u8| {
        let mut fields = body.split(|b| *b == 0).filter_map(|f| f.split_first());
        fields.find(|(kind, _)| **kind == wanted).map(|(_, text)| String::from_utf8_lossy(text).into_owned())
    };
    Refusal { sqlstate: field(b'C').unwrap_or_default(), message: field(b'M').unwrap_or_default() }
}

fn md5_answer(login: &Login, salt: &[u8]) -> Zeroizing<String> {
    let inner = hex(&Md5::digest([login.password.as_bytes(), login.user.as_bytes()].concat()));
    Zeroizing::new(format!("md5{}", hex(&Md5::digest([inner.as_bytes(), salt].concat()))))
}

fn hex(bytes: &[u8]) -> String {
    crate::source::hex::hex(bytes)
}

/// The client's side of one SCRAM-SHA-256 exchange.
struct Scram {
    nonce: String,
    /// Set once the proof was sent: what the server must sign.
    expected: Option<Vec<u8>>,
}

impl Scram {
    fn begin(mechanisms: &[u8]) -> Result<Scram, String> {
        if !mechanisms.split(|b| *b == 0).any(|name| name == b"SCRAM-SHA-256") {
            return Err("it offers no SCRAM-SHA-256".into());
        }
        let bytes: [u8; 18] = crate::secret::generate::random_bytes().map_err(|e| e.to_string())?;
        Ok(Scram { nonce: STANDARD.encode(bytes), expected: None })
    }

    fn first_bare(&self) -> String {
        // Postgres takes the user from the startup message.
        format!("n=,r={}", self.nonce)
    }

    fn first_message(&self) -> Vec<u8> {
        let first = format!("n,,{}", self.first_bare());
        let length = (first.len() as u32).to_be_bytes();
        [b"SCRAM-SHA-256\0".as_slice(), &length, first.as_bytes()].concat()
    }

    fn proof(&mut self, server_first: &str, password: &str) -> Result<String, String> {
        let field = |name: &str| server_first.split(',').find_map(|part| part.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(iterations)) = (field("r="), field("s="), field("i=")) else {
            return Err("its SCRAM challenge is incomplete".into());
        };
        let salt = STANDARD.decode(salt).map_err(|_| "its SCRAM salt is damaged")?;
        let iterations: u32 = iterations.parse().map_err(|_| "its SCRAM challenge is damaged")?;
        if !nonce.starts_with(&self.nonce) || !(1..=MAX_ITERATIONS).contains(&iterations) {
            return Err("its SCRAM challenge is not an answer to ours".into());
        }
        let mut salted = Zeroizing::new([0; 32]);
        // A password that can't be prepared is used as it is, as by Postgres and libpq.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), &salt, iterations, &mut *salted);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{server_first},{without_proof}", self.first_bare());
        let client_key = Zeroizing::new(hmac(&*salted, b"Client Key"));
        let signature = hmac(&Sha256::digest(*client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
        self.expected = Some(hmac(&hmac(&*salted, b"Server Key"), signed.as_bytes()).to_vec());
        Ok(format!("{without_proof},p={}", STANDARD.encode(proof)))
    }

    /// A server that doesn't know the password's verifier can't sign.
    fn check_server(&self, last: &str) -> Result<(), String> {
        let signature = last.strip_prefix("v=").and_then(|v| STANDARD.decode(v.trim_end_matches('\0')).ok());
        match (signature, &self.expected) {
            (Some(found), Some(expected)) if found == *expected => Ok(()),
            _ => Err("it could not prove that it knows the password".into()),
        }
    }
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    mac.update(data);
    mac.finalize().into_bytes().into()
}
