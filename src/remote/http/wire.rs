//! One exchange on the wire: connect through the host, TLS, HTTP/1.1, redirects.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION};
use hyper::{Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::{Follow, HttpFailure, HttpRequest, HttpResponse, Tls};
use crate::remote::target::Stream;
use crate::remote::{RemoteErrorKind, Target};

const MAX_REDIRECTS: usize = 10;
/// Not sent to another origin than they were written for.
const FOR_ONE_ORIGIN: &[&str] = &["authorization", "cookie", "proxy-authorization"];

fn failed(why: impl Into<String>) -> HttpFailure {
    HttpFailure::Request(why.into())
}

/// A request as it goes out now; redirects change it.
struct Outgoing {
    method: String,
    url: Uri,
    headers: Vec<(String, String)>,
    body: Bytes,
}

pub async fn exchange(target: &Target, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
    let mut next = Outgoing {
        method: request.method.clone(),
        url: parse_url(&request.url)?,
        headers: request.headers.iter().map(|(n, v)| (n.clone(), v.to_string())).collect(),
        body: request.body.as_ref().map_or_else(Bytes::new, |b| Bytes::copy_from_slice(b.as_bytes())),
    };
    for _ in 0..=MAX_REDIRECTS {
        let response = once(target, &next, request).await?;
        let location = response.header("location").map(str::to_string);
        match location {
            Some(location) if follows(request.follow, &next.method, response.status) => {
                next = redirected(next, response.status, &location)?;
            }
            _ => return Ok(response),
        }
    }
    Err(failed(format!("more than {MAX_REDIRECTS} redirects")))
}

fn parse_url(url: &str) -> Result<Uri, HttpFailure> {
    match url.split_once("://").map(|(scheme, _)| scheme.to_lowercase()).as_deref() {
        Some("http" | "https") => {}
        Some(other) => {
            return Err(failed(format!("unknown url type: {other} (http and https are supported)")));
        }
        None => return Err(failed("unknown url type: write http:// or https:// before the host")),
    }
    let uri: Uri = url.parse().map_err(|e| failed(format!("the URL cannot be read: {e}")))?;
    if uri.host().is_none_or(str::is_empty) {
        return Err(failed("the URL has no host"));
    }
    Ok(uri)
}

fn follows(follow: Follow, method: &str, status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
        && match follow {
            Follow::All => true,
            Follow::None => false,
            Follow::Safe => matches!(method, "GET" | "HEAD"),
        }
}

fn redirected(from: Outgoing, status: u16, location: &str) -> Result<Outgoing, HttpFailure> {
    let url = parse_url(&resolve(&from.url, location))?;
    let mut headers = from.headers;
    if url.authority() != from.url.authority() || url.scheme() != from.url.scheme() {
        headers.retain(|(name, _)| !FOR_ONE_ORIGIN.contains(&name.to_lowercase().as_str()));
    }
    let becomes_get = match status {
        303 | 302 => from.method != "HEAD",
        301 => from.method == "POST",
        _ => false,
    };
    if becomes_get {
        headers.retain(|(name, _)| !name.to_lowercase().starts_with("content-"));
        return Ok(Outgoing { method: "GET".into(), url, headers, body: Bytes::new() });
    }
    Ok(Outgoing { method: from.method, url, headers, body: from.body })
}

/// A `Location` against the URL that sent it.
pub fn resolve(base: &Uri, location: &str) -> String {
    let origin =
        format!("{}://{}", base.scheme_str().unwrap_or("http"), base.authority().map_or("", |a| a.as_str()));
    if location.contains("://") {
        location.to_string()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{}://{rest}", base.scheme_str().unwrap_or("http"))
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        let folder = base.path().rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{origin}{folder}/{location}")
    }
}

async fn once(target: &Target, out: &Outgoing, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
    let host = out.url.host().unwrap_or_default().trim_matches(['[', ']']);
    let secure = out.url.scheme_str() == Some("https");
    let port = out.url.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let stream = target.connect(host, port).await.map_err(|e| match e.kind {
        RemoteErrorKind::Unreachable => HttpFailure::Remote(e),
        _ => failed(e.message),
    })?;
    let stream = if secure { tls(stream, host, &request.tls).await? } else { stream };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| failed(explain(&e)))?;
    // Ends with the sender or the stream, whichever goes first.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(build(out)?).await;
    let result = match response {
        Ok(response) => read(response, out, request.max_body).await,
        Err(e) => Err(failed(explain(&e))),
    };
    drop(sender);
    driver.abort();
    result
}

