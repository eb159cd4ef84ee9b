//! Logging in: keys of the agent, keys in files, a password.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::{AgentClient, AgentStream};
use russh::keys::ssh_key::{HashAlg, PrivateKey, PublicKey};
use russh::keys::{PrivateKeyWithHashAlg, decode_secret_key};
use russh::{MethodKind, MethodSet};

use super::options::{Method, Options};
use super::{REFUSED, Told, Watcher};
use crate::remote::RemoteError;
use crate::remote::connections::Connection;
use crate::remote::transports::explain;

/// Steps of a login that needs several (`publickey,password`).
const MOST_STEPS: usize = 4;

/// Questions that one login may ask.
const MOST_QUESTIONS: usize = 4;

/// How long an agent may take to list its keys.
const AGENT: Duration = Duration::from_secs(5);

type Agent = AgentClient<Box<dyn AgentStream + Send + Unpin>>;

pub struct Login<'a> {
    pub handle: &'a mut Handle<Watcher>,
    pub options: &'a Options,
    pub connection: &'a Connection,
    pub told: Arc<Told>,
    /// What was tried and what was not, for the refusal.
    notes: Vec<String>,
}

/// What one method came to.
enum Turn {
    In,
    /// It was right, and the host wants another one too.
    More(MethodSet),
    Refused,
}

