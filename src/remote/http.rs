//! HTTP as the host's network sees it: requests as data, sent over [`Target::connect`].

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Output, RemoteError, RemoteErrorKind, Target};
use crate::source::Text;

mod wire;

/// One request.
#[derive(Debug, Clone)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// `http://…` or `https://…`; Secret where it holds one.
    pub url: Text,
    pub headers: Vec<(String, Text)>,
    pub body: Option<Body>,
    pub follow: Follow,
    /// For the whole exchange, redirects included.
    pub timeout: Duration,
    /// Bytes of a response's body; more is an error.
    pub max_body: u64,
    pub tls: Tls,
}

/// Binary bodies are never Secret texts; texts can be.
#[derive(Debug, Clone)]
pub enum Body {
    Text(Text),
    Bytes(Arc<[u8]>),
}

impl Body {
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Body::Text(t) => t.as_bytes(),
            Body::Bytes(b) => b,
        }
    }
}

/// Which redirects are followed (`follow_redirects`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Follow {
    All,
    None,
    /// Only after GET and HEAD.
    #[default]
    Safe,
}

#[derive(Debug, Clone)]
pub struct Tls {
    pub verify: bool,
    /// PEM certificates to trust beside the operator's own.
    pub authorities: Option<Arc<[u8]>>,
    /// What to show to the server.
    pub identity: Option<Identity>,
}

/// A client certificate, in PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub chain: Arc<[u8]>,
    pub key: SecretKey,
}

/// A private key, in PEM; never shown.
#[derive(Clone)]
pub struct SecretKey(pub Arc<[u8]>);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("********")
    }
}

impl Default for Tls {
    fn default() -> Tls {
        Tls { verify: true, authorities: None, identity: None }
    }
}

/// What came back in the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    pub status: u16,
    /// `Not Found`
    pub reason: String,
    /// Of the last request, after redirects.
    pub url: String,
    /// In the order in which they came, names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpFailure {
    /// The server couldn't be asked: what a person would want to know (`Connection refused`).
    Request(String),
    /// The host itself is gone.
    Remote(RemoteError),
}

/// Names the failure for an [`Output`], which can hold both.
const FAILED: i32 = 1;

impl HttpResponse {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// What [`Effect::Http`](super::Effect::Http) answered.
    ///
    /// # Errors
    /// Why there was no response.
    pub fn from_output(output: &Output) -> Result<HttpResponse, HttpFailure> {
        if output.status == FAILED {
            return Err(HttpFailure::Request(output.stderr_text()));
        }
        serde_json::from_slice(&output.stdout).map_err(|e| HttpFailure::Request(e.to_string()))
    }
}

/// An exchange: how it ended, and how long it took.
pub struct Exchange {
    pub result: Result<HttpResponse, HttpFailure>,
    pub duration: Duration,
}

impl Exchange {
    /// As an effect's output; only a lost host is an error.
    ///
    /// # Errors
    /// The host is gone.
    pub fn into_output(self) -> Result<Output, RemoteError> {
        let output = Output { duration: self.duration, ..Output::default() };
        match self.result {
            Ok(response) => Ok(Output {
                stdout: serde_json::to_vec(&response).map_err(|e| RemoteError {
                    kind: RemoteErrorKind::Refused,
                    message: format!("the response cannot be recorded: {e}"),
                    help: None,
                })?,
                ..output
            }),
            Err(HttpFailure::Request(why)) => {
                Ok(Output { status: FAILED, stderr: why.into_bytes(), ..output })
            }
            Err(HttpFailure::Remote(e)) => Err(e),
        }
    }
}

/// Sends a request from the host's network and follows redirects as it says.
pub async fn send(target: &Target, request: &HttpRequest) -> Exchange {
    let begun = std::time::Instant::now();
    let result = match tokio::time::timeout(request.timeout, wire::exchange(target, request)).await {
        Ok(result) => result,
        Err(_) => Err(HttpFailure::Request("timed out".into())),
    };
    Exchange { result, duration: begun.elapsed() }
}