fn build(out: &Outgoing) -> Result<Request<Full<Bytes>>, HttpFailure> {
    let method: Method =
        out.method.parse().map_err(|_| failed(format!("'{}' is no HTTP method", out.method)))?;
    let path = out.url.path_and_query().map_or("/", |p| p.as_str());
    let mut builder = Request::builder().method(method).uri(path);
    let headers = builder.headers_mut().ok_or_else(|| failed("the request's path cannot be sent"))?;
    let authority = out.url.authority().map_or("", |a| a.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let mut add = |name: &str, value: &str| -> Result<(), HttpFailure> {
        let bad = || failed(format!("header '{name}' cannot be sent: it holds forbidden characters"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let value = HeaderValue::from_str(value).or_else(|_| HeaderValue::from_bytes(value.as_bytes()));
        headers.insert(name, value.map_err(|_| bad())?);
        Ok(())
    };
    add(HOST.as_str(), host)?;
    add("connection", "close")?;
    // As urllib does; servers then needn't guess.
    add("accept-encoding", "identity")?;
    if !out.body.is_empty() || matches!(out.method.as_str(), "POST" | "PUT" | "PATCH") {
        add(CONTENT_LENGTH.as_str(), &out.body.len().to_string())?;
    }
    for (name, value) in &out.headers {
        add(name, value)?;
    }
    builder.body(Full::new(out.body.clone())).map_err(|e| failed(e.to_string()))
}

async fn read(
    response: hyper::Response<hyper::body::Incoming>,
    out: &Outgoing,
    max_body: u64,
) -> Result<HttpResponse, HttpFailure> {
    let (head, body) = response.into_parts();
    let limit = usize::try_from(max_body).unwrap_or(usize::MAX);
    let body = Limited::new(body, limit).collect().await.map_err(|e| match e.downcast::<hyper::Error>() {
        Ok(e) => failed(format!("the response was cut off: {}", explain(&e))),
        Err(_) => failed(format!("the response is larger than {max_body} bytes")),
    })?;
    let header = |(n, v): (&HeaderName, &HeaderValue)| {
        (n.as_str().to_string(), String::from_utf8_lossy(v.as_bytes()).into_owned())
    };
    let mut headers: Vec<(String, String)> = head.headers.iter().map(header).collect();
    if let Some((_, location)) = headers.iter_mut().find(|(n, _)| n == LOCATION.as_str()) {
        *location = resolve(&out.url, location);
    }
    Ok(HttpResponse {
        status: head.status.as_u16(),
        reason: head.status.canonical_reason().unwrap_or_default().to_string(),
        url: out.url.to_string(),
        headers,
        body: body.to_bytes().to_vec(),
    })
}

/// The innermost cause is what a person can act on.
fn explain(e: &dyn std::error::Error) -> String {
    let mut cause = e;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

async fn tls(stream: Box<dyn Stream>, host: &str, tls: &Tls) -> Result<Box<dyn Stream>, HttpFailure> {
    let config = client_config(tls).map_err(failed)?;
    let name =
        ServerName::try_from(host.to_string()).map_err(|_| failed(format!("'{host}' is no host name")))?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect(name, stream).await.map_err(|e| failed(explain(&e)))?;
    Ok(Box::new(stream))
}

fn client_config(tls: &Tls) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| e.to_string())?;
    let builder = if tls.verify {
        let mut roots = rustls::RootCertStore::empty();
        match &tls.authorities {
            Some(pem) => {
                for certificate in certificates(pem)? {
                    roots.add(certificate).map_err(|e| format!("ca_path holds a bad certificate: {e}"))?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(unverified::AnyServer(provider)))
    };
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(&identity.key.0)
                .map_err(|e| format!("client_key cannot be read: {e}"))?;
            builder
                .with_client_auth_cert(certificates(&identity.chain)?, key)
                .map_err(|e| format!("client_cert and client_key don't fit: {e}"))
        }
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|e| format!("a PEM certificate cannot be read: {e}"))?;
    if found.is_empty() { Err("no PEM certificate in the file".into()) } else { Ok(found) }
}

/// `validate_certs: false`: any certificate, but still a signature by its key.
mod unverified {
    use std::sync::Arc;

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub struct AnyServer(pub Arc<CryptoProvider>);

    impl ServerCertVerifier for AnyServer {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, cert, signed, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, cert, signed, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_read_against_its_url() {
        let base: Uri = "http://h:81/a/b?c".parse().unwrap();
        for (location, want) in [
            ("https://other/x", "https://other/x"),
            ("//other/x", "http://other/x"),
            ("/x", "http://h:81/x"),
            ("x", "http://h:81/a/x"),
        ] {
            assert_eq!(resolve(&base, location), want);
        }
    }

    #[test]
    fn credentials_stay_with_their_origin_and_post_becomes_get() {
        let out = || Outgoing {
            method: "POST".into(),
            url: "http://a/x".parse().unwrap(),
            headers: vec![("Authorization".into(), "s".into()), ("Content-Type".into(), "t".into())],
            body: Bytes::from_static(b"b"),
        };
        let same = redirected(out(), 307, "/y").unwrap();
        assert_eq!((same.method.as_str(), same.headers.len(), same.body.len()), ("POST", 2, 1));
        let other = redirected(out(), 302, "http://b/y").unwrap();
        assert_eq!((other.method.as_str(), other.headers.len(), other.body.len()), ("GET", 0, 0));
        assert!(!follows(Follow::Safe, "POST", 302) && follows(Follow::All, "POST", 302));
        assert!(!follows(Follow::Safe, "GET", 304));
    }

    #[test]
    fn a_url_without_scheme_says_what_to_write() {
        let HttpFailure::Request(why) = parse_url("localhost/x").unwrap_err() else { panic!() };
        assert!(why.contains("http://"), "{why}");
        assert!(parse_url("ftp://h/").is_err());
    }
}