impl<'a> Login<'a> {
    pub fn new(
        handle: &'a mut Handle<Watcher>,
        options: &'a Options,
        connection: &'a Connection,
        told: Arc<Told>,
    ) -> Login<'a> {
        Login { handle, options, connection, told, notes: Vec::new() }
    }

    /// # Errors
    /// The host refused everything that there was to try, or went away.
    pub async fn run(mut self) -> Result<(), RemoteError> {
        let first = self.handle.authenticate_none(&self.options.user).await;
        let mut offered = match self.turn(first, "none").await? {
            Turn::In => return Ok(()),
            Turn::More(methods) => methods,
            Turn::Refused => self.told.offered(),
        };
        let mut left = self.options.methods.clone();
        for _ in 0..MOST_STEPS {
            let mut next = None;
            for (index, method) in left.iter().copied().enumerate() {
                if !offered.contains(&kind(method)) {
                    self.notes.push(format!("the host takes no {}", name(method)));
                    continue;
                }
                let turn = match method {
                    Method::PublicKey => self.keys().await?,
                    Method::Password => self.password().await?,
                    Method::KeyboardInteractive => self.questions().await?,
                };
                match turn {
                    Turn::In => return Ok(()),
                    Turn::Refused => {}
                    Turn::More(methods) => {
                        next = Some((index, methods));
                        break;
                    }
                }
            }
            let Some((index, methods)) = next else { break };
            left.remove(index);
            offered = methods;
        }
        if self.options.methods.is_empty() {
            self.notes.push("nothing that the options allow could be tried".into());
        }
        self.notes.dedup();
        Err(explain::refused_login(self.connection, &self.notes.join("; ")))
    }

    async fn turn(
        &mut self,
        result: Result<AuthResult, russh::Error>,
        what: &str,
    ) -> Result<Turn, RemoteError> {
        match result {
            Ok(AuthResult::Success) => Ok(Turn::In),
            Ok(AuthResult::Failure { remaining_methods, partial_success }) => {
                self.told.offers(&remaining_methods);
                // The library tells a lost connection as a refusal that leaves no method.
                if remaining_methods.is_empty() && self.handle.is_closed() {
                    return Err(self.gone(what).await);
                }
                Ok(if partial_success { Turn::More(remaining_methods) } else { Turn::Refused })
            }
            Err(_) if self.handle.is_closed() => Err(self.gone(what).await),
            Err(e) => {
                self.notes.push(format!("{what}: {e}"));
                Ok(Turn::Refused)
            }
        }
    }

    async fn gone(&self, what: &str) -> RemoteError {
        let why = self.told.why_closed().await;
        // The library ends the connection when there is nothing left to try.
        if why == REFUSED {
            return explain::refused_login(self.connection, REFUSED);
        }
        let tried = if self.notes.is_empty() { what.to_string() } else { self.notes.join("; ") };
        let error = explain::no_connection(self.connection, &format!("{why} during the login ({tried})"));
        match why.to_lowercase().contains("too many") {
            true => {
                error.with_help("name the one right key: --private-key, or IdentitiesOnly and IdentityFile")
            }
            false => error,
        }
    }

    /// SHA-1 signatures are never made.
    async fn hash_for(&self, key: &PublicKey) -> Option<HashAlg> {
        if !key.algorithm().is_rsa() {
            return None;
        }
        let best = self.handle.best_supported_rsa_hash().await;
        Some(best.ok().flatten().flatten().unwrap_or(HashAlg::Sha512))
    }

    /// As OpenSSH: keys of the agent that are named in files, its other keys, keys in files.
    async fn keys(&mut self) -> Result<Turn, RemoteError> {
        let mut files = Vec::new();
        for path in &self.options.identity_files {
            match Identity::load(path) {
                Ok(Some(identity)) => files.push(identity),
                Ok(None) if self.options.identities_named => {
                    self.notes.push(format!("there is no key {}", path.display()));
                }
                Ok(None) => {}
                Err(why) => self.notes.push(format!("{}: {why}", path.display())),
            }
        }
        let mut in_agent = Vec::new();
        if let Some(mut agent) = self.agent().await {
            let mut keys = match tokio::time::timeout(AGENT, agent.request_identities()).await {
                Ok(Ok(keys)) => keys,
                Ok(Err(e)) => {
                    self.notes.push(format!("the agent: {e}"));
                    Vec::new()
                }
                Err(_) => {
                    self.notes.push(format!("the agent did not answer within {} s", AGENT.as_secs()));
                    Vec::new()
                }
            };
            let named = |key: &AgentIdentity| {
                files.iter().position(|f| f.public.key_data() == key.public_key().key_data())
            };
            if self.options.identities_only {
                keys.retain(|key| named(key).is_some());
            }
            keys.sort_by_key(|key| named(key).unwrap_or(usize::MAX));
            for identity in keys {
                let what = format!("the agent's key {}", identity.comment());
                let key = identity.public_key().into_owned();
                let hash = self.hash_for(&key).await;
                in_agent.push(key.key_data().clone());
                let user = &self.options.user;
                let result = match identity {
                    AgentIdentity::PublicKey { key, .. } => {
                        self.handle.authenticate_publickey_with(user, key, hash, &mut agent).await
                    }
                    AgentIdentity::Certificate { certificate, .. } => {
                        self.handle.authenticate_certificate_with(user, certificate, hash, &mut agent).await
                    }
                };
                let result = match result {
                    Ok(result) => Ok(result),
                    Err(_) if self.handle.is_closed() => Err(russh::Error::Disconnect),
                    Err(e) => {
                        self.notes.push(format!("{what}: {e}"));
                        continue;
                    }
                };
                match self.turn(result, &what).await? {
                    Turn::Refused => self.notes.push(format!("{what} was refused")),
                    turn => return Ok(turn),
                }
            }
        }
        for file in files {
            if in_agent.contains(file.public.key_data()) {
                continue;
            }
            let what = file.path.clone();
            let Some(private) = file.private else {
                self.notes.push(format!(
                    "{what} is protected by a passphrase and not in the agent (ssh-add {what})"
                ));
                continue;
            };
            let hash = self.hash_for(&file.public).await;
            let key = PrivateKeyWithHashAlg::new(Arc::new(private), hash);
            let result = self.handle.authenticate_publickey(&self.options.user, key).await;
            match self.turn(result, &what).await? {
                Turn::Refused => self.notes.push(format!("{what} was refused")),
                turn => return Ok(turn),
            }
        }
        if self.notes.is_empty() {
            self.notes.push("there is no key to try".into());
        }
        Ok(Turn::Refused)
    }

    async fn agent(&mut self) -> Option<Agent> {
        let path = self.options.agent.as_ref()?;
        match tokio::time::timeout(AGENT, AgentClient::connect_uds(path)).await {
            Ok(Ok(agent)) => Some(agent.dynamic()),
            Ok(Err(e)) => {
                self.notes.push(format!("the agent at {}: {e}", path.display()));
                None
            }
            Err(_) => {
                self.notes.push(format!("the agent at {} does not answer", path.display()));
                None
            }
        }
    }

    async fn password(&mut self) -> Result<Turn, RemoteError> {
        let Some(password) = self.connection.password.clone() else { return Ok(Turn::Refused) };
        if self.told.key_changed() {
            self.notes.push("no password is sent to a host whose key has changed".into());
            return Ok(Turn::Refused);
        }
        let result = self.handle.authenticate_password(&self.options.user, password.as_str()).await;
        let turn = self.turn(result, "the password").await?;
        if let Turn::Refused = turn {
            self.notes.push(REFUSED.into());
        }
        Ok(turn)
    }

    /// Answers the one question whose answer isn't shown with the password.
    async fn questions(&mut self) -> Result<Turn, RemoteError> {
        let Some(password) = self.connection.password.clone() else { return Ok(Turn::Refused) };
        if self.told.key_changed() {
            self.notes.push("no password is sent to a host whose key has changed".into());
            return Ok(Turn::Refused);
        }
        let user = self.options.user.clone();
        let mut answer = self.handle.authenticate_keyboard_interactive_start(user, None).await;
        let mut given = false;
        for _ in 0..MOST_QUESTIONS {
            match answer {
                Ok(KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. }) => {
                    let asks = prompts.first().map(|p| p.prompt.trim().to_string());
                    let can = prompts.len() <= 1 && (prompts.is_empty() || !given && !prompts[0].echo);
                    if !can {
                        let asks = asks.unwrap_or_default();
                        // Said in this way the connection can't be used any more, so it ends here.
                        return Err(explain::refused_login(
                            self.connection,
                            &match given {
                                true => format!("Permission denied (it asks again: {asks})"),
                                false => format!("it asks a question that a password doesn't answer: {asks}"),
                            },
                        ));
                    }
                    given |= !prompts.is_empty();
                    let answers = prompts.iter().map(|_| password.to_string()).collect();
                    answer = self.handle.authenticate_keyboard_interactive_respond(answers).await;
                }
                Ok(KeyboardInteractiveAuthResponse::Success) => return Ok(Turn::In),
                Ok(KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success }) => {
                    let failure = AuthResult::Failure { remaining_methods, partial_success };
                    let turn = self.turn(Ok(failure), "the password").await?;
                    if let Turn::Refused = turn {
                        self.notes.push(REFUSED.into());
                    }
                    return Ok(turn);
                }
                Err(e) => return self.turn(Err(e), "the password").await,
            }
        }
        Err(explain::refused_login(self.connection, "it asks question after question"))
    }
}

fn kind(method: Method) -> MethodKind {
    match method {
        Method::PublicKey => MethodKind::PublicKey,
        Method::Password => MethodKind::Password,
        Method::KeyboardInteractive => MethodKind::KeyboardInteractive,
    }
}

fn name(method: Method) -> &'static str {
    match method {
        Method::PublicKey => "keys",
        Method::Password => "passwords",
        Method::KeyboardInteractive => "answers to questions (keyboard-interactive)",
    }
}

/// A key file.
struct Identity {
    path: String,
    public: PublicKey,
    /// Not there when a passphrase protects it.
    private: Option<PrivateKey>,
}

impl Identity {
    /// `None`: there is no such file.
    fn load(path: &Path) -> Result<Option<Identity>, String> {
        use std::os::unix::fs::MetadataExt;
        let beside =
            path.with_file_name(format!("{}.pub", path.file_name().unwrap_or_default().to_string_lossy()));
        let public = || PublicKey::read_openssh_file(&beside).ok();
        let name = path.display().to_string();
        let text = match std::fs::metadata(path).and_then(|m| Ok((m, std::fs::read(path)?))) {
            Ok((about, bytes)) => {
                // SAFETY: getuid has no preconditions.
                let ours = about.uid() == unsafe { libc::getuid() };
                if ours && about.mode() & 0o077 != 0 {
                    return Err(format!("it can be read by others, so it is not used (chmod 600 {name})"));
                }
                zeroize::Zeroizing::new(bytes)
            }
            // The private half may be only in the agent.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Ok(public().map(|public| Identity { path: name, public, private: None }));
            }
            Err(e) => return Err(e.to_string()),
        };
        let text = std::str::from_utf8(&text).map_err(|_| "it is not a private key".to_string())?;
        if let Ok(key) = PrivateKey::from_openssh(text) {
            let public = key.public_key().clone();
            let private = (!key.is_encrypted()).then_some(key);
            return Ok(Some(Identity { path: name, public, private }));
        }
        match decode_secret_key(text, None) {
            Ok(key) => {
                Ok(Some(Identity { path: name, public: key.public_key().clone(), private: Some(key) }))
            }
            Err(russh::keys::Error::KeyIsEncrypted) => match public() {
                Some(public) => Ok(Some(Identity { path: name, public, private: None })),
                None => Err("it is protected by a passphrase (ssh-add it to an agent)".into()),
            },
            Err(e) => Err(format!("it is not a private key that can be read: {e}")),
        }
    }
}
